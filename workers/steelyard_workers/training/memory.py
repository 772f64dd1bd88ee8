"""The batch that the memory holds: found by trying, on the device that trains.

Batches of 2, 4, 8 … are tried, each with its forward and backward pass, while the memory that the next one would take,
by the line through the last two, stays below a share of what there is. On a GPU that is what torch had to reserve; on
a CPU what the process had resident, beside what the machine or its cgroup still has.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.training import AUTO, TrainSpec
from steelyard_workers.training.freezing import set_training
from steelyard_workers.training.machine import Machine
from steelyard_workers.training.optimizers import Optimizers

_SMALLEST, _LARGEST = 2, 4096
# A small dataset still gets this many steps in an epoch: one huge batch would learn next to nothing.
STEPS_PER_EPOCH = 20
# What an optimizer remembers of each number that learns, at most.
_MOMENTS = 2
_CGROUP = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")


def largest_batch(
    attempt: Callable[[int], None], *, pictures: int, share: float, reserved: int, device: torch.device
) -> int:
    """The largest power of two that fits.

    Args:
        attempt: does a forward and a backward pass with that many pictures.
        pictures: how many the training split has.
        share: of the memory that may be filled, 0 to 1.
        reserved: bytes that the training needs besides, such as the optimizer's.
        device: where the passes run.

    Raises: InvalidInputError when not even the smallest batch fits, or memory cannot be measured here.
    """
    if device.type == "cpu" and not _PROCESS.exists():
        raise InvalidInputError("An automatic batch_size needs Linux or a GPU; set a number.")
    limit, base = share * _capacity(device) - reserved, _resident(device)
    most = max(_SMALLEST, min(_LARGEST, pictures // STEPS_PER_EPOCH))
    fitting, last, taken = 0, 0.0, 0.0
    size = _SMALLEST
    while size <= most:
        # What the next doubling takes: as much again as the last one has added, and twice that.
        foreseen = taken + 2 * (taken - last) if fitting > _SMALLEST else taken
        if foreseen > limit:
            break
        try:
            used = _measured(attempt, size, device) - base
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            break
        if used > limit:
            break
        fitting, last, taken = size, taken, used
        size *= 2
    if not fitting:
        raise InvalidInputError(
            f"Not even a batch of {_SMALLEST} pictures fits into {limit / 2**20:.0f} MiB of memory; "
            "set a smaller image_size, a smaller model or precision bf16."
        )
    return fitting


def fitting_batch(spec: TrainSpec, recipe: Any, network: Any, optimizers: Optimizers, machine: Machine) -> int:
    """The batch that was asked for, or the largest that fits. Raises: InvalidInputError."""
    if spec.batch_size != AUTO:
        return spec.batch_size
    generator = torch.Generator().manual_seed(spec.seed)

    def attempt(size: int) -> None:
        batch = recipe.batch(torch.arange(size), generator)
        with machine.autocast():
            loss = recipe.loss_of(network, batch)
        loss.backward()

    weights = sum(one.numel() * one.element_size() for one in optimizers.parameters)
    reserved = weights * (_MOMENTS + (spec.ema is not None) + (spec.keep == "best"))
    set_training(network)
    with untouched(network):
        return largest_batch(
            attempt, pictures=len(recipe), share=spec.memory_share, reserved=reserved, device=machine.device
        )


@contextmanager
def a_batch_that_fits(spec: TrainSpec, size: int, device: torch.device) -> Iterator[None]:
    """Turns running out of memory into a sentence that says what to set. Raises: InvalidInputError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        total = _capacity(device) / 2**30
        raise InvalidInputError(
            f"A batch of {size} pictures of {spec.side} px does not fit into this worker's {total:.1f} GiB. Set "
            f"batch_size to {max(_SMALLEST, size // 2)} or to auto, with accumulate {spec.accumulate * 2} for the "
            "same steps; or a smaller image_size.",
            batch_size=size,
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """For a GPU torch has a class of its own; on a CPU only its allocator's words tell."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Whatever is tried inside leaves no trace: statistics, gradients and generators are as before."""
    buffers = {name: tensor.clone() for name, tensor in network.named_buffers()}
    cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        for name, tensor in network.named_buffers():
            tensor.copy_(buffers[name])
        network.zero_grad(set_to_none=True)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _measured(attempt: Callable[[int], None], size: int, device: torch.device) -> float:
    """Bytes at the peak of the attempt."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        attempt(size)
        return float(torch.cuda.max_memory_reserved(device))
    with suppress(OSError):  # where it is forbidden, the highest size of the process's life is the careful answer
        (_PROCESS / "clear_refs").write_text("5")  # Linux forgets the highest resident size
    attempt(size)
    return float(_status("VmHWM"))


def _resident(device: torch.device) -> float:
    """Bytes before anything was tried, of which the capacity knows already; none on a GPU, whose capacity is whole."""
    return 0.0 if device.type == "cuda" else float(_status("VmRSS"))


def _capacity(device: torch.device) -> float:
    """Bytes: a GPU's whole memory, or what a CPU's machine or cgroup can still give."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    known = [_available(), *_left_in_cgroup()]
    return float(min(known))


def _available() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _left_in_cgroup() -> Iterator[int]:
    try:
        limit, current = (_CGROUP / "memory.max").read_text(), (_CGROUP / "memory.current").read_text()
    except OSError:
        return
    if limit.strip() != "max":
        yield int(limit) - int(current)


def _status(field: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
