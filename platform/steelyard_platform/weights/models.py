"""Lineage between versions, recorded evaluations, the rules that guard names and releases, and requests past them."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from django.db import models
from django.db.models import Q

from steelyard_contracts.promotions import RELEASE, PromotionState, PromotionStep
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import User
from steelyard_platform.repos.models import AliasMove, Blob, Repository, Version


class Relation(StrEnum):
    """How a version came of another. That a version was deployed to a device is read from the fleet, not kept here."""

    TRAINED_ON = "trained-on"
    FINE_TUNED_FROM = "fine-tuned-from"
    MERGED_FROM = "merged-from"
    PRUNED_FROM = "pruned-from"
    EXPORTED_FROM = "exported-from"
    QUANTIZED_FROM = "quantized-from"
    EVALUATED_ON = "evaluated-on"


class LineageEdge(models.Model):
    """`target` was made from (or measured on) `source`."""

    source = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="descendants")
    target = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="ancestors")
    relation = models.CharField(max_length=24, choices=[(relation, relation) for relation in Relation])
    job = models.UUIDField(null=True)
    # Said by the target's card, not recorded by whatever made the target.
    declared = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["source", "target", "relation"], name="lineage_edge_unique")
        ]

    def __str__(self) -> str:
        return f"{self.target} {self.relation} {self.source}"


class ExternalSource(models.Model):
    """What a card says its version was made from, and is no repository here that the card's author may read."""

    target = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="external_sources")
    relation = models.CharField(max_length=24, choices=[(relation, relation) for relation in Relation])
    kind = models.CharField(max_length=8, choices=[(kind, kind) for kind in RepositoryKind])
    name = models.CharField(max_length=200)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["target", "relation", "kind", "name"], name="external_source_unique")
        ]

    def __str__(self) -> str:
        return f"{self.target} {self.relation} {self.name}"


class Evaluation(models.Model):
    """A version's measures on a dataset version, in one runtime on one kind of machine. Rows are only added."""

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="evaluations")
    dataset = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="+")
    split = models.CharField(max_length=60)
    runtime = models.CharField(max_length=60)
    task = models.CharField(max_length=40, blank=True)
    pictures = models.PositiveIntegerField(default=0)
    metrics = models.JSONField()
    intervals = models.JSONField(default=dict)  # of metrics: {"low": …, "high": …}
    environment = models.JSONField(default=dict)
    job = models.UUIDField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["version", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.version} on {self.dataset}"


class EvaluationRecord(models.Model):
    """All that an evaluation found beside its headline figures: apart, because lists need none of it."""

    evaluation = models.OneToOneField(Evaluation, on_delete=models.CASCADE, primary_key=True, related_name="record")
    classes = models.JSONField(default=list)  # of `Measures`, which gates ask for by themselves
    measures = models.JSONField(default=dict)
    replicates = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"record of {self.evaluation_id}"


class EvaluationSample(models.Model):
    """A picture that the version did badly on, small; `rank` counts from the worst, nought."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="samples")
    rank = models.PositiveSmallIntegerField()
    path = models.CharField(max_length=1024)
    truth = models.CharField(max_length=500)
    answer = models.CharField(max_length=500)
    cost = models.FloatField()
    picture = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["evaluation", "rank"], name="evaluation_sample_unique")
        ]

    def __str__(self) -> str:
        return f"{self.path}: {self.answer} instead of {self.truth}"


class NewestMeasure(models.Model):
    """What search compares: of each dataset and metric, the newest value of a repository's main. See `search`."""

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="newest_measures")
    dataset = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="+")
    metric = models.CharField(max_length=60)
    value = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["repository", "dataset", "metric"], name="newest_measure_unique")
        ]
        indexes: ClassVar = [models.Index(fields=["metric", "value", "repository"])]

    def __str__(self) -> str:
        return f"{self.metric} of {self.repository}: {self.value}"


class GateRule(models.Model):
    """A rule a version must meet before the alias `applies_to` (or any, `*`) may name it, or it is released."""

    ANY = "*"
    RELEASE = RELEASE

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="gates")
    text = models.CharField(max_length=300)
    applies_to = models.CharField(max_length=96, default=ANY)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["repository", "text", "applies_to"], name="gate_rule_unique")
        ]

    def __str__(self) -> str:
        return self.text


