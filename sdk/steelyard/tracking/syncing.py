"""Sending what runs have left behind: those that were offline, and those whose program or server was gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steelyard.client import Client
from steelyard.settings import find_credentials, runs_folder, spool_bytes
from steelyard.tracking.delivery import Delivery, is_passing
from steelyard.tracking.spool import Spool
from steelyard_contracts.errors import SteelyardError

_KILLED = "The program ended without a word."
_LETTING_GO_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one folder: `run` is its id; `fault` says why it is still there."""

    folder: Path
    run: str = ""
    name: str = ""
    versions: tuple[str, ...] = ()
    fault: str = ""


def sync(folder: str | Path | None = None, *, client: Client | None = None) -> Iterator[Synced]:
    """Sends the run in `folder`, or every run in it; goes where a former try broke off. Nothing arrives twice.

    A run whose program ended without a word ends as failed; one that is being written is left alone.

    Args:
        folder: of one run or of many; where runs of programs started here are kept otherwise.
        client: to send to; each run's own server otherwise.
    """
    for one in runs_in(Path(folder) if folder else runs_folder()):
        yield sync_one(one, client)


def runs_in(folder: Path) -> list[Path]:
    """The folder itself, or those of runs in it."""
    if (folder / "run.json").exists():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/run.json"))


def _opened(folder: Path) -> Spool:
    """A program that was killed a moment ago may not have let go of it yet."""
    deadline = time.monotonic() + _LETTING_GO_SECONDS
    spool = Spool(folder, most_bytes=spool_bytes())
    while not spool.is_held and time.monotonic() < deadline:
        time.sleep(0.1)
        spool = Spool(folder, most_bytes=spool_bytes())
    return spool


def sync_one(folder: Path, client: Client | None) -> Synced:
    """Sends one run's folder, and removes it when the server has it whole."""
    spool = _opened(folder)
    refused: list[str] = []
    own: Client | None = None
    try:
        if not spool.is_held:
            return Synced(folder, fault="a program is writing to it")
        if client is None:
            client = own = _client_for(spool)
        delivery = Delivery(spool, client, refused=refused.append)
        versions = _send_all(delivery, spool)
        sent = delivery.sent
        if spool.has_refused:
            fault = refused[0] if refused else "what the server refused is kept in it"
            return Synced(folder, sent.run, sent.name, versions, fault=fault)
        spool.remove()
        return Synced(folder, sent.run, sent.name, versions)
    except SteelyardError as error:
        hint = " Try again later." if is_passing(error) else ""
        return Synced(folder, fault=f"{error}{hint}")
    except (OSError, ValueError, KeyError) as error:
        return Synced(folder, fault=f"it is damaged: {error}")
    finally:
        spool.close()
        if own is not None:
            own.close()


def _client_for(spool: Spool) -> Client:
    # Empty where the run was written by a program that knew of no server.
    found = find_credentials(str(spool.about()["url"]) or None)
    return Client(found.url, found.token, quiet=True)


def _send_all(delivery: Delivery, spool: Spool) -> tuple[str, ...]:
    """The versions that were committed. Raises: SteelyardError."""
    delivery.begin()
    versions = tuple(version for save in delivery.saves if (version := delivery.upload(save)))
    while delivery.send():
        pass
    if not delivery.is_finished:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(spool.last_written_at()))
        delivery.finish({"state": "failed", "error": _KILLED, "at": at})
    return versions
