"""Machines that do jobs: what one has, what a job needs, and whether the two fit.

    needs = Resources(labels=["gpu:a100"], gpus=2, memory_gb=64)
    labels_of(Capabilities(cores=32, gpus=[Gpu(name="NVIDIA A100-SXM4-80GB", memory_gb=80)]))
    # {"cpu", "gpu", "gpu:a100"}
    lacks(capabilities, needs)  # None when they fit, else a few words: "2 GPUs"

Labels are queues: every machine has `cpu`, one with a GPU has `gpu` and its type, and people add their own. They are
worked out here and nowhere else, so that the worker, the platform and the launchers agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from steelyard_contracts.wire import WireModel

CPU, GPU = "cpu", "gpu"
# What a machine that was set up for small jobs alone takes: see `QUICK_KINDS`.
QUICK = "quick"
# Seconds of work, and people wait for them: these do not stand behind a training that takes the night.
QUICK_KINDS = frozenset({"inspect", "compare", "predict"})
ALL_CPU_CORES = 4096

Label = Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9]([a-z0-9._:-]*[a-z0-9])?$")]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Name = Annotated[str, Field(max_length=96, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]

_NOT_IN_LABEL = re.compile(r"[^a-z0-9.]+")
# What vendors write before and after the type that people say: "NVIDIA A100-SXM4-80GB" is an a100.
_OF_NO_TYPE = frozenset({"nvidia", "amd", "intel", "tesla", "geforce", "quadro", "instinct", "radeon", "graphics"})


class WorkerState(StrEnum):
    """idle <-> busy; draining takes no new job; silent has not been heard of; stopped has said goodbye."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    SILENT = "silent"
    STOPPED = "stopped"


class Resources(WireModel):
    """What a job asks of the machine that does it. Nothing at all: any machine will do."""

    labels: list[Label] = Field(default_factory=list, max_length=8, description="It must have all of them.")
    memory_gb: float = Field(0, ge=0, le=100_000, description="Main memory, in 10^9 bytes.")
    gpus: int = Field(0, ge=0, le=64)
    gpu_memory_gb: float = Field(0, ge=0, le=10_000, description="Memory of each GPU, in 10^9 bytes.")
    processes: int = Field(1, ge=1, le=64, description="Processes that train together, through torchrun.")
    hosts: int = Field(1, ge=1, le=64, description="Machines that train together, each with all of this.")

    def in_words(self) -> str:
        """For sentences: "gpu:a100, 64 GB of memory"."""
        parts = [
            *self.labels,
            *([_count(self.gpus, "GPU")] if self.gpus else []),
            *([f"{self.gpu_memory_gb:g} GB of GPU memory"] if self.gpu_memory_gb else []),
            *([f"{self.memory_gb:g} GB of memory"] if self.memory_gb else []),
        ]
        return ", ".join(parts)

    def in_full(self) -> str:
        """As `in_words`, with how many train together."""
        parts = [
            self.in_words(),
            f"{self.processes} processes" if self.processes > 1 else "",
            f"on {self.hosts} machines" if self.hosts > 1 else "",
        ]
        return ", ".join(part for part in parts if part)


class Gpu(WireModel):
    name: Text
    memory_gb: float = Field(ge=0, le=10_000)


class Capabilities(WireModel):
    """What a machine has. Sizes are in 10^9 bytes; `labels` are those that people gave it."""

    labels: list[Label] = Field(default_factory=list, max_length=20)
    exclusive: bool = Field(default=False, description="Takes only jobs that ask for a label of its own, or a GPU.")
    quick_only: bool = Field(default=False, description="Takes only the small jobs that people wait for.")
    no_quick: bool = Field(default=False, description="Takes none of those: it is worth more than seconds of work.")
    cores: int = Field(1, ge=1, le=ALL_CPU_CORES)
    memory_gb: float = Field(0, ge=0, le=100_000)
    disk_gb: float = Field(0, ge=0, le=10_000_000, description="Free where it works.")
    gpus: list[Gpu] = Field(default_factory=list, max_length=64)
    versions: dict[Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9_-]+$")], Text] = Field(
        default_factory=dict, max_length=20, description="Of steelyard, python, torch, cuda."
    )


class Load(WireModel):
    """How busy a machine is: shares from 0 to 1."""

    cpu: float = Field(0, ge=0, le=1)
    memory: float = Field(0, ge=0, le=1)
    gpu: float | None = Field(None, ge=0, le=1, description="The mean over its GPUs; null without one.")


class Registration(WireModel):
    """A worker that begins: with its name it takes the place that a former one of that name has left."""

    name: Name
    host: Text
    capabilities: Capabilities


class WorkerPlace(BaseModel):
    """What the platform calls it. `name` has a number behind it when another worker of that name is at work."""

    id: UUID
    name: str
    beat_seconds: float


class Beat(WireModel):
    """A sign of life. An idle worker hears in the answer of a job that waits for one like it."""

    load: Load = Field(default_factory=Load)
    is_idle: bool = False