class VersionSignature(models.Model):
    """The installation's signature over a version's manifest, as others verify it: see `signing`."""

    version = models.OneToOneField(Version, on_delete=models.CASCADE, related_name="signature")
    key_id = models.CharField(max_length=64, db_index=True)
    digest = models.CharField(max_length=64)  # over the digests of all files, by which the statement names its subject
    bundle = models.JSONField()
    lineage = models.JSONField(default=list)  # the edges that were signed; later ones ask for a new signature
    signed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.version} by {self.key_id[:12]}"


class WeightFile(models.Model):
    """What a worker found in a file, by its content: the same bytes are looked into once. See `inspection`."""

    blob = models.OneToOneField(Blob, on_delete=models.CASCADE, primary_key=True, related_name="weight_file")
    format = models.CharField(max_length=20)
    framework = models.CharField(max_length=60, blank=True)
    parameters = models.BigIntegerField(default=0)
    tensor_count = models.PositiveIntegerField(default=0)
    metadata = models.JSONField(default=dict)
    shards = models.JSONField(default=list)  # of an index: the files it names
    findings = models.JSONField(default=list)
    has_danger = models.BooleanField(default=False, db_index=True)
    # Compressed JSON, a list each: names, shapes and digests, which everything needs, and statistics, which pages show.
    outline = models.BinaryField(default=bytes)
    statistics = models.BinaryField(default=bytes)
    inspected_at = models.DateTimeField(auto_now=True)

    class Meta:
        # Every download asks for the few that are dangerous.
        indexes: ClassVar = [models.Index(fields=["blob"], condition=Q(has_danger=True), name="weight_file_dangerous")]

    def __str__(self) -> str:
        return f"{self.format} {self.blob_id[:12]}"


class Promotion(models.Model):
    """A request to move an alias to a version, or to release it to devices. `steelyard_contracts` draws the states.

    Its number is one of the numbers of the repository's proposals, so that what is said of either has one address.
    """

    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="promotions")
    number = models.PositiveIntegerField()
    version = models.ForeignKey(Version, on_delete=models.SET_NULL, null=True, related_name="promotions")
    target = models.CharField(max_length=96)
    words = models.TextField(blank=True)
    requester = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    requester_name = models.CharField(max_length=200)
    state = models.CharField(
        max_length=12, default=PromotionState.OPEN, choices=[(state, state) for state in PromotionState]
    )
    move = models.OneToOneField(AliasMove, on_delete=models.SET_NULL, null=True, related_name="promotion")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["repository", "number"], name="promotion_number_unique"),
            models.UniqueConstraint(
                fields=["repository", "version", "target"],
                condition=models.Q(state=PromotionState.OPEN),
                name="promotion_open_unique",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["repository", "state", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.repository}#{self.number}"


class PromotionEvent(models.Model):
    """What somebody said or did about a request. Rows are only added.

    `subject` is the very move that was asked for then: an approval counts as long as the request still asks for it.
    """

    promotion = models.ForeignKey(Promotion, on_delete=models.CASCADE, related_name="events")
    step = models.CharField(max_length=12, choices=[(step, step) for step in PromotionStep])
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    author_name = models.CharField(max_length=200)
    words = models.TextField(blank=True)
    subject = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["promotion", "at"])]

    def __str__(self) -> str:
        return f"{self.author_name}: {self.step} of {self.promotion_id}"


class QuarantineLift(models.Model):
    """A maintainer's word that a version may go out although some of its files are dangerous. See `quarantine`."""

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="quarantine_lifts")
    files = models.JSONField()  # the SHA-256 of each file whose danger was known then
    reason = models.CharField(max_length=500)
    lifted_by = models.CharField(max_length=200)
    lifted_at = models.DateTimeField(auto_now_add=True)
    # Put back, or made again for more dangers; until then it is in force.
    ended_by = models.CharField(max_length=200, blank=True)
    ended_reason = models.CharField(max_length=500, blank=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(ended_at=None), name="quarantine_lift_in_force_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} lifted by {self.lifted_by}"


class TensorMeasure(models.Model):
    """How far one tensor is from another, by the digests of their bytes: true wherever they meet. See `comparison`."""

    left = models.CharField(max_length=64)
    right = models.CharField(max_length=64)
    dtype = models.CharField(max_length=40)  # the same bytes are other numbers as another kind
    relative_l2 = models.FloatField(null=True)
    cosine_similarity = models.FloatField(null=True)
    max_abs_change = models.FloatField(null=True)
    changed_share = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["left", "right", "dtype"], name="tensor_measure_unique")
        ]

    def __str__(self) -> str:
        return f"{self.left[:12]} and {self.right[:12]}"
