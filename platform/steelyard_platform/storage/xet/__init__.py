"""Content-addressed storage by the Xet protocol: chunks in xorbs, files as lists of terms.

    tokens           short-lived, for one repository and one right
    uploads          xorbs and shards, checked before anything is kept
    reconstruction   where a file's bytes lie, and the file itself as a stream
    deduplication    which xorbs a client can build on

Nothing here knows repositories: callers say for which team, and check who may read a file.
"""
