"""Object detection, top to bottom: from pictures with boxes to a committed weight version.

The network is a detector of `transformers` (RT-DETRv2, D-FINE and their kin), which brings its own loss: predictions
are matched to boxes one to one, so nothing has to be suppressed afterwards. How it learns is `training.loop`.

The loss is reckoned in float32 whatever the network computes in: matching and overlaps of boxes need the digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import Task, TrainSpec
from steelyard_workers.datasets import open_split
from steelyard_workers.datasets.detection import DetectionSplit
from steelyard_workers.datasets.framing import Framing, draw_frames, frame_boxes, frame_pictures
from steelyard_workers.detections import decode_detections, predict_boxes
from steelyard_workers.drawing import SHOWN, boxes_drawn, sheet
from steelyard_workers.images import split, spread
from steelyard_workers.measures import detection
from steelyard_workers.processors import Normalisation
from steelyard_workers.recipes.versions import begin, fetch_base, leave, train_network
from steelyard_workers.session import JobSession
from steelyard_workers.training.best import Headline
from steelyard_workers.training.machine import Machine, set_up
from steelyard_workers.training.start import Start, with_side

_EVALUATION_BATCH = 16


def train(session: JobSession, spec: TrainSpec, *, threads: int) -> dict[str, Any]:
    """Returns the job's result: the version, its measures, and how it went."""
    recipe, begun, machine = prepare(session, spec, threads=threads)
    spec = recipe.spec
    trained = train_network(session, spec, recipe, begun.network, machine)
    return leave(session, spec, trained, begun, machine, recipe.normalise)


def prepare(session: JobSession, spec: TrainSpec, *, threads: int) -> tuple[Detection, Start, Machine]:
    """All that a training begins with: the pictures, the network and the machine."""
    machine = set_up(spec, threads=threads)
    base = fetch_base(session, spec)
    spec = with_side(spec, base)
    data = load_data(session, spec)
    begun = begin(session, spec, labels=data.train.labels, base=base)
    fit_queries(session.log, begun.network, side=spec.side)
    begun.network.loss_function = in_float32(begun.network.loss_function)
    if machine.device.type == "cuda" and spec.deterministic:
        # Sampling at fractions of a pixel, which these networks' attention does, has no deterministic gradient there.
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        session.log("on a GPU a detector's attention is not the same bit by bit; a resumed run will differ a little")
    return Detection(data, spec, machine, Normalisation.of(base)), begun, machine


@dataclass(frozen=True, slots=True)
class Data:
    train: DetectionSplit
    validation: DetectionSplit


def load_data(session: JobSession, spec: TrainSpec) -> Data:
    """Both splits. Raises: DatasetUnusableError."""
    session.progress(0.01, "fetching the dataset")
    root: Path = session.fetch(spec.dataset, RepositoryKind.DATASET)
    train = open_split(root, "train", Task.DETECTION, size=spec.side)
    data = Data(train, open_split(root, "validation", Task.DETECTION, size=spec.side, labels=train.labels))
    for name, found in (("train", data.train), ("validation", data.validation)):
        left_out = f" ({found.left_out} left out: empty, or crowds)" if found.left_out else ""
        session.log(f"{name}: {len(found)} pictures, {sum(map(len, found.targets))} boxes{left_out}")
    session.log(f"{spec.dataset}: {len(train.labels)} classes, {spec.side} px")
    return data


