"""`model.safetensors.index.json`: which shard holds which tensor. The shards are files of their own."""

from __future__ import annotations

import json

from steelyard_contracts.errors import InvalidPathError
from steelyard_contracts.names import check_file_path
from steelyard_workers.inspection.contents import Contents, Source, UnreadableError, warning

_LONGEST = 32_000_000
_MOST_SHARDS = 10_000


def read_index(source: Source) -> Contents:
    """Raises: UnreadableError."""
    if source.size > _LONGEST:
        raise UnreadableError(
            "header-too-large", f"The index is {source.size:,} bytes long; {_LONGEST:,} are read at most."
        )
    try:
        places = json.loads(source.read(0, source.size))["weight_map"]
        names = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(
            "header-broken", "The index has no 'weight_map' from tensors to files; save it again."
        ) from error
    found = Contents("index", metadata={"tensors": str(len(places))})
    strange = []
    for name in names[:_MOST_SHARDS]:
        try:
            found.shards.append(check_file_path(name))
        except (InvalidPathError, TypeError, AttributeError):
            strange.append(name)
    if strange:
        sentence = f"The index names {strange[0]!r}, which is no path of a file beside it; that is left out."
        found.findings.append(warning("odd-name", sentence))
    return found
