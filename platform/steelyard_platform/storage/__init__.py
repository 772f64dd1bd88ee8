"""Where bytes live: objects in a folder or on S3, with the same promises from both.

Nothing here knows repositories or people. An object's key is chosen by the platform, never by a client.
"""
