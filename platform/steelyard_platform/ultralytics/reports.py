"""What a training says, as points, lines and facts: pure, whatever the client sends.

A number that is none, a name with line breaks and a console of a megabyte are somebody's training all the same: what
can be kept is kept, and the rest is passed over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import LogLine
from steelyard_contracts.run_specs import plain_text
from steelyard_contracts.tracking import GitState, RunPoint

METERS = "system/"
LARGEST_STEP = 2**62
LINES_OF_A_CHUNK = 1_000  # of more, those in front are left out: what is at the end says how it stands
LONGEST_LINE = 8_000
MOST_CHUNKS = 2_000_000
# Newer clients number chunks from the milliseconds that their clock showed when they began, older ones from 0.
_CLOCK, _MINUTE = 10**12, 60_000
_DEEPEST = 6
_NOT_IN_SLUG = re.compile(r"[^a-z0-9.]+")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_WORDS: Mapping[str, bool | None] = {"True": True, "False": False, "None": None}
# What this client calls its measures, and what they are called everywhere else here.
_MEASURES = {
    "metrics/mAP50(B)": "map50",
    "metrics/mAP50-95(B)": "map50_95",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
    "metrics/accuracy_top1": "accuracy",
    "metrics/accuracy_top5": "accuracy_top5",
    "fitness": "fitness",
}


def slug_of(text: str, fallback: str) -> str:
    """A name as it can stand in an address: `My run (2)` is `my-run-2`."""
    return _NOT_IN_SLUG.sub("-", text.lower()).strip("-.")[:90].strip("-.") or fallback


def digest_of(project: str, name: str, data: Mapping[str, Any]) -> str:
    """The same for the same words, however often they are delivered."""
    return sha256_of(json.dumps([project, name, data], sort_keys=True).encode())


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# --- epochs --------------------------------------------------------------------------------------


def epoch_of(data: Mapping[str, Any]) -> int:
    """Raises: InvalidInputError."""
    epoch = data.get("epoch")
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < LARGEST_STEP:
        raise InvalidInputError("An epoch is reported with its number, from 0 on, in 'epoch'.", field="epoch")
    return epoch


def points_of(data: Mapping[str, Any]) -> list[RunPoint]:
    """Every number of an epoch's report, under the names they came by; without the machine's.

    Raises: InvalidInputError.
    """
    step = epoch_of(data)
    found = dict(_numbers(mapping(data.get("metrics"))))
    found |= {name: data[name] for name in ("fitness", "best_fitness") if _is_number(data.get(name))}
    return [RunPoint(name=name, step=step, value=float(value)) for name, value in found.items()]


def meters_of(system: Mapping[str, Any], now: int) -> list[RunPoint]:
    """What the machine was busy with, below `system/`; their steps are seconds since 1970, as everywhere here."""
    found = dict(_numbers(system))
    return [RunPoint(name=f"{METERS}{name}", step=now, value=float(value)) for name, value in found.items()]


def measures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The measures that everything here is compared by, under their names here; what is not finite is none."""
    known = {ours: metrics[theirs] for theirs, ours in _MEASURES.items() if theirs in metrics}
    return {name: float(value) for name, value in known.items() if _is_number(value) and math.isfinite(value)}


def _numbers(values: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if _is_number(value):
            yield name, value
        elif isinstance(value, dict) and depth < _DEEPEST:
            yield from _numbers(value, f"{name}/", depth + 1)


def _is_number(value: Any) -> bool:
    """NaN and the infinities are; a whole number beyond what a float can hold is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


# --- the console ---------------------------------------------------------------------------------


def lines_of(data: Mapping[str, Any], began: datetime) -> list[LogLine]:
    """The lines of a chunk, numbered by the chunk they came in, so that the same chunk twice is the same as once.

    `began`: when the attempt did, give or take a minute between two clocks.

    Raises: InvalidInputError.
    """
    chunk, content = data.get("chunkId"), data.get("content")
    if isinstance(chunk, int) and chunk >= _CLOCK:
        chunk = max(chunk - int(began.timestamp() * 1000) + _MINUTE, 0)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or not 0 <= chunk < MOST_CHUNKS:
        raise InvalidInputError(f"A chunk of the console has a number from 0 to {MOST_CHUNKS - 1} in 'chunkId'.")
    if not isinstance(content, str):
        raise InvalidInputError("A chunk of the console has its text in 'content'.")
    texts = [_last_state(line) for line in content.split("\n")]
    kept = [text for text in texts if text][-LINES_OF_A_CHUNK:]
    first = chunk * LINES_OF_A_CHUNK
    return [LogLine(number=first + index, text=text) for index, text in enumerate(kept)]


def _last_state(line: str) -> str:
    """What a terminal would show in the end: a progress bar writes over itself again and again."""
    plain = _ESCAPES.sub("", line)
    return next((plain_text(part) for part in reversed(plain.split("\r")) if part.strip()), "").rstrip()[:LONGEST_LINE]


# --- the start -----------------------------------------------------------------------------------


def configuration_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, which come as texts, as what they were."""
    arguments = {name: _as_it_was(value) for name, value in mapping(data.get("trainArgs")).items()}
    return {**arguments, "epochs": data.get("epochs"), "device": data.get("device")}


def _as_it_was(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value in _WORDS:
        return _WORDS[value]
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return value


def total_of(data: Mapping[str, Any]) -> int | None:
    epochs = data.get("epochs")
    return epochs if isinstance(epochs, int) and not isinstance(epochs, bool) and 0 < epochs < LARGEST_STEP else None


def environment_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Of the machine. The git state stands apart."""
    environment = mapping(data.get("environment"))
    facts = {name: str(value) for name, value in environment.items() if not name.startswith("git")}
    return facts if "hostname" not in facts else {"host": facts.pop("hostname"), **facts}


def git_of(data: Mapping[str, Any]) -> GitState | None:
    environment = mapping(data.get("environment"))
    remote, branch, commit = (str(environment.get(f"git{part}") or "") for part in ("Repository", "Branch", "Commit"))
    if not (remote or branch or commit):
        return None
    return GitState(commit=commit[:64], branch=branch[:250], remote=remote[:1000])


def is_resumed(data: Mapping[str, Any]) -> bool:
    """`resume` is False, or names what the training goes on from."""
    return _as_it_was(mapping(data.get("trainArgs")).get("resume")) not in {None, False, ""}


# --- the end -------------------------------------------------------------------------------------


def why_failed(data: Mapping[str, Any]) -> str:
    said = data.get("error") or data.get("message")
    text = mapping(said).get("message") if isinstance(said, dict) else said
    return str(text)[:4_000] if text else "The training failed; its log says how far it came."
