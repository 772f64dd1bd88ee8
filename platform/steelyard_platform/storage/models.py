"""What the store knows of the Xet protocol's objects. Other objects need no rows: their keys say everything.

Xorb             an object that holds many chunks, and where each lies
XorbHolder       proof that a team has sent a xorb, or may build on it
XetFile          which chunks of which xorbs make a file
XetFileHolder    proof that a team has registered a file
FileXorb         what keeps a xorb alive
DedupCandidate   chunks by which clients ask for xorbs to build on
DoomedObject     objects whose rows are gone and which are about to go
TransferReport   what clients say of their transfers
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from steelyard_platform.accounts.models import Team

_HASH = 64


class Xorb(models.Model):
    digest = models.CharField(max_length=_HASH, primary_key=True)
    size = models.PositiveBigIntegerField()  # bytes stored
    length = models.PositiveBigIntegerField()  # bytes of content
    layout = models.BinaryField()  # `steelyard_contracts.xet.xorbs.Layout`, packed
    touched_at = models.DateTimeField(db_index=True)  # sent, offered or built on; garbage collection spares the young

    def __str__(self) -> str:
        return self.digest[:12]

    @property
    def key(self) -> str:
        return xorb_key(self.digest)


def xorb_key(digest: str) -> str:
    return f"xorbs/{digest[:2]}/{digest}"


class XorbHolder(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    xorb = models.ForeignKey(Xorb, on_delete=models.CASCADE, related_name="holders")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "xorb"], name="xorb_holder_unique")]

    def __str__(self) -> str:
        return f"{self.team} holds {self.xorb}"


class XetFile(models.Model):
    digest = models.CharField(max_length=_HASH, primary_key=True)
    sha256 = models.CharField(max_length=_HASH, db_index=True)
    size = models.PositiveBigIntegerField()
    terms = models.BinaryField()  # `steelyard_platform.storage.xet.terms`
    touched_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.digest[:12]


class XetFileHolder(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    file = models.ForeignKey(XetFile, on_delete=models.CASCADE, related_name="holders")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "file"], name="xet_file_holder_unique")]

    def __str__(self) -> str:
        return f"{self.team} holds {self.file}"


class FileXorb(models.Model):
    file = models.ForeignKey(XetFile, on_delete=models.CASCADE, related_name="xorbs")
    xorb = models.ForeignKey(Xorb, on_delete=models.PROTECT, related_name="files")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["file", "xorb"], name="file_xorb_unique")]

    def __str__(self) -> str:
        return f"{self.file} is built on {self.xorb}"


class DedupCandidate(models.Model):
    chunk = models.CharField(max_length=_HASH)
    xorb = models.ForeignKey(Xorb, on_delete=models.CASCADE, related_name="candidates")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["chunk", "xorb"], name="dedup_candidate_unique")]

    def __str__(self) -> str:
        return self.chunk[:12]


class DoomedObject(models.Model):
    """An object on its way out. Whoever stores the same key again takes it off this list first: see `garbage`."""

    key = models.CharField(max_length=200, primary_key=True)
    size = models.PositiveBigIntegerField()
    due_at = models.DateTimeField(default=timezone.now)  # readers that were sent to it may need it until then

    def __str__(self) -> str:
        return self.key


class TransferReport(models.Model):
    """`repository` is an id without a foreign key: the store does not know repositories."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    repository = models.UUIDField()
    event = models.CharField(max_length=64)
    client = models.CharField(max_length=200)
    metrics = models.JSONField()
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.event} at {self.at}"
