"""Repositories and everything that is versioned in them.

A commit writes one `Version` and only the `Entry` rows it changes: an entry lives on its branch from version
`added_in` until, exclusively, `removed_in`. A branch sees the entries of the branch it came from, as they were
at `base`, unless one of its own entries (which may be a tombstone: no blob) stands in front.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from steelyard_contracts.digests import lfs_pointer_id
from steelyard_contracts.refs import DEFAULT_REVISION, Ref, RepositoryKind
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import Resource
from steelyard_platform.storage.models import XetFile


class Gate(StrEnum):
    """Who may read a public repository's files: everybody, whoever asks, or whoever asked and was accepted."""

    NONE = ""
    AUTO = "auto"
    MANUAL = "manual"


class LiveRepositories(models.Manager["Repository"]):
    """Those that are not in the trash: what every list and look-up begins with."""

    def get_queryset(self) -> models.QuerySet[Repository]:
        return super().get_queryset().filter(is_trashed=False)


class Repository(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="repositories")
    name = models.CharField(max_length=96)
    kind = models.CharField(max_length=8, choices=[(kind, kind) for kind in RepositoryKind])
    is_public = models.BooleanField(default=False)
    gate = models.CharField(max_length=6, blank=True, default=Gate.NONE, choices=[(gate, gate) for gate in Gate])
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField()
    last_number = models.PositiveIntegerField(default=0)  # the newest version's, over all branches
    last_proposal = models.PositiveIntegerField(default=0)
    # Read from README.md's front matter at each commit to main.
    card = models.JSONField(default=dict)
    tags = models.JSONField(default=list)
    # In the trash, or made to hold what was deleted from another one. `objects` hides both kinds: see `trash`.
    is_trashed = models.BooleanField(default=False)
    trash_of = models.OneToOneField("self", on_delete=models.CASCADE, null=True, related_name="trash")

    objects = LiveRepositories()
    everything: ClassVar[models.Manager[Repository]] = models.Manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                "team", "kind", Lower("name"), condition=Q(is_trashed=False), name="repository_name_unique"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["kind", "-updated_at", "id"])]

    def __str__(self) -> str:
        return self.full_name

    @property
    def full_name(self) -> str:
        return f"{self.team.name}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref(RepositoryKind(self.kind), self.team.name, self.name)

    @property
    def resource(self) -> Resource:
        return Resource(
            team_id=self.team_id,
            label=f"{self.kind} {self.full_name}",
            repository_id=self.pk,
            is_public=self.is_public,
            is_gated=self.gate != Gate.NONE,
        )

    @property
    def page(self) -> str:
        """Its address on the dashboard, and the prefix of its files' addresses."""
        prefix = "" if self.kind == RepositoryKind.MODEL else f"/{RepositoryKind(self.kind).plural}"
        return f"{prefix}/{self.full_name}"


class CardTag(models.Model):
    """A tag of a repository's card, as a row, so that lists can filter by it with an index."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="card_tags")
    tag = models.CharField(max_length=200)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["repository", "tag"], name="card_tag_unique")]
        indexes: ClassVar = [models.Index(fields=["tag", "repository"])]

    def __str__(self) -> str:
        return self.tag


class SearchDocument(models.Model):
    """What a repository is found and sorted by: see `search`. It can be made again of what the repository holds."""

    repository = models.OneToOneField(Repository, on_delete=models.CASCADE, primary_key=True, related_name="document")
    name = models.CharField(max_length=200)  # namespace/name, in small letters
    words = models.TextField(blank=True)  # of the name, the tags and README.md: see `words`
    task = models.CharField(max_length=100, blank=True)
    library = models.CharField(max_length=100, blank=True)
    size = models.PositiveBigIntegerField(default=0)  # of the newest version of main
    downloads = models.PositiveBigIntegerField(default=0)
    edition = models.PositiveSmallIntegerField(default=0, db_index=True)  # of the code that wrote it: see `search`

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["name", "repository"]),
            models.Index(fields=["-size", "-repository"]),
            models.Index(fields=["-downloads", "-repository"]),
        ]

    def __str__(self) -> str:
        return self.name


class AccessState(StrEnum):
    """pending ⇄ accepted ⇄ rejected ⇄ pending: whoever keeps the repository may change their mind in any direction."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class AccessRequest(models.Model):
    """Somebody's request to read a gated repository's files, or what was granted to them unasked."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="access_requests")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_requests")
    state = models.CharField(max_length=8, choices=[(state, state) for state in AccessState])
    was_asked_for = models.BooleanField(default=True)
    fields = models.JSONField(default=dict)  # what they wrote into the form
    reason = models.CharField(max_length=500, blank=True)  # of a rejection
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["repository", "user"], name="access_request_unique")]
        indexes: ClassVar = [models.Index(fields=["repository", "state", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.user} {self.state}: {self.repository}"


class FormerName(models.Model):
    """Where a moved repository used to be; its old address leads to the new one until somebody takes the name."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="former_names")
    kind = models.CharField(max_length=8)
    full_name = models.CharField(max_length=200)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("kind", Lower("full_name"), name="former_name_unique")]

    def __str__(self) -> str:
        return self.full_name


