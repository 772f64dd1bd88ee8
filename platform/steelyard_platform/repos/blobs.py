"""Bytes on their way into a repository: packed when small; by chunks, or staged and checked, when large.

Large files are PUT to a staging key first, because whoever holds a signed address may write anything to it.
They become a blob only after their SHA-256 was computed from what the store really holds.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from django.db import transaction
from django.utils import timezone

from steelyard_contracts.digests import checked, git_blob_id, sha256_of
from steelyard_contracts.errors import BlobMissingError, DigestMismatchError
from steelyard_platform.accounts.models import Team
from steelyard_platform.repos.models import Blob, BlobHolder, Repository, WholeFile
from steelyard_platform.storage.batches import SIZE, batches, lock
from steelyard_platform.storage.garbage import doom, spare
from steelyard_platform.storage.models import XetFile
from steelyard_platform.storage.objects import CHUNK, ObjectExistsError, ObjectInfo, ObjectMissingError
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet.reconstruction import read_file
from steelyard_platform.storage.xet.uploads import registered_file

_IN_MEMORY = 8 * 1024 * 1024
# Objects under this prefix are one file each; every other holds slices of several.
WHOLE_FILES = "blobs/"
PACKS = "packs/"


@dataclass(frozen=True, slots=True)
class _Slice:
    sha256: str
    git_id: str
    offset: int
    size: int


class Pack:
    """Collects small files into one object, so that a commit of a thousand pictures is one write.

    with Pack() as pack:
        sha256 = pack.add(data)
        pack.store(team)
    """

    def __init__(self) -> None:
        # Spooled: small commits stay in memory, large ones go to a temporary file.
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._slices: dict[str, _Slice] = {}
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, data: bytes) -> str:
        """Returns the data's SHA-256. The same data twice takes room once."""
        sha256 = sha256_of(data)
        if sha256 not in self._slices:
            self._slices[sha256] = _Slice(sha256, git_blob_id(data), self._file.tell(), len(data))
            self._file.write(data)
            self._digest.update(data)
        return sha256

    def store(self, team: Team) -> None:
        """Writes what the platform does not have yet, and notes that `team` holds all of it."""
        if not self._slices:
            return
        known = known_blobs(self._slices)
        if len(known) < len(self._slices):
            digest = self._digest.hexdigest()
            key = f"{PACKS}{digest[:2]}/{digest}"
            self._write(key)
            self._note(team, key, known)
        else:
            note_holder(team, self._slices)
        self._name_for_git(known)

    def _name_for_git(self, known: set[str]) -> None:
        """A small file that came as a large one before has no git id yet."""
        for batch in batches(known):
            nameless = list(Blob.objects.filter(pk__in=batch, git_id=""))
            for blob in nameless:
                blob.git_id = self._slices[blob.sha256].git_id
            Blob.objects.bulk_update(nameless, ["git_id"])

    def _note(self, team: Team, key: str, known: set[str]) -> None:
        with transaction.atomic():
            spare(key)
            new = [part for sha256, part in self._slices.items() if sha256 not in known]
            Blob.objects.bulk_create(
                (
                    Blob(
                        sha256=part.sha256,
                        size=part.size,
                        git_id=part.git_id,
                        object_key=key,
                        offset=part.offset,
                    )
                    for part in new
                ),
                batch_size=SIZE,
                update_conflicts=True,
                unique_fields=["sha256"],
                update_fields=["git_id", "object_key", "offset", "xet"],
            )
        note_holder(team, self._slices)

    def _write(self, key: str) -> None:
        self._file.seek(0)
        try:
            object_store().put(key, iter(lambda: self._file.read(CHUNK), b""), if_absent=True)
        except ObjectExistsError:
            return  # the same pack was stored before


def known_blobs(digests: Iterable[str]) -> set[str]:
    """Which of these the installation has. What nobody holds is damaged, and to be sent again: see `verification`."""
    found: set[str] = set()
    for batch in batches(digests):
        found.update(BlobHolder.objects.filter(blob__in=batch).values_list("blob", flat=True).distinct())
    return found


def held_blobs(team: Team, digests: Iterable[str]) -> dict[str, Blob]:
    """Those that `team` has sent itself; of others it cannot even learn that they exist."""
    found: dict[str, Blob] = {}
    for batch in batches(digests):
        holders = BlobHolder.objects.filter(team=team, blob__in=batch).select_related("blob")
        found.update((holder.blob.sha256, holder.blob) for holder in holders)
    return found


def keep_blobs(digests: Iterable[str]) -> set[str]:
    """Locks these until the transaction ends, so that they are not collected; returns those that are still there."""
    kept: set[str] = lock(Blob.objects.all(), digests)
    for batch in batches(kept):
        Blob.objects.filter(pk__in=batch).update(touched_at=timezone.now())
    return kept


