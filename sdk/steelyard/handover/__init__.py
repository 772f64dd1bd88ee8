"""Hand-over, both ways: everything of a repository into a plain folder, and from there, or from other tools, back.

writer      repositories of a server into a folder that a person can read without us
importer    what a source holds, into a server: versions, names, measures, runs, with their dates
source      what every source says of itself; each has a module of its own beside it
"""