class Branch(models.Model):
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="branches")
    name = models.CharField(max_length=96, default=DEFAULT_REVISION)
    head = models.ForeignKey("Version", on_delete=models.SET_NULL, null=True, related_name="+")
    # What the branch came from. With `sees_base`, the base's files show through; a variant keeps only the lineage.
    base = models.ForeignKey("Version", on_delete=models.SET_NULL, null=True, related_name="side_branches")
    sees_base = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["repository", "name"], name="branch_name_unique")]

    def __str__(self) -> str:
        return self.name


class Version(models.Model):
    """An immutable commit. `number` counts within the repository, over all its branches."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="versions")
    branch = models.ForeignKey(Branch, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    commit_id = models.CharField(max_length=40, unique=True)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children")
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    author_name = models.CharField(max_length=200)
    title = models.CharField(max_length=300)
    message = models.TextField(blank=True)
    created_at = models.DateTimeField()
    job = models.UUIDField(null=True, db_index=True)  # the job whose token committed it
    file_count = models.PositiveIntegerField(default=0)
    total_size = models.PositiveBigIntegerField(default=0)
    # Whether those who look into new versions have seen this one; what a process lost is found again by it.
    is_examined = models.BooleanField(default=False)
    # When somebody last took it back from the trash: no rule puts it there again.
    restored_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["repository", "number"], name="version_number_unique")]
        indexes: ClassVar = [
            models.Index(fields=["branch", "-number"]),
            models.Index(fields=["-id"], condition=Q(is_examined=False), name="version_unexamined"),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        return f"v{self.number}"


class Proposal(models.Model):
    """The words of a proposal, which the Hub's clients call a pull request; its files are on the branch `refs/pr/N`."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="proposals")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    author_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["repository", "number"], name="proposal_number_unique")
        ]

    def __str__(self) -> str:
        return f"{self.repository}#{self.number}"

    @property
    def branch_name(self) -> str:
        return f"refs/pr/{self.number}"


class Webhook(models.Model):
    """An address that somebody wants told what happens to the repositories they watch."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=2000)
    sealed_secret = models.TextField(blank=True)  # see `webhooks.seal`
    domains = models.JSONField(default=list)
    is_disabled = models.BooleanField(default=False)
    origin = models.CharField(max_length=300, blank=True)  # the installation's address, as the owner sees it
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"webhook {self.pk.hex}"


class WebhookWatch(models.Model):
    """A namespace, or one repository, that a webhook is about; by name, so that it may be made later."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="watches")
    kind = models.CharField(max_length=8)  # user, org, model or dataset
    name = models.CharField(max_length=200)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("webhook", "kind", Lower("name"), name="webhook_watch_unique")]
        indexes: ClassVar = [models.Index(Lower("name"), "kind", name="webhook_watch_by_name")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class WebhookDelivery(models.Model):
    """One event on its way to one address. Written with the event; gone once it was taken, or given up."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    payload = models.JSONField()
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.webhook}, attempt {self.attempts}"


class Blob(models.Model):
    """Bytes, by their SHA-256: a slice of a pack when small, chunks of xorbs, or an object of their own."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.PositiveBigIntegerField()
    # Git's own id of the content; empty for what only ever came as a large file, which git would see as a pointer.
    git_id = models.CharField(max_length=40, blank=True)
    object_key = models.CharField(max_length=200, blank=True)  # empty for a file of chunks
    offset = models.PositiveBigIntegerField(default=0)
    xet = models.ForeignKey(XetFile, on_delete=models.PROTECT, null=True, related_name="blobs")
    # Sent, asked for by an upload, or losing a reference: garbage collection spares what this happened to lately.
    touched_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.sha256[:12]


class WholeFile(models.Model):
    """A blob that came whole and waits to be stored by chunks: see `conversion`."""

    blob = models.OneToOneField(Blob, on_delete=models.CASCADE, primary_key=True, related_name="+")
    claimed_until = models.DateTimeField(default=timezone.now, db_index=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.blob_id[:12]} waits"


class BlobHolder(models.Model):
    """Proof that a team has sent these bytes. Naming a digest alone gives nobody its content."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="holders")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "blob"], name="blob_holder_unique")]

    def __str__(self) -> str:
        return f"{self.team} holds {self.blob}"


class Entry(models.Model):
    """A path's content on a branch over an interval of versions. No blob: the path is deleted there."""

    branch = models.ForeignKey(Branch, on_delete=models.CASCADE, related_name="entries")
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, null=True, related_name="entries")
    is_lfs = models.BooleanField(default=False)
    added_in = models.PositiveIntegerField()
    removed_in = models.PositiveIntegerField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["branch", "path"], condition=Q(removed_in=None), name="entry_live_unique")
        ]
        indexes: ClassVar = [models.Index(fields=["branch", "path", "added_in"])]

    def __str__(self) -> str:
        return self.path

    @property
    def oid(self) -> str:
        """Git's id of what a git client would see at this path: the content, or the pointer to it."""
        assert self.blob is not None  # noqa: S101 - tombstones never leave `tree`
        return lfs_pointer_id(self.blob.sha256, self.blob.size) if self.is_lfs else self.blob.git_id

    @property
    def etag(self) -> str:
        """What the Hub's clients name a cached file by."""
        assert self.blob is not None  # noqa: S101 - as above
        return self.blob.sha256 if self.is_lfs else self.blob.git_id


