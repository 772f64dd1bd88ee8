"""Checking what is stored: every object is read again at a bounded rate, and what is damaged is set aside.

A damaged object is moved to `quarantine/` under its own key: downloads of it then fail with one sentence instead of
serving wrong bytes. It counts as never sent, so that the next upload of the same content sends it, and puts it right.
Xorbs are checked chunk by chunk, whole files by their SHA-256, packs slice by slice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.xet.xorbs import Layout, read_chunks
from steelyard_platform.storage.batches import pages_of_keys
from steelyard_platform.storage.models import DedupCandidate, XetFileHolder, Xorb, XorbHolder
from steelyard_platform.storage.objects import ObjectMissingError
from steelyard_platform.storage.services import object_store

QUARANTINE = "quarantine/"
_XORBS = 50  # at once: a layout can have hundreds of kilobytes


@dataclass(frozen=True, slots=True)
class Damage:
    key: str
    reason: str


@dataclass(slots=True)
class Verification:
    objects: int = 0
    bytes: int = 0
    damaged: list[Damage] = field(default_factory=list)


@dataclass(slots=True)
class Pace:
    """Lets at most `rate` bytes a second through; None: as fast as it goes."""

    rate: int | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _started: float | None = None
    _passed: int = 0

    def pass_on(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        if self._started is None:
            self._started = self.clock()
        for block in blocks:
            yield block
            self._passed += len(block)
            if self.rate is not None:
                ahead = self._passed / self.rate - (self.clock() - self._started)
                if ahead > 0:
                    self.sleep(ahead)


@dataclass(frozen=True, slots=True)
class Slice:
    """A file inside an object."""

    sha256: str
    offset: int
    size: int


def verify_xorbs(pace: Pace, found: Verification) -> Iterator[None]:
    """Yields after each xorb."""
    for digests in pages_of_keys(Xorb.objects.all(), _XORBS):
        for xorb in Xorb.objects.filter(pk__in=digests).order_by("pk"):
            _judge(xorb.key, xorb.size, partial(_check_xorb, xorb, pace), found)
            yield


def _check_xorb(xorb: Xorb, pace: Pace) -> None:
    stored = pace.pass_on(object_store().read(xorb.key))
    for _ in read_chunks(stored, Layout.unpack(bytes(xorb.layout)).chunks):
        pass


def forget_senders(digest: str) -> None:
    """Nobody holds this xorb any more, nor a file of it: it is offered to no upload, and taken when it comes again."""
    XorbHolder.objects.filter(xorb=digest).delete()
    DedupCandidate.objects.filter(xorb=digest).delete()
    XetFileHolder.objects.filter(file__xorbs__xorb=digest).delete()


def verify_slices(key: str, slices: list[Slice], pace: Pace, found: Verification) -> None:
    """Checks an object that holds whole files; `slices` in the order in which they lie, which may overlap nowhere."""
    _judge(key, sum(part.size for part in slices), partial(_check_slices, key, slices, pace), found)


def _check_slices(key: str, slices: list[Slice], pace: Pace) -> None:
    store = object_store()
    for part in slices:
        digest, seen = hashlib.sha256(), 0
        for block in pace.pass_on(store.read(key, part.offset, part.offset + part.size)):
            digest.update(block)
            seen += len(block)
        if seen != part.size or digest.hexdigest() != part.sha256:
            raise InvalidInputError(f"The file {part.sha256} in it is damaged.")


def _judge(key: str, size: int, check: Callable[[], None], found: Verification) -> None:
    try:
        check()
    except ObjectMissingError:
        found.damaged.append(Damage(key, "The object is missing."))
    except InvalidInputError as error:
        found.damaged.append(Damage(key, error.message))
        _set_aside(key)
    found.objects += 1
    found.bytes += size


def _set_aside(key: str) -> None:
    store = object_store()
    store.move(key, QUARANTINE + key, if_etag=store.stat(key).etag)
