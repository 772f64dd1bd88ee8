"""A version's network as a function from pictures to raw answers, in torch or in ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from steelyard_contracts.manifests import MODEL_FILE
from steelyard_workers.preprocessing import Preprocessing, describe
from steelyard_workers.session import environment_of

Answers = dict[str, NDArray[np.float32]]


class Runner(Protocol):
    """`run` takes (B, C, H, W) of normalised float32 and returns the outputs by name, `logits` among them."""

    @property
    def name(self) -> str: ...

    @property
    def how(self) -> Preprocessing: ...

    def run(self, pictures: NDArray[np.float32]) -> Answers: ...

    def environment(self) -> dict[str, str]: ...


def open_runner(folder: Path, *, threads: int) -> Runner:
    """Of a version's files: ONNX Runtime where there is an ONNX file, else torch. Raises: InvalidInputError."""
    how = describe(folder)
    if (folder / MODEL_FILE).exists():
        return OnnxRunner.open(folder / MODEL_FILE, how, threads=threads)
    return TorchRunner.open(folder, how, threads=threads)


@dataclass(frozen=True, slots=True)
class OnnxRunner:
    session: Any
    path: Path
    how: Preprocessing
    name: str = "onnxruntime-cpu"

    @classmethod
    def open(cls, path: Path, how: Preprocessing, *, threads: int) -> OnnxRunner:
        from steelyard_workers.runtime import open_session

        return cls(open_session(path, threads=threads), path, how)

    def run(self, pictures: NDArray[np.float32]) -> Answers:
        names = [one.name for one in self.session.get_outputs()]
        found = self.session.run(None, {self.session.get_inputs()[0].name: pictures})
        return dict(zip(names, found, strict=True))

    def environment(self) -> dict[str, str]:
        import onnxruntime

        return environment_of(onnxruntime=onnxruntime.__version__)


@dataclass(frozen=True, slots=True)
class TorchRunner:
    network: Any
    how: Preprocessing
    name: str = "torch-cpu"

    @classmethod
    def open(cls, folder: Path, how: Preprocessing, *, threads: int) -> TorchRunner:
        """Raises: InvalidInputError for files that hold no such network."""
        import torch

        from steelyard_workers import networks

        torch.set_num_threads(threads)
        return cls(networks.load(folder, how.task), how)

    def run(self, pictures: NDArray[np.float32]) -> Answers:
        import torch

        with torch.inference_mode():
            answer = self.network(pixel_values=torch.from_numpy(pictures))
        wanted = ("logits", "pred_boxes")
        return {name: answer[name].float().numpy() for name in wanted if answer.get(name) is not None}

    def environment(self) -> dict[str, str]:
        import torch

        return environment_of(torch=torch.__version__)