def fit_queries(tell: Callable[[str], None], network: Any, *, side: int) -> None:
    """A small picture has fewer places to look at than a large one; the network cannot choose more than there are."""
    strides = getattr(network.config, "feat_strides", None)
    if strides is None:
        return
    places = sum((-(-side // stride)) ** 2 for stride in strides)
    if places < network.config.num_queries:
        tell(f"pictures of {side} px have {places} places to look at: {places} queries instead of "
             f"{network.config.num_queries}")  # fmt: skip
        network.config.num_queries = places


def in_float32(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The network's own loss, given what it predicts in float32."""

    def reckoned(*given: Any, **named: Any) -> Any:
        with torch.autocast("cuda" if torch.cuda.is_available() else "cpu", enabled=False):
            return loss(*map(_widened, given), **{name: _widened(one) for name, one in named.items()})

    return reckoned


def _widened(value: Any) -> Any:
    match value:
        case Tensor():
            return value.float() if value.is_floating_point() else value
        case list():
            return [_widened(one) for one in value]
        case tuple():
            return tuple(_widened(one) for one in value)
        case dict():
            return {name: _widened(one) for name, one in value.items()}
        case _:
            return value


# --- what the loop asks for ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BoxedBatch:
    """Pictures (B, 3, H, W) as the network sees them; of each, `class_labels` (n,) and `boxes` (n, 4) by centre."""

    pictures: Tensor
    targets: list[dict[str, Tensor]]


class Detection:
    """Batches, loss and measures of a detector."""

    headline = Headline("map50_95")

    def __init__(self, data: Data, spec: TrainSpec, machine: Machine, normalise: Normalisation) -> None:
        self.data, self.spec, self.device, self.normalise = data, spec, machine.device, normalise
        how = spec.augmentation
        self.framing = Framing(0.5 if how.flip else 0.0, how.scale, how.shift, how.brightness)

    def __len__(self) -> int:
        return len(self.data.train)

    def batch(self, indices: Tensor, generator: torch.Generator) -> BoxedBatch:
        """Pictures and boxes, moved alike."""
        train = self.data.train
        pictures = train.pictures.pixels(indices).to(self.device).float() / 255
        boxes, labels = [train.boxes[index] for index in indices], [train.targets[index] for index in indices]
        if self.spec.augment:
            frames = draw_frames(len(indices), generator, self.framing)
            pictures = frame_pictures(pictures, frames)
            for row in range(len(indices)):
                moved, seen = frame_boxes(boxes[row], frames, row)
                boxes[row], labels[row] = moved[seen], labels[row][seen]
        return BoxedBatch(self.normalise(pictures), self._targets(boxes, labels))

    def _targets(self, boxes: list[Tensor], labels: list[Tensor]) -> list[dict[str, Tensor]]:
        return [
            {"class_labels": numbers.to(self.device), "boxes": by_centre(corners).to(self.device)}
            for corners, numbers in zip(boxes, labels, strict=True)
        ]

    def loss_of(self, network: Any, batch: BoxedBatch) -> Tensor:
        loss: Tensor = network(pixel_values=batch.pictures, labels=batch.targets).loss
        return loss

    @torch.inference_mode()
    def validate(self, network: Any) -> dict[str, float]:
        """Mean loss, and average precision by COCO's rules in the pixels of the pictures as they are stored."""
        held_out = self.data.validation
        network.eval()
        loss, found = 0.0, []
        for indices in split(torch.arange(len(held_out)), _EVALUATION_BATCH):
            pictures = self.normalise(held_out.pictures.pixels(indices).to(self.device).float() / 255)
            targets = self._targets([held_out.boxes[i] for i in indices], [held_out.targets[i] for i in indices])
            answer = network(pixel_values=pictures, labels=targets)
            loss += float(answer.loss) * len(indices)
            found += decode_detections(
                answer.logits.float().cpu().numpy(),
                answer.pred_boxes.float().cpu().numpy(),
                [(int(width), int(height)) for width, height in held_out.sizes[indices].tolist()],
                model_type=network.config.model_type,
            )
        truths = [
            detection.Truths(held_out.boxes_in_pixels(index).double().numpy(), held_out.targets[index].numpy())
            for index in range(len(held_out))
        ]
        return {"loss": loss / len(held_out), **detection.measures(found, truths, held_out.labels).headline()}

    def samples(self, network: Any) -> bytes:
        """The first pictures of the validation split with what is there and what was found, as one PNG."""
        held_out = self.data.validation
        indices = torch.arange(min(len(held_out), SHOWN))
        pixels = held_out.pictures.pixels(indices)
        found = predict_boxes(network, pixels, [(1, 1)] * len(indices), normalise=self.normalise)
        return sheet(
            [
                boxes_drawn(
                    pixels[row].permute(1, 2, 0).numpy(),
                    held_out.boxes[row].numpy(),
                    one.boxes,
                    one.scores,
                    one.labels,
                    held_out.labels,
                )
                for row, one in enumerate(found)
            ]
        )

    def plain_batches(self, most: int) -> Iterator[Tensor]:
        """The training pictures as they are."""
        for indices in split(spread(len(self), most), _EVALUATION_BATCH):
            yield self.normalise(self.data.train.pictures.pixels(indices).to(self.device).float() / 255)


def by_centre(corners: Tensor) -> Tensor:
    """(n, 4): from left, top, right, bottom to centre, width and height."""
    sides = corners[:, 2:] - corners[:, :2]
    return torch.cat([corners[:, :2] + sides / 2, sides], dim=1)
