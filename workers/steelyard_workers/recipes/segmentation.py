"""Semantic segmentation, top to bottom: from pictures with masks to a committed weight version.

The network is SegFormer or another of `transformers` that answers with a class for each pixel, at a fraction of the
picture's size; its answer is enlarged before it is compared. How it learns is `training.loop`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import Task, TrainSpec
from steelyard_workers.datasets import open_split
from steelyard_workers.datasets.framing import Framing, draw_frames, frame_masks, frame_pictures
from steelyard_workers.datasets.segmentation import IGNORED, SegmentationSplit
from steelyard_workers.drawing import SHOWN, masks_drawn, sheet
from steelyard_workers.images import split, spread
from steelyard_workers.measures import segmentation
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


def prepare(session: JobSession, spec: TrainSpec, *, threads: int) -> tuple[Segmentation, Start, Machine]:
    """All that a training begins with: the pictures, the network and the machine."""
    machine = set_up(spec, threads=threads)
    base = fetch_base(session, spec)
    spec = with_side(spec, base)
    data = load_data(session, spec)
    begun = begin(session, spec, labels=data.train.labels, base=base)
    return Segmentation(data, spec, machine, Normalisation.of(base)), begun, machine


@dataclass(frozen=True, slots=True)
class Data:
    train: SegmentationSplit
    validation: SegmentationSplit


def load_data(session: JobSession, spec: TrainSpec) -> Data:
    """Both splits. Raises: DatasetUnusableError."""
    session.progress(0.01, "fetching the dataset")
    root: Path = session.fetch(spec.dataset, RepositoryKind.DATASET)
    train = open_split(root, "train", Task.SEGMENTATION, size=spec.side)
    data = Data(train, open_split(root, "validation", Task.SEGMENTATION, size=spec.side, labels=train.labels))
    session.log(
        f"{spec.dataset}: {len(train)} pictures to train on, {len(data.validation)} to validate, "
        f"{len(train.labels)} classes, {spec.side} px"
    )
    return data


# --- what the loop asks for ------------------------------------------------------------------


class Segmentation:
    """Batches, loss and measures of a network that gives each pixel a class."""

    headline = Headline("mean_iou")

    def __init__(self, data: Data, spec: TrainSpec, machine: Machine, normalise: Normalisation) -> None:
        self.data, self.spec, self.device, self.normalise = data, spec, machine.device, normalise
        how = spec.augmentation
        self.framing = Framing(0.5 if how.flip else 0.0, how.scale, how.shift, how.brightness)

    def __len__(self) -> int:
        return len(self.data.train)

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W) as the network sees them, and masks (B, H, W), moved alike."""
        train = self.data.train
        pictures = train.pictures.pixels(indices).to(self.device).float() / 255
        masks = train.masks(indices).to(self.device)
        if self.spec.augment:
            frames = draw_frames(len(indices), generator, self.framing)
            pictures, masks = frame_pictures(pictures, frames), frame_masks(masks, frames, outside=IGNORED)
        return self.normalise(pictures), masks.long()

    def loss_of(self, network: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        pictures, masks = batch
        return pixel_loss(answers_of(network, pictures, masks), masks, label_smoothing=self.spec.label_smoothing)

    @torch.inference_mode()
    def validate(self, network: Any) -> dict[str, float]:
        """Mean loss, and overlap by class over all pixels of the split."""
        held_out = self.data.validation
        network.eval()
        loss, confusion = 0.0, np.zeros((len(held_out.labels),) * 2, np.int64)
        for indices in split(torch.arange(len(held_out)), _EVALUATION_BATCH):
            pictures = self.normalise(held_out.pictures.pixels(indices).to(self.device).float() / 255)
            masks = held_out.masks(indices).to(self.device).long()
            logits = answers_of(network, pictures, masks)
            loss += float(pixel_loss(logits, masks)) * len(indices)
            confusion += segmentation.pixel_confusion(
                masks.cpu().numpy(), logits.argmax(1).cpu().numpy(), len(held_out.labels)
            )
        return {"loss": loss / len(held_out), **segmentation.measures(confusion).headline()}

    @torch.inference_mode()
    def samples(self, network: Any) -> bytes:
        """The first pictures of the validation split, each with its mask and with the network's, as one PNG."""
        held_out = self.data.validation
        network.eval()
        indices = torch.arange(min(len(held_out), SHOWN))
        pixels, masks = held_out.pictures.pixels(indices), held_out.masks(indices)
        pictures = self.normalise(pixels.to(self.device).float() / 255)
        answers = answers_of(network, pictures, masks).argmax(1).to(torch.uint8).cpu()
        return sheet(
            [
                masks_drawn(picture.permute(1, 2, 0).numpy(), truth.numpy(), answer.numpy(), len(held_out.labels))
                for picture, truth, answer in zip(pixels, masks, answers, strict=True)
            ]
        )

    def plain_batches(self, most: int) -> Iterator[Tensor]:
        """The training pictures as they are."""
        for indices in split(spread(len(self), most), _EVALUATION_BATCH):
            yield self.normalise(self.data.train.pictures.pixels(indices).to(self.device).float() / 255)


def answers_of(network: Any, pictures: Tensor, masks: Tensor) -> Tensor:
    """(B, classes, H, W), float32, as large as the masks."""
    logits = network(pixel_values=pictures).logits
    return functional.interpolate(logits.float(), size=masks.shape[-2:], mode="bilinear", align_corners=False)


def pixel_loss(logits: Tensor, masks: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """The mean over the pixels that count; nothing, and not no number, when none does."""
    total = functional.cross_entropy(
        logits, masks, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    return total / (masks != IGNORED).sum().clamp(min=1)
