"""What clients send, checked before anything of it is kept: xorbs chunk by chunk, shards against the xorbs they name.

A xorb is stored by a generator that raises at the first wrong byte, so that the object never appears. A file exists
only when its shard's transaction commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import Self

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import DigestMismatchError, InvalidInputError, UnavailableError
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import file_hash, from_text, range_hash, to_text
from steelyard_contracts.xet.shards import FileRecord, Shard
from steelyard_contracts.xet.xorbs import Layout, XorbReader
from steelyard_platform.accounts.models import Team
from steelyard_platform.storage.batches import SIZE, batches, lock
from steelyard_platform.storage.garbage import removed_meanwhile, spare
from steelyard_platform.storage.models import (
    DedupCandidate,
    FileXorb,
    XetFile,
    XetFileHolder,
    Xorb,
    XorbHolder,
    xorb_key,
)
from steelyard_platform.storage.objects import ObjectExistsError, ObjectMissingError
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet import terms
from steelyard_platform.storage.xet.reconstruction import Layouts, read_terms

_CHUNKS_A_LINE = 1024  # of progress: some 64 MB
_BLOCKS_AHEAD = 64  # some 8 MB
# In all files of a shard, about a terabyte. A few bytes can name the same chunks again and again, and all are read.
MAX_CHUNKS = 16 * 1024 * 1024


def held_xorbs(team_id: int, digests: Iterable[str]) -> set[str]:
    """Those of these that the team may build on."""
    held = XorbHolder.objects.filter(team_id=team_id).values_list("xorb_id", flat=True)
    return {digest for batch in batches(digests) for digest in held.filter(xorb__in=batch)}


def build_on(team_id: int, digest: str) -> bool:
    """Whether the team need not send this xorb again; it is then safe from collection as if it had.

    A push that broke off goes on by this: what it had sent before is not sent again, whoever asks.
    """
    from_text(digest)
    with transaction.atomic():
        if not held_xorbs(team_id, [digest]) & lock(Xorb.objects.all(), [digest]):
            return False
        Xorb.objects.filter(pk=digest).update(touched_at=timezone.now())
    try:
        object_store().stat(xorb_key(digest))
    except ObjectMissingError:
        return False  # a row can outlive its object: see `verification`; sending it again puts it right
    return True


def store_xorb(team_id: int, digest: str, body: Iterable[bytes]) -> bool:
    """Keeps a xorb; False when the team had it before. Safe to repeat, and to do at once from several clients.

    The whole body is checked even when the installation has the xorb: who only knows a hash does not come to hold it.

    Raises:
        InvalidInputError: the body is not a xorb, or not the one that `digest` names. Nothing is stored.
    """
    from_text(digest)
    reader = XorbReader()
    verified = _verified(reader, body, digest)
    try:
        object_store().put(xorb_key(digest), verified, if_absent=True)
    except ObjectExistsError:
        for _ in verified:  # what is left of it
            pass
        reader = _reread(digest)
    return _note_xorb(team_id, digest, reader.layout)


def _reread(digest: str) -> XorbReader:
    """The layout of what is stored: the same chunks may have come compressed in another way."""
    reader = XorbReader()
    if Xorb.objects.filter(pk=digest).exists():
        return reader  # its row says it
    try:
        for _ in _verified(reader, object_store().read(xorb_key(digest)), digest):
            pass
    except ObjectMissingError as error:
        raise removed_meanwhile() from error
    return reader


def _verified(reader: XorbReader, body: Iterable[bytes], digest: str) -> Iterator[bytes]:
    yield from reader.read(body)
    if (found := to_text(reader.layout.digest)) != digest:
        raise DigestMismatchError(f"The xorb's hash is {found}, not {digest} as its address says.", found=found)


@transaction.atomic
def _note_xorb(team_id: int, digest: str, layout: Layout) -> bool:
    """`layout` is that of what is stored, and empty when a row says it already."""
    now = timezone.now()
    # A row can outlive its object (see `verification`); what was stored in its place may be compressed in another way.
    stored = {"size": layout.stored, "layout": layout.pack()} if layout.chunks else {}
    if not Xorb.objects.filter(pk=digest).update(touched_at=now, **stored):
        if not layout.chunks:
            raise removed_meanwhile()
        row = Xorb(digest=digest, size=layout.stored, length=layout.length, layout=layout.pack(), touched_at=now)
        Xorb.objects.bulk_create([row], ignore_conflicts=True)
    candidates = (DedupCandidate(chunk=to_text(chunk), xorb_id=digest) for chunk in layout.candidates())
    DedupCandidate.objects.bulk_create(candidates, ignore_conflicts=True)
    spare(xorb_key(digest))
    _, created = XorbHolder.objects.get_or_create(team_id=team_id, xorb_id=digest)
    return created


@dataclass(frozen=True, slots=True)
class Progress:
    verified: int
    total: int


class ShardRegistration:
    """A shard on its way in.

    registration = ShardRegistration(team, data)   refuses what can be refused at once
    for progress in registration.run(): ...        reads each new file whole, then makes all of them visible
    """

    def __init__(self, team_id: int, data: bytes) -> None:
        """Raises: InvalidInputError."""
        self._team_id = team_id
        self._shard: Shard = shards.parse(data)
        chunks = sum(term.end - term.start for file in self._shard.files for term in file.terms)
        if chunks > MAX_CHUNKS:
            raise InvalidInputError(f"The shard's files have {chunks} chunks; at most {MAX_CHUNKS} are taken at once.")
        self._xorbs = {to_text(term.xorb) for file in self._shard.files for term in file.terms}
        self._xorbs |= {to_text(record.digest) for record in self._shard.xorbs}
        self.files: list[XetFile] = []  # what was registered, once `run` has ended
        if missing := self._xorbs - held_xorbs(team_id, self._xorbs):
            raise InvalidInputError(
                f"The shard names a xorb that this namespace has not uploaded: {min(missing)}.", missing=len(missing)
            )
        self._layouts = Layouts()
        for file in self._shard.files:
            self._check_file(file)
        for record in self._shard.xorbs:
            stored = tuple((chunk.digest, chunk.length) for chunk in self._layouts[record.digest].chunks)
            if record.chunks != stored:
                raise InvalidInputError(f"The shard lists other chunks than the xorb {to_text(record.digest)} has.")

    def _check_file(self, file: FileRecord) -> None:
        name = to_text(file.digest)
        if len(file.proofs) != len(file.terms):
            raise InvalidInputError(f"The shard does not prove that its sender has the file {name}.")
        for term, proof in zip(file.terms, file.proofs, strict=True):
            layout = self._layouts[term.xorb]
            if term.end > len(layout):
                raise InvalidInputError(
                    f"The file {name} takes the chunks {term.start} to {term.end} of a xorb that has {len(layout)}."
                )
            chunks = layout.chunks[term.start : term.end]
            if sum(chunk.length for chunk in chunks) != term.length:
                raise InvalidInputError(f"A term of the file {name} announces another length than its chunks have.")
            if range_hash(chunk.digest for chunk in chunks) != proof:
                raise InvalidInputError(f"A term of the file {name} is not the one that its proof was made for.")
        if file_hash(self._content(file)) != file.digest:
            raise InvalidInputError(f"The chunks of the file {name} do not make that file.")

    def _content(self, file: FileRecord) -> Iterator[tuple[bytes, int]]:
        for term in file.terms:
            for chunk in self._layouts[term.xorb].chunks[term.start : term.end]:
                yield chunk.digest, chunk.length

    def run(self) -> Iterator[Progress]:
        """Raises: DigestMismatchError, InvalidInputError, UnavailableError. Then nothing was registered."""
        names = [to_text(file.digest) for file in self._shard.files]
        known = {row.pk: row for batch in batches(names) for row in _sound_files(batch)}
        total = len(names)
        rows: list[XetFile] = []
        yield Progress(0, total)
        for number, (name, file) in enumerate(zip(names, self._shard.files, strict=True), start=1):
            row = known.get(name)
            if row is None:
                with _SHA256() as sha256:
                    for seen, block in enumerate(read_terms(file.terms, self._layouts)):
                        sha256.update(block)
                        if seen % _CHUNKS_A_LINE == 0:
                            yield Progress(number - 1, total)  # a sign of life: clients wait only so long for one
                row = XetFile(digest=name, sha256=sha256.hexdigest(), size=file.size, terms=terms.pack(file.terms))
            if file.sha256 is not None and file.sha256 != row.sha256:
                raise DigestMismatchError(
                    f"The file {name} has the SHA-256 {row.sha256}, not {file.sha256} as announced.", found=row.sha256
                )
            rows.append(row)
            yield Progress(number, total)
        self._register(rows, set(known))
        self.files = rows

    @transaction.atomic
    def _register(self, rows: list[XetFile], known: set[str]) -> None:
        now = timezone.now()
        self._lock_xorbs()
        if known - lock(XetFile.objects.all(), known):
            raise UnavailableError("A file of this shard was removed meanwhile; push again.")
        for batch in batches(known):
            XetFile.objects.filter(pk__in=batch).update(touched_at=now)
        new = {row.digest: row for row in rows if row.digest not in known}
        for row in new.values():
            row.touched_at = now
        XetFile.objects.bulk_create(
            new.values(),
            batch_size=SIZE,
            update_conflicts=True,
            unique_fields=["digest"],
            update_fields=["terms", "touched_at"],
        )
        # A file that was there, of xorbs that are damaged, is made of these from now on.
        for batch in batches(new):
            FileXorb.objects.filter(file__in=batch).delete()
        pairs = {(to_text(file.digest), to_text(term.xorb)) for file in self._shard.files for term in file.terms}
        needs = (FileXorb(file_id=file, xorb_id=xorb) for file, xorb in sorted(pairs) if file in new)
        FileXorb.objects.bulk_create(needs, batch_size=SIZE, ignore_conflicts=True)
        names = {row.digest for row in rows}
        holders = (XetFileHolder(team_id=self._team_id, file_id=name) for name in names)
        XetFileHolder.objects.bulk_create(holders, batch_size=SIZE, ignore_conflicts=True)
        DedupCandidate.objects.bulk_create(self._candidates(), batch_size=SIZE, ignore_conflicts=True)

    def _lock_xorbs(self) -> None:
        """From here to the commit no xorb of the shard can be collected. Raises: UnavailableError."""
        if self._xorbs - lock(Xorb.objects.all(), self._xorbs):
            raise UnavailableError("A xorb of this shard was removed meanwhile; push again.")
        for batch in batches(self._xorbs):
            Xorb.objects.filter(pk__in=batch).update(touched_at=timezone.now())

    def _candidates(self) -> Iterator[DedupCandidate]:
        """A file's first chunk finds its xorbs, and so does what the sender marked."""
        for file in self._shard.files:
            if file.terms:
                first = file.terms[0]
                chunk = self._layouts[first.xorb].chunks[first.start].digest
                yield DedupCandidate(chunk=to_text(chunk), xorb_id=to_text(first.xorb))
        for record in self._shard.xorbs:
            for chunk in record.candidates:
                yield DedupCandidate(chunk=to_text(chunk), xorb_id=to_text(record.digest))


def _sound_files(digests: Collection[str]) -> QuerySet[XetFile]:
    """Those of these that are there. One of a xorb that nobody holds is not: see `verification.forget_senders`."""
    damaged = FileXorb.objects.filter(file__in=digests, xorb__holders=None)
    return XetFile.objects.filter(pk__in=digests).exclude(pk__in=damaged.values("file"))


class _SHA256:
    """Hashes on another core than the one that reads: it costs as much as all other checks together."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._blocks: Queue[bytes | memoryview | None] = Queue(_BLOCKS_AHEAD)
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._digest.update(block)

    def update(self, block: bytes | memoryview) -> None:
        self._blocks.put(block)

    def hexdigest(self) -> str:
        """Only behind the `with`, when all was hashed."""
        return self._digest.hexdigest()


def registered_file(team: Team, sha256: str) -> XetFile | None:
    """A file with this SHA-256 that the team has registered."""
    return XetFile.objects.filter(sha256=sha256, holders__team=team).first()
