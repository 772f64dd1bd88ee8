"""How far tensors have moved between two versions: only the bytes of those that differ are fetched.

measures    two streams of numbers, block by block
job         the job of the kind `compare`
"""
