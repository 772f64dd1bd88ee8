"""The Xet protocol's hashes and binary formats; pure, no I/O.

    hashes   how chunks, xorbs, files and ranges are named (keyed BLAKE3 and a Merkle tree)
    xorbs    many chunks in one object, each with a header of eight bytes
    shards   which chunks of which xorbs make a file

Sources: the protocol's specification (huggingface.co/docs/xet) and the draft draft-denis-xet. All numbers are
little-endian.
"""
