"""How the Xet protocol names bytes: BLAKE3 under four keys, and a Merkle tree over the chunks.

A hash is 32 bytes here. Written as text, each of its four 64-bit words is a little-endian number, so the text is not
the plain hexadecimal of the bytes; `to_text` and `from_text` convert.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from blake3 import blake3

from steelyard_contracts.errors import InvalidInputError

SIZE = 32
_WORDS = struct.Struct("<4Q")
_TEXT = re.compile(r"[0-9a-f]{64}")

_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RANGE_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(SIZE)

# A node of the tree has 2 to 9 children: it ends at the first hash, from the third on, that 4 divides.
_BRANCHING = 4
_WIDEST = 2 * _BRANCHING + 1
_FIRST_CUT = 2

# One chunk in so many is looked up in the global index.
_DEDUP_MODULUS = 1024


def is_text(text: str) -> bool:
    return _TEXT.fullmatch(text) is not None


def to_text(digest: bytes) -> str:
    return "{:016x}{:016x}{:016x}{:016x}".format(*_WORDS.unpack(digest))


def from_text(text: str) -> bytes:
    """Raises: InvalidInputError."""
    if not is_text(text):
        raise InvalidInputError("A Xet hash is 64 lowercase hexadecimal digits.")
    return _WORDS.pack(*(int(text[start : start + 16], 16) for start in range(0, 64, 16)))


def chunk_hash(data: bytes | memoryview) -> bytes:
    return blake3(data, key=_CHUNK_KEY).digest()


def tree_hash(nodes: Iterable[tuple[bytes, int]]) -> bytes:
    """The root of the tree over (hash, length) of chunks in order: a xorb's hash. All zeros for no chunk.

    Holds a few nodes of each level, however many chunks pass.
    """
    level = iter(nodes)
    first, second = next(level, None), next(level, None)
    while first is not None and second is not None:
        level = _parents(chain((first, second), level))
        first, second = next(level, None), next(level, None)
    return first[0] if first is not None else bytes(SIZE)


def _parents(nodes: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    window = list(islice(nodes, _WIDEST))
    while window:
        cut = _next_cut(window)
        yield _merge(window[:cut])
        window = [*window[cut:], *islice(nodes, cut)]


def _next_cut(window: Sequence[tuple[bytes, int]]) -> int:
    """How many of these are one parent's. The window is as wide as a parent can be, or holds all that is left."""
    for position in range(_FIRST_CUT, len(window)):
        if _last_word(window[position][0]) % _BRANCHING == 0:
            return position + 1
    return len(window)


def _merge(children: Sequence[tuple[bytes, int]]) -> tuple[bytes, int]:
    text = "".join(f"{to_text(digest)} : {length}\n" for digest, length in children)
    return blake3(text.encode(), key=_NODE_KEY).digest(), sum(length for _, length in children)


def _last_word(digest: bytes) -> int:
    return int.from_bytes(digest[24:], "little")


def file_hash(chunks: Iterable[tuple[bytes, int]]) -> bytes:
    """Names a file by its chunks. All zeros for an empty one."""
    root = tree_hash(chunks)
    return root if root == bytes(SIZE) else blake3(root, key=_FILE_KEY).digest()


def range_hash(chunk_hashes: Iterable[bytes]) -> bytes:
    """Proves that the sender of a shard knows the chunks of a term."""
    return blake3(b"".join(chunk_hashes), key=_RANGE_KEY).digest()


def keyed(digest: bytes, key: bytes) -> bytes:
    """A chunk's hash as a shard under `key` shows it: comparable by whoever has the chunk, and saying nothing else."""
    return blake3(digest, key=key).digest()


def is_dedup_candidate(digest: bytes) -> bool:
    return _last_word(digest) % _DEDUP_MODULUS == 0
