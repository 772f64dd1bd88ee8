"""Running a release's model with ONNX Runtime, and checking that it gives the answers it is known to give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from steelyard_contracts.errors import InvalidInputError, SteelyardError
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, LABELS_FILE, MODEL_FILE, KnownAnswers

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


class WrongAnswersError(SteelyardError):
    """The model runs here, but does not say what it is known to say."""

    code = "wrong_answers"


@dataclass(frozen=True, slots=True)
class Prediction:
    path: str
    label: str
    score: float  # softmax of the logits


class Classifier:
    """A release's classifier. Raises: SteelyardError when its files cannot be run on this device."""

    def __init__(self, folder: Path) -> None:
        self.answers = KnownAnswers.model_validate_json((folder / KNOWN_ANSWERS_FILE).read_text())
        config = json.loads((folder / LABELS_FILE).read_text())
        self.labels: list[str] = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        self.channels = int(config["num_channels"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            providers = ["CPUExecutionProvider"]
            self._session = onnxruntime.InferenceSession(str(folder / MODEL_FILE), options, providers=providers)
        except Exception as error:
            raise SteelyardError(f"ONNX Runtime cannot load this model here: {error}") from error

    def classify(self, paths: list[Path]) -> Iterator[Prediction]:
        """Raises: InvalidInputError for a file that is no picture."""
        for path in paths:
            logits = self._logits(self._picture(path))
            shares = np.exp(logits - logits.max())
            best = int(logits.argmax())
            yield Prediction(str(path), self.labels[best], float(shares[best] / shares.sum()))

    def check(self) -> str:
        """Gives the known questions to the model. Returns a sentence. Raises: WrongAnswersError."""
        asked = self.answers.answers
        right = sum(self._label(np.asarray(one.pixels, dtype=np.float32)) == one.label for one in asked)
        if right < self.answers.min_agreement * len(asked):
            raise WrongAnswersError(f"{right} of {len(asked)} known answers came out as expected; that is too few.")
        return f"{right} of {len(asked)} known answers"

    def _label(self, pixels: Any) -> str:
        return self.labels[int(self._logits(pixels).argmax())]

    def _logits(self, pixels: Any) -> Any:
        """(classes,) for (H, W, C) of 0 to 255."""
        normal = (pixels / 255 - self.answers.mean) / self.answers.std
        batch = np.ascontiguousarray(normal.transpose(2, 0, 1)[None], dtype=np.float32)
        return self._session.run(None, {self._session.get_inputs()[0].name: batch})[0][0]

    def _picture(self, path: Path) -> Any:
        side = self.answers.image_size
        try:
            with Image.open(path) as image:
                small = image.convert("L" if self.channels == 1 else "RGB").resize(
                    (side, side), Image.Resampling.BILINEAR
                )
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{path} is no picture that can be read: {error}") from error
        return np.asarray(small, dtype=np.float32).reshape(side, side, self.channels)


def picture_paths(sources: list[Path]) -> list[Path]:
    """The pictures among files, and in folders at any depth."""
    found: list[Path] = []
    for source in sources:
        inside = source.rglob("*") if source.is_dir() else [source]
        found += [path for path in inside if path.suffix.lower() in _SUFFIXES]
    return sorted(found)
