"""A file from an address to this disk, in one step."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from steelyard.transport import Transport
from steelyard_contracts.errors import InvalidInputError


def save(transport: Transport, address: str, target: Path) -> None:
    """`address`: whole, or a path of the transport's server. Raises: SteelyardError as the server said."""
    scheme = urlsplit(address).scheme
    if scheme not in {"", "http", "https"}:
        raise InvalidInputError(f"{address!r} is no http:// or https:// address.")

    def once() -> None:
        part = target.with_name(f"{target.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        with transport.stream(address) as (_, blocks), part.open("wb") as file:
            for block in blocks:
                file.write(block)
        part.replace(target)

    transport.repeat(once)
