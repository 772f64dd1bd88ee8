"""Who this device is: its name, its own key, and the public key it trusts."""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import BaseModel

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import check_device_name
from steelyard_edge.disk import write_whole

_FILE = "device.json"


class Identity(BaseModel):
    url: str
    name: str
    key: str  # made here; the platform keeps only its hash
    public_key: str = ""  # PEM; pinned at the first enrolment

    def save(self, folder: Path) -> None:
        write_whole(folder / _FILE, self.model_dump_json(indent=2).encode(), mode=0o600)


def load_identity(folder: Path) -> Identity:
    """Raises: InvalidInputError when the device was never enrolled."""
    path = folder / _FILE
    if not path.exists():
        raise InvalidInputError(f"{folder} holds no device. Run `steelyard-edge enrol` first.")
    return Identity.model_validate_json(path.read_text())


def make_identity(folder: Path, *, url: str, name: str) -> Identity:
    """A new identity with a fresh key, or the one that is there when the name is the same.

    Raises: InvalidInputError when the folder belongs to another device.
    """
    check_device_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _FILE).exists():
        known = load_identity(folder)
        if known.name != name:
            raise InvalidInputError(f"{folder} belongs to the device {known.name}; give {name} a folder of its own.")
        return known.model_copy(update={"url": url})
    identity = Identity(url=url, name=name, key="sy_" + secrets.token_urlsafe(32))
    identity.save(folder)
    return identity
