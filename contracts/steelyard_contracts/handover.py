"""What a repository is, record by record, as an export writes it and an import brings it back.

A version keeps its number, its author's name and its date; names keep their history; measures keep their day. Only a
team's maintainers import, because an import says what happened before this installation could see it.
"""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.promotions import LONGEST_REASON, GateVerdict
from steelyard_contracts.wire import WireModel

HIGHEST_NUMBER = 999_999_999
LONGEST_NAME = 200
MOST_AT_ONCE = 500


class FileRecord(BaseModel):
    """A file of a version. `large`: it does not travel inside a commit; `xet`: by what its chunks are fetched."""

    path: str
    size: int
    sha256: str
    large: bool
    xet: str = ""


class BranchRecord(BaseModel):
    """`base`: the version that it came from; with `sees_base`, that one's files show through."""

    name: str
    head: str | None
    base: str | None
    sees_base: bool


class VersionRecord(WireModel):
    """The head of an imported commit: what is said of the version by whoever had it before.

    `number` None: the next one. `follows`: the number of the version that its branch ends with now, and so what the
    changes are changes to. `commit` is kept unless another version here has that id.
    """

    number: int | None = Field(None, ge=1, le=HIGHEST_NUMBER)
    branch: str = Field("main", max_length=96)
    follows: int | None = Field(None, ge=1, le=HIGHEST_NUMBER)
    title: str = Field("", max_length=300)
    message: str = Field("", max_length=1_000_000)
    author: str = Field(min_length=1, max_length=LONGEST_NAME)
    created_at: AwareDatetime
    commit: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    keep_unchanged: bool = Field(default=False, description="Make the version even if its files are those before it.")
    lineage_follows: bool = Field(default=False, description="Its lineage is imported; its card is not asked for it.")


class ImportedVersion(BaseModel):
    """The version that the import has made, or the one that is there when nothing changed."""

    version: str
    commit: str
    files: int
    size: int
    made: bool


class RepositoryRecord(WireModel):
    created_at: AwareDatetime


class AliasMoveRecord(WireModel):
    """Versions as labels; `to_version` None: the alias was deleted, or the version was."""

    alias: str = Field(max_length=96)
    from_version: str | None = Field(None, max_length=12)
    to_version: str | None = Field(None, max_length=12)
    actor: str = Field(max_length=LONGEST_NAME)
    reason: str = Field("", max_length=LONGEST_REASON)
    at: AwareDatetime
    verdicts: list[GateVerdict] = Field(default_factory=list, max_length=100)


class AliasMoves(WireModel):
    moves: list[AliasMoveRecord] = Field(max_length=MOST_AT_ONCE)


class AliasRecord(WireModel):
    name: str = Field(max_length=96)
    version: str = Field(max_length=12)
    protected: bool = False


class Aliases(WireModel):
    aliases: list[AliasRecord] = Field(max_length=MOST_AT_ONCE)


class EvaluationRecord(WireModel):
    """An evaluation as a job reported it, and when."""

    at: AwareDatetime
    report: EvaluationReport


class EdgeRecord(WireModel):
    """`target`, a version of the repository, was made from `source`; `external`: which is only known by its name."""

    relation: str = Field(max_length=24)
    source: str = Field(min_length=1, max_length=300)
    target: str = Field(max_length=12)
    declared: bool = False
    external: bool = False


class Edges(WireModel):
    edges: list[EdgeRecord] = Field(max_length=MOST_AT_ONCE)


class Added(BaseModel):
    """How many of the records were new; those that were there before are left as they are."""

    added: int
