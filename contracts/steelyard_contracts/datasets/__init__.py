"""How datasets lie in folders, and what their annotations say: read alike by the platform and by the workers.

Pure: paths, texts and parsed JSON go in; names, boxes and sentences come out. Nobody opens a file here.
"""