class NextJobRequest(WireModel):
    wait_seconds: float = Field(0, ge=0, le=25, description="How long the answer may take when there is nothing.")
    exclude: list[UUID] = Field(default_factory=list, max_length=200, description="Jobs it knows of already.")


class NextJob(BaseModel):
    """A job that waits and fits, to be claimed. With none: seconds until it is worth asking again."""

    job: UUID | None = None
    kind: str = ""
    needs: Resources = Field(default_factory=Resources)
    is_draining: bool = False
    again_seconds: float = 0


class WorkerView(BaseModel):
    """A worker as its page, the API and the SDK show it. `job` is null also for who may not see the job."""

    id: UUID
    name: str
    host: str
    team: str | None = Field(description="Whose jobs it takes; null: those of every team.")
    state: WorkerState
    labels: list[str]
    capabilities: Capabilities
    load: Load
    job: UUID | None
    first_seen_at: datetime
    last_seen_at: datetime


class WorkerTokenRequest(WireModel):
    name: Text = Field(min_length=1)
    days: int | None = Field(None, ge=1, le=3650, description="Days until it expires; null: never.")


class WorkerTokenView(BaseModel):
    id: int
    name: str
    hint: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class IssuedWorkerToken(BaseModel):
    token: str = Field(description="Shown this once.")
    view: WorkerTokenView


def labels_of(has: Capabilities) -> frozenset[str]:
    """All labels of a machine: those it was given, and those that follow from what it has."""
    found = {CPU, *has.labels}
    for gpu in has.gpus:
        found.add(GPU)
        if kind := gpu_type(gpu.name):
            found.add(f"{GPU}:{kind}")
    return frozenset(found)


def gpu_type(name: str) -> str:
    """As people say it: "a100" of "NVIDIA A100-SXM4-80GB", "rtx-4090" of "NVIDIA GeForce RTX 4090"; empty for none."""
    words = [word for word in _NOT_IN_LABEL.split(name.lower()) if word and word not in _OF_NO_TYPE]
    if not words:
        return ""
    kind = words[0]
    is_family = not any(letter.isdigit() for letter in kind)
    return f"{kind}-{words[1]}" if is_family and len(words) > 1 else kind


def fits(has: Capabilities, needs: Resources, *, kind: str = "") -> bool:
    """Whether a machine may do a job of `kind` that needs this."""
    return lacks(has, needs, kind=kind) is None


def lacks(has: Capabilities, needs: Resources, *, kind: str = "") -> str | None:
    """What keeps a machine from doing a job, in a few words; None when it may."""
    if has.quick_only and kind not in QUICK_KINDS:
        return "a machine that does not keep to small jobs"
    if has.no_quick and kind in QUICK_KINDS:
        return "a machine that takes small jobs"
    if has.exclusive and not _asks_for_it(has, needs):
        return "a machine that is not set aside"
    missing = sorted(set(needs.labels) - labels_of(has))
    if missing:
        return f"the label {missing[0]}"
    if len(has.gpus) < needs.gpus:
        return _count(needs.gpus, "GPU")
    return _lacks_memory(has, needs)


def _asks_for_it(has: Capabilities, needs: Resources) -> bool:
    return needs.gpus > 0 or not (labels_of(has) - {CPU}).isdisjoint(needs.labels)


def _lacks_memory(has: Capabilities, needs: Resources) -> str | None:
    if has.memory_gb < needs.memory_gb:
        return f"{needs.memory_gb:g} GB of memory"
    wide_enough = sum(gpu.memory_gb >= needs.gpu_memory_gb for gpu in has.gpus)
    if needs.gpu_memory_gb and wide_enough < max(needs.gpus, 1):
        return f"{needs.gpu_memory_gb:g} GB of GPU memory"
    return None


def queue_of(needs: Resources, *, kind: str = "") -> str:
    """The queue that a job's bell is rung in: that of its rarest label, so that few hear it in vain."""
    if kind in QUICK_KINDS and not needs.labels and not needs.gpus:
        return queue_named(QUICK)
    wanted = [*needs.labels, *([GPU] if needs.gpus or needs.gpu_memory_gb else [])]
    return queue_named(min(wanted, key=_rarity, default=CPU))


def queues_of(has: Capabilities) -> list[str]:
    """The queues that a machine listens to, its rarest first."""
    if has.quick_only:
        return [queue_named(QUICK)]
    found = [queue_named(label) for label in sorted(labels_of(has), key=_rarity)]
    return found if has.no_quick else [*found, queue_named(QUICK)]


def queue_named(label: str) -> str:
    """A label as a queue is called on every broker; the queue of plain machines keeps its old name."""
    return "compute" if label == CPU else f"compute.{label.replace(':', '-')}"


def _rarity(label: str) -> tuple[int, str]:
    order = {CPU: 3, GPU: 2}
    return order.get(label, 1 if label.startswith(f"{GPU}:") else 0), label


def parse_labels(texts: Iterable[str]) -> list[str]:
    """`["gpu:a100,lab", "big"]` as people type them, tidied; what is no label is left for validation to refuse."""
    found = [label.strip().lower() for text in texts for label in text.split(",")]
    return list(dict.fromkeys(label for label in found if label))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
