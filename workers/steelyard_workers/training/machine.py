"""What a training runs on: the device, the precision that it has, and whether every step must be the same again."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.training import Precision, TrainSpec


@dataclass(frozen=True)
class Machine:
    """A device and what it computes in; `scaler` keeps small gradients of float16 from vanishing."""

    device: torch.device
    precision: Precision
    scaler: torch.amp.GradScaler

    def autocast(self) -> AbstractContextManager[None]:
        dtype = torch.float16 if self.precision is Precision.FP16 else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision is not Precision.FP32)

    def sentence(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "the CPU"
        return f"on {name}, {torch.get_num_threads()} thread(s), in {self.precision}"


def set_up(spec: TrainSpec, *, threads: int) -> Machine:
    """Seeds everything that draws, and picks the device. Raises: InvalidInputError."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if spec.deterministic:
        # cuBLAS reads it when it is first used; without it torch refuses deterministic products of matrices.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # noqa: TID251 - no setting of ours: cuBLAS's only way
    torch.use_deterministic_algorithms(spec.deterministic)
    torch.backends.cudnn.benchmark = not spec.deterministic
    torch.manual_seed(spec.seed)
    precision = _precision(spec.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is Precision.FP16)
    return Machine(device, precision, scaler)


def _precision(asked: Precision, device: torch.device) -> Precision:
    if asked is Precision.FP16 and device.type == "cpu":
        raise InvalidInputError("fp16 needs a GPU, and this worker has none; set precision to bf16, fp32 or auto.")
    if (
        asked is Precision.BF16
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise InvalidInputError("This worker's GPU has no bf16; set precision to fp16, fp32 or auto.")
    if asked is not Precision.AUTO:
        return asked
    if device.type == "cpu":
        return Precision.FP32
    return Precision.BF16 if torch.cuda.is_bf16_supported(including_emulation=False) else Precision.FP16
