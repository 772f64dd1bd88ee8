"""What a machine has, what a job needs, and the queues that follow."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from steelyard_contracts.workers import (
    Capabilities,
    Gpu,
    Resources,
    fits,
    gpu_type,
    labels_of,
    lacks,
    parse_labels,
    queue_of,
    queues_of,
)

A100 = Gpu(name="NVIDIA A100-SXM4-80GB", memory_gb=80)
PLAIN = Capabilities(cores=8, memory_gb=32)
TWO_GPUS = Capabilities(cores=32, memory_gb=256, gpus=[A100, A100], labels=["lab"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("AMD Instinct MI300X", "mi300x"),
        ("NVIDIA", ""),
    ],
)
def test_a_gpus_type_is_what_people_call_it(name, kind):
    assert gpu_type(name) == kind


def test_labels_follow_from_what_a_machine_has_and_was_given():
    assert labels_of(PLAIN) == {"cpu"}
    assert labels_of(TWO_GPUS) == {"cpu", "gpu", "gpu:a100", "lab"}


@pytest.mark.parametrize(
    ("needs", "missing"),
    [
        (Resources(), None),
        (Resources(labels=["cpu"], memory_gb=32), None),
        (Resources(memory_gb=33), "33 GB of memory"),
        (Resources(labels=["gpu"]), "the label gpu"),
        (Resources(gpus=1), "1 GPU"),
    ],
)
def test_what_a_plain_machine_may_do(needs, missing):
    assert lacks(PLAIN, needs) == missing


@pytest.mark.parametrize(
    ("needs", "missing"),
    [
        (Resources(labels=["gpu:a100", "lab"], gpus=2, gpu_memory_gb=80, memory_gb=200), None),
        (Resources(gpus=3), "3 GPUs"),
        (Resources(gpus=1, gpu_memory_gb=81), "81 GB of GPU memory"),
        (Resources(gpu_memory_gb=81), "81 GB of GPU memory"),
        (Resources(labels=["gpu:h100"]), "the label gpu:h100"),
    ],
)
def test_what_a_machine_with_gpus_may_do(needs, missing):
    assert lacks(TWO_GPUS, needs) == missing


def test_a_machine_set_aside_takes_only_those_who_ask_for_it():
    aside = TWO_GPUS.model_copy(update={"exclusive": True})
    assert not fits(aside, Resources())
    assert not fits(aside, Resources(labels=["cpu"]))
    assert fits(aside, Resources(gpus=1))
    assert fits(aside, Resources(labels=["lab"]))


def test_a_machine_for_small_jobs_takes_no_other():
    quick = Capabilities(quick_only=True)
    assert fits(quick, Resources(), kind="inspect")
    assert not fits(quick, Resources(), kind="train")
    assert queues_of(quick) == ["compute.quick"]
    none_of_them = Capabilities(no_quick=True)
    assert not fits(none_of_them, Resources(), kind="inspect")
    assert queues_of(none_of_them) == ["compute"]


@pytest.mark.parametrize(
    ("needs", "kind", "queue"),
    [
        (Resources(), "train", "compute"),
        (Resources(), "inspect", "compute.quick"),
        (Resources(gpus=1), "train", "compute.gpu"),
        (Resources(labels=["cpu", "gpu:a100", "gpu"]), "train", "compute.gpu-a100"),
        (Resources(labels=["gpu:a100", "lab"]), "train", "compute.lab"),
    ],
)
def test_a_job_is_rung_in_the_queue_of_its_rarest_label(needs, kind, queue):
    assert queue_of(needs, kind=kind) == queue
    assert not fits(TWO_GPUS, needs, kind=kind) or queue in queues_of(TWO_GPUS)


def test_needs_are_said_in_words():
    needs = Resources(labels=["lab"], gpus=2, gpu_memory_gb=40, memory_gb=64.5)
    assert needs.in_words() == "lab, 2 GPUs, 40 GB of GPU memory, 64.5 GB of memory"


def test_labels_are_tidied_and_checked():
    assert parse_labels(["GPU:A100, lab", "lab", ""]) == ["gpu:a100", "lab"]
    with pytest.raises(ValidationError):
        Resources(labels=["two words"])