def note_holder(team: Team, digests: Iterable[str]) -> None:
    rows = (BlobHolder(team=team, blob_id=sha256) for sha256 in digests)
    BlobHolder.objects.bulk_create(rows, batch_size=SIZE, ignore_conflicts=True)


def staging_key(repository: Repository, sha256: str) -> str:
    """Where a large file waits to be checked. Per repository, so that nobody overwrites another's upload."""
    return f"staging/{repository.pk.hex}/{sha256}"


def staged_sizes(repository: Repository) -> dict[str, int]:
    """SHA-256 to size of what has arrived whole and is not checked yet."""
    prefix = staging_key(repository, "")
    return {info.key.removeprefix(prefix): info.size for info in object_store().list_objects(prefix)}


def accept_staged(repository: Repository, *, sha256: str, size: int) -> Blob:
    """Checks a staged upload and makes it a blob of the repository's team. Safe to repeat.

    Raises:
        BlobMissingError: nothing was uploaded.
        DigestMismatchError: other bytes were; they are dropped, so that the next try starts clean.
    """
    held = held_blobs(repository.team, [sha256]).get(sha256)
    if held is not None:
        return held
    store, key = object_store(), staging_key(repository, sha256)
    try:
        info = store.stat(key)
        for _ in checked(store.read(key), sha256=sha256, size=size, what="The uploaded file"):
            pass
        return keep_staged(repository.team, info, sha256=sha256)
    except ObjectMissingError as error:
        # Another request for the same upload may have taken it a moment ago.
        held = held_blobs(repository.team, [sha256]).get(sha256)
        if held is not None:
            return held
        raise BlobMissingError(f"No file with the SHA-256 {sha256} was uploaded; upload it, then commit.") from error
    except DigestMismatchError:
        store.delete(key)
        raise


def keep_staged(team: Team, staged: ObjectInfo, *, sha256: str) -> Blob:
    """Makes what is staged a blob that `team` holds; whoever calls has computed its digest from what is there.

    Raises: ObjectMissingError, or ObjectExistsError when it was overwritten meanwhile.
    """
    store, target = object_store(), f"{WHOLE_FILES}{sha256[:2]}/{sha256}"
    store.copy(staged.key, target, if_etag=staged.etag)
    with transaction.atomic():
        blob, is_here = _blob_at(sha256, staged.size, object_key=target)
        if is_here:
            spare(target)
            WholeFile.objects.get_or_create(blob=blob)
        elif blob.object_key != target:
            doom([(target, staged.size)])  # it is stored by chunks already
        note_holder(team, [sha256])
    store.delete(staged.key)  # only now: whatever fails before finds it again, and nobody has to send it twice
    return blob


def accept_registered(team: Team, *, sha256: str, size: int | None) -> Blob | None:
    """A file that the team has sent by chunks, as a blob; None when there is none with this SHA-256.

    Raises: DigestMismatchError when it has another size than announced.
    """
    file = registered_file(team, sha256)
    if file is None:
        return None
    if size not in {None, file.size}:
        raise DigestMismatchError(f"The file {sha256} has {file.size} bytes, not {size}.", expected=size)
    with transaction.atomic():
        if not XetFile.objects.select_for_update().filter(pk=file.pk).exists():
            return None
        blob, _ = _blob_at(sha256, file.size, xet=file)
        note_holder(team, [sha256])
    return blob


def _blob_at(sha256: str, size: int, *, object_key: str = "", xet: XetFile | None = None) -> tuple[Blob, bool]:
    """The blob, and whether it lies there now: unless somebody holds it, who has it elsewhere."""
    place = {"object_key": object_key, "offset": 0, "xet": xet}
    blob, created = Blob.objects.get_or_create(sha256=sha256, defaults={"size": size, **place})
    if created or blob.holders.exists():
        return blob, created
    Blob.objects.filter(pk=sha256).update(**place)
    blob.refresh_from_db()
    return blob, True


def read_blob(blob: Blob, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Bytes `start` to `end - 1` of the blob, wherever they lie."""
    stop = blob.size if end is None else min(end, blob.size)
    if blob.xet is not None:
        return read_file(blob.xet, start, stop)
    return object_store().read(blob.object_key, blob.offset + start, blob.offset + stop)


def blob_bytes(blob: Blob, *, limit: int) -> bytes:
    """A small blob whole, checked against its digest. Raises: DigestMismatchError when it is longer than `limit`."""
    if blob.size > limit:
        raise DigestMismatchError(f"{blob.size} bytes are more than the {limit} that can be read at once.")
    return b"".join(checked(read_blob(blob), sha256=blob.sha256, size=blob.size, what=f"The stored blob {blob}"))
