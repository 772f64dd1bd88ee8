"""From a version's weights to an ONNX file for one picture at a time, whatever the task."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tasks import Task
from steelyard_workers import networks
from steelyard_workers.preprocessing import Preprocessing

_OUTPUTS = {
    Task.CLASSIFICATION: ["logits"],
    Task.DETECTION: ["logits", "pred_boxes"],
    Task.SEGMENTATION: ["logits"],
}


class _Outputs(nn.Module):
    """The network with plain tensors as its outputs; decoding stays outside the graph."""

    def __init__(self, network: Any, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        answer = self.network(pixel_values=pixel_values)
        return tuple(answer[name] for name in self.names)


def export(folder: Path, path: Path, how: Preprocessing) -> None:
    """Raises: InvalidInputError for a network that the exporter cannot write."""
    names = _OUTPUTS[how.task]
    network = _Outputs(networks.load(folder, how.task), names).eval()
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), _without_checks():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        try:
            torch.onnx.export(
                network,
                (torch.zeros(1, how.channels, how.size, how.size),),
                str(path),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=["pixel_values"],
                output_names=names,
            )
        except Exception as error:
            raise InvalidInputError(
                f"This network cannot be written as ONNX ({type(error).__name__}), which predictions run."
            ) from error


@contextmanager
def _without_checks() -> Iterator[None]:
    """Without checks that transformers makes of its own tensors: they become operators that ONNX does not know."""
    environment = os.environ  # noqa: TID251 - transformers reads it there and nowhere else
    environment["TRANSFORMERS_DISABLE_TORCH_CHECK"] = "1"
    try:
        yield
    finally:
        del environment["TRANSFORMERS_DISABLE_TORCH_CHECK"]
