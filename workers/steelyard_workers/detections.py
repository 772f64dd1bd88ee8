"""From a detector's raw outputs to boxes in pixels: plain arrays, whatever runtime the outputs come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steelyard_workers.measures.detection import Detections

if TYPE_CHECKING:
    from torch import Tensor

    from steelyard_workers.processors import Normalisation

TOP = 100  # detections of a picture, as COCO counts them
_BATCH = 16
# These say "no object" by a class of its own, the last; the others by a low score of every class.
_WITH_NO_OBJECT = frozenset({"detr", "yolos"})


def decode_detections(
    logits: NDArray[np.float32], boxes: NDArray[np.float32], sizes: Sequence[tuple[int, int]], *, model_type: str
) -> list[Detections]:
    """The likeliest boxes of each picture, at most `TOP`, the surest first.

    Args:
        logits: (B, queries, classes).
        boxes: (B, queries, 4): centre, width and height as shares of the picture.
        sizes: (width, height) of each picture in pixels.
        model_type: the architecture's, as its config names it.
    """
    scores = _scores(logits.astype(np.float32), model_type)
    classes = scores.shape[2]
    found = []
    for rows, places, (width, height) in zip(scores.reshape(len(scores), -1), boxes, sizes, strict=True):
        order = np.argsort(-rows, kind="stable")[:TOP]
        centres, sides = places[order // classes, :2], places[order // classes, 2:]
        corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).clip(0, 1)
        pixels = corners * np.array([width, height, width, height], dtype=np.float32)
        found.append(
            Detections(pixels.astype(np.float64), rows[order].astype(np.float64), (order % classes).astype(np.int64))
        )
    return found


def _scores(logits: NDArray[np.float32], model_type: str) -> NDArray[np.float32]:
    if model_type not in _WITH_NO_OBJECT:
        return np.asarray(
            (1 + np.tanh(logits / 2)) / 2, dtype=np.float32
        )  # the logistic function, which cannot overflow
    raised = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray((raised / raised.sum(axis=2, keepdims=True))[:, :, :-1], dtype=np.float32)


def predict_boxes(
    network: Any, pictures: Tensor, sizes: Sequence[tuple[int, int]], *, normalise: Normalisation
) -> list[Detections]:
    """What a network finds.

    Args:
        network: any of `transformers`' detectors.
        pictures: (N, 3, size, size) bytes.
        sizes: (width, height) of each picture in the pixels that the boxes shall have.
        normalise: the network's own, `Normalisation.of(folder)`.
    """
    import torch  # here: whoever decodes what ONNX Runtime says needs none of it

    network.eval()
    device = next(network.parameters()).device
    found: list[Detections] = []
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH].to(device).float() / 255
        with torch.inference_mode():
            answer = network(pixel_values=normalise(batch))
        logits, boxes = answer.logits.float().cpu().numpy(), answer.pred_boxes.float().cpu().numpy()
        found += decode_detections(logits, boxes, sizes[start : start + _BATCH], model_type=network.config.model_type)
    return found
