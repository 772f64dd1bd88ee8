"""The names people give things, and the one check for each.

    check_repository_name("reader-small")
    check_file_path("images/train/7/0001.png")

A name stands in URLs, on disks and in shells, so what is allowed is short to say: letters, digits, `-`, `_`
and `.`, beginning and ending with a letter or digit. Names are case-sensitive to read and case-insensitively
unique, because half of the world's disks cannot tell `Reader` from `reader`.
"""

from __future__ import annotations

import re
import unicodedata

from steelyard_contracts.errors import InvalidNameError, InvalidPathError

MAX_NAME_LENGTH = 96
MAX_PATH_BYTES = 1024
MAX_SEGMENT_BYTES = 255

# First path segments that the platform itself answers; a namespace of that name could never be reached.
RESERVED_NAMESPACES = frozenset(
    {
        "admin", "api", "compare", "datasets", "devices", "docs", "fleet", "healthz", "jobs", "lfs", "login", "logout",
        "metrics", "mlflow", "models", "new", "oauth", "objects", "organizations", "resolve", "rollouts", "search",
        "searches", "settings", "spaces", "static", "storage", "teams", "tokens", "trash", "ultralytics", "users", "v1",
        "v2", "well-known", "whoami", "workers", "xet", "zoo",
    }
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REVISION_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_COMMIT_ID = re.compile(r"[0-9a-f]{40}")
_VERSION_NUMBER = re.compile(r"v[1-9][0-9]{0,8}")


def check_namespace(name: str) -> str:
    """Returns `name`. Raises: InvalidNameError."""
    _check_plain_name(name, "namespace")
    if name.lower() in RESERVED_NAMESPACES:
        raise InvalidNameError(f"The namespace {name!r} is reserved for the platform; choose another name.", name=name)
    return name


def check_repository_name(name: str) -> str:
    """Returns `name`. Raises: InvalidNameError."""
    _check_plain_name(name, "repository")
    if name.endswith((".git", ".ipynb")):
        raise InvalidNameError(f"A repository's name cannot end in .git or .ipynb, as {name!r} does.", name=name)
    return name


def check_reference_name(name: str, what: str) -> str:
    """A branch, tag or alias; `/` may separate segments. Raises: InvalidNameError."""
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"The {what} name is {len(name)} characters long; at most {MAX_NAME_LENGTH}.", name=name)
    if not all(_REVISION_SEGMENT.fullmatch(segment) for segment in name.split("/")) or ".." in name:
        raise InvalidNameError(
            f"The {what} name {name!r} may hold letters, digits, '-', '_' and '.', in segments divided by '/'.",
            name=name,
        )
    if is_commit_id(name) or is_version_number(name):
        raise InvalidNameError(f"The {what} name {name!r} looks like a version; choose another name.", name=name)
    return name


def check_device_name(name: str) -> str:
    """Returns `name`. Raises: InvalidNameError."""
    _check_plain_name(name, "device")
    return name


def check_file_path(path: str) -> str:
    """A file's path inside a repository, `/`-separated and relative. Raises: InvalidPathError."""
    if reason := _fault_of_path(path):
        raise InvalidPathError(f"The path {path!r} {reason}.", path=path)
    return path


def is_commit_id(text: str) -> bool:
    return _COMMIT_ID.fullmatch(text) is not None


def is_version_number(text: str) -> bool:
    return _VERSION_NUMBER.fullmatch(text) is not None


def _check_plain_name(name: str, what: str) -> None:
    if not name:
        raise InvalidNameError(f"A {what} needs a name.", name=name)
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"The {what} name is {len(name)} characters long; at most {MAX_NAME_LENGTH}.", name=name)
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        raise InvalidNameError(
            f"The {what} name {name!r} may hold letters, digits, '-', '_' and '.', must begin and end with a letter or "
            "digit, and cannot hold '--' or '..'.",
            name=name,
        )


def _fault_of_path(path: str) -> str | None:
    segments = path.split("/")
    faults = {
        "is empty": not path,
        "begins with '/'; paths are relative to the repository": path.startswith("/"),
        "holds a control character": any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in path),
        "holds a backslash; divide folders by '/'": "\\" in path,
        "holds '.' or '..', which would leave its folder": not {".", ".."}.isdisjoint(segments),
        "has an empty folder or file name": "" in segments,
        "holds '.git', which tools would take for a repository of its own": ".git" in segments,
    }
    if fault := next((fault for fault, is_so in faults.items() if is_so), None):
        return fault
    if len(path.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_SEGMENT_BYTES for part in segments):
        return f"is too long; at most {MAX_PATH_BYTES} bytes in all and {MAX_SEGMENT_BYTES} for one name"
    return None
