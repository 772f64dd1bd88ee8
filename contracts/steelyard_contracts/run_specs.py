"""What is known of a run: a training that was done elsewhere and reports here. `tracking` has what it sends."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from steelyard_contracts.wire import WireModel

MOST_DATASETS = 50
MOST_TAGS = 500
LONGEST_NAME = 200
LONGEST_TEXT = 8_000
DEEPEST = 20  # levels of a configuration that stay what they are
# A run that was not heard of for this long is shown as silent. It goes on when it speaks again.
SILENT_SECONDS = 600

# A terminal's colours stay, in a log.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\ud800-\udfff]")
_SPACE = re.compile(r"[\s\x1b]+")


def plain_text(text: str) -> str:
    """Without what no database holds and no page shows: control characters and halves of surrogate pairs."""
    return _CONTROL.sub("", text)


def run_name(raw: str) -> str:
    """A run's name on one line, at most `LONGEST_NAME` characters; empty when nothing of it is left."""
    return plain_text(_SPACE.sub(" ", raw)).strip()[:LONGEST_NAME].strip()


def plain_json(value: Any, depth: int = 0) -> Any:
    """A configuration as JSON holds it: what is not finite by its name, what JSON has no word for as its text."""
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {plain_text(str(key)): plain_json(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
        return [plain_json(part, depth + 1) for part in value]
    return _plain_atom(value)


def without_credentials(address: str) -> str:
    """A remote's address without the user and password that some people write into it."""
    if "://" not in address:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _plain_atom(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else _name_of(value)
        case str():
            return plain_text(value)
        case _:
            return plain_text(str(value))[:LONGEST_TEXT]


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _texts(value: Any) -> Any:
    """Short facts, whatever they were: numbers and truths become words."""
    if not isinstance(value, Mapping):
        return value
    return {plain_text(str(key))[:LONGEST_NAME]: plain_text(str(part))[:LONGEST_TEXT] for key, part in value.items()}


Text = Annotated[str, AfterValidator(plain_text)]
Configuration = Annotated[dict[str, Any], AfterValidator(plain_json)]
Facts = Annotated[dict[str, str], BeforeValidator(_texts), Field(max_length=MOST_TAGS)]


class RunSource(StrEnum):
    """Who reports: our own SDK, the clients of others, or an import of what was done before."""

    STEELYARD = "steelyard"
    ULTRALYTICS = "ultralytics"
    MLFLOW = "mlflow"
    IMPORT = "import"


class GitState(WireModel):
    """Where the code stood. A remote's credentials are taken out of it."""

    commit: Text = Field("", max_length=64)
    branch: Text = Field("", max_length=250)
    is_dirty: bool = False
    remote: Annotated[str, AfterValidator(plain_text), AfterValidator(without_credentials)] = Field("", max_length=1000)


class RunSpec(WireModel):
    """What a run said it would do. Its references are pinned to versions when it starts."""

    kind: Literal["run"] = "run"
    config: dict[str, Any] = Field(default_factory=dict)
    datasets: list[str] = Field(default_factory=list, max_length=MOST_DATASETS)
    base: str | None = None


class RunFacts(BaseModel):
    """What a run has beside what every job has. `project` is the model repository that it belongs to."""

    name: str
    project: str
    source: RunSource
    tags: dict[str, str]
    environment: dict[str, str]
    git: GitState | None
    total_steps: int | None
    heard_at: datetime
    is_silent: bool = Field(description="Not heard of for ten minutes, and not ended.")