class Tag(models.Model):
    """A name for a version that does not move."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="tag_set")
    name = models.CharField(max_length=96)
    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="tags")
    message = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["repository", "name"], name="tag_name_unique")]

    def __str__(self) -> str:
        return self.name


class Alias(models.Model):
    """A name for a version that moves (`production`), with its history in `AliasMove`."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=96)
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="aliases")
    is_protected = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["repository", "name"], name="alias_name_unique")]

    def __str__(self) -> str:
        return self.name


class AliasMove(models.Model):
    """Who moved an alias, when, from where to where, why, and what the gates had said."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="alias_moves")
    alias = models.CharField(max_length=96)
    from_version = models.ForeignKey(Version, on_delete=models.SET_NULL, null=True, related_name="+")
    to_version = models.ForeignKey(Version, on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True)
    verdicts = models.JSONField(default=list)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.alias}: {self.from_version} → {self.to_version}"

    @property
    def overridden(self) -> list[str]:
        """What the gates had said against it, when somebody moved the alias all the same."""
        return [verdict["sentence"] for verdict in self.verdicts if not verdict["passed"]]


class TrashedAs(StrEnum):
    REPOSITORY = "repository"
    BRANCH = "branch"
    VERSION = "version"


class TrashItem(models.Model):
    """Something that was deleted and can be brought back: a whole repository, or a part of the one it names."""

    what = models.CharField(max_length=10, choices=[(what, what) for what in TrashedAs])
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="trash_items")
    branch = models.OneToOneField(Branch, on_delete=models.CASCADE, null=True, related_name="trash_item")
    branch_name = models.CharField(max_length=96, blank=True)
    version = models.OneToOneField(Version, on_delete=models.CASCADE, null=True, related_name="trash_item")
    base = models.ForeignKey(Version, on_delete=models.SET_NULL, null=True, related_name="+")  # the branch's
    came_from = models.ForeignKey(Branch, on_delete=models.SET_NULL, null=True, related_name="+")  # the version
    versions = models.PositiveIntegerField(default=1)
    size = models.PositiveBigIntegerField()  # of its files, as its readers saw them
    deleted_by = models.CharField(max_length=200)
    deleted_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """`lab/reader`, `lab/reader@v3`, `lab/reader@side`."""
        match TrashedAs(self.what):
            case TrashedAs.REPOSITORY:
                return self.repository.full_name
            case TrashedAs.BRANCH:
                return f"{self.repository.full_name}@{self.branch_name}"
            case TrashedAs.VERSION:
                return f"{self.repository.full_name}@{self.version}"


class ExpiryRule(models.Model):
    """Which versions without a name go to the trash by themselves. What anything refers to stays: see `holds`."""

    repository = models.OneToOneField(Repository, on_delete=models.CASCADE, related_name="expiry")
    keep_last = models.PositiveIntegerField()
    older_than_days = models.PositiveIntegerField(default=0)
    changed_by = models.CharField(max_length=200)
    applied_at = models.DateTimeField(null=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.repository}: keep the last {self.keep_last}"
