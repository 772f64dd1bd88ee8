"""What a repository's own `.gitignore` and `.gitattributes` say of a path. Pure.

is_ignored(["*.log"])("run/1.log")              True
is_large(["*.bin filter=lfs"])("weights.bin")   True: it travels as a large file
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pathspec import GitIgnoreSpec

from steelyard_contracts.errors import InvalidInputError

IGNORE_PATH, ATTRIBUTES_PATH = ".gitignore", ".gitattributes"
MAX_BYTES = 64 * 1024
_MAX_LINES = 1000
# Patterns become regular expressions: a few stars in a row of letters can keep one busy for hours.
_MAX_STARS_IN_A_NAME, _MAX_DOUBLE_STARS = 3, 3
_STARS = re.compile(r"\*+")
# Weights and archives are large files whatever their size, as clients expect: a file then does not change its kind when
# it grows, and its SHA-256 is in every list.
LARGE_SUFFIXES = (
    ".7z",
    ".arrow",
    ".bin",
    ".bz2",
    ".ckpt",
    ".gguf",
    ".gz",
    ".h5",
    ".joblib",
    ".mlmodel",
    ".model",
    ".msgpack",
    ".npy",
    ".npz",
    ".onnx",
    ".parquet",
    ".pb",
    ".pickle",
    ".pkl",
    ".pt",
    ".pth",
    ".rar",
    ".safetensors",
    ".tar",
    ".tflite",
    ".tgz",
    ".wasm",
    ".xz",
    ".zip",
    ".zst",
)


def is_ignored(lines: Iterable[str]) -> Callable[[str], bool]:
    """Raises: InvalidInputError for patterns that nobody needs and that would take for ever."""
    return _spec(lines).match_file


def is_large(lines: Iterable[str]) -> Callable[[str], bool | None]:
    """True or False where a line speaks of the path's filter, None where none does; the last line that does counts.

    Raises: as `is_ignored`.
    """
    rules: list[tuple[GitIgnoreSpec, bool]] = []
    for line in lines:
        pattern, *attributes = line.split() or [""]
        says = [attribute for attribute in attributes if attribute.lstrip("-!").partition("=")[0] == "filter"]
        # A negative pattern is an error to git, and a folder's does not reach what is in it.
        if says and not pattern.startswith(("#", "!")) and not pattern.endswith("/"):
            rules.append((_spec([pattern]), says[-1] == "filter=lfs"))

    def of(path: str) -> bool | None:
        return next((large for spec, large in reversed(rules) if spec.match_file(path)), None)

    return of


def default_attributes() -> str:
    """What git clients, and Hub clients that look, are told is large where nobody has said anything else."""
    return "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES)


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    patterns = list(lines)
    if len(patterns) > _MAX_LINES:
        raise InvalidInputError(f"A list of patterns takes at most {_MAX_LINES} lines; this one has {len(patterns)}.")
    for pattern in patterns:
        names = pattern.split("/")
        if max(len(_STARS.findall(name)) for name in names) > _MAX_STARS_IN_A_NAME or (
            sum("**" in name for name in names) > _MAX_DOUBLE_STARS
        ):
            raise InvalidInputError(f"The pattern {pattern[:80]!r} holds more '*' than can be looked for.")
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InvalidInputError(f"The patterns cannot be read: {error}.") from error
