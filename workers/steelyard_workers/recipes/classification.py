"""Image classification, top to bottom: from a dataset version to a committed weight version.

The network is any classifier of `transformers`; how it learns is `training.loop`. Here is what is a classifier's own:
its pictures, its loss and its measures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from steelyard_contracts.errors import DatasetUnusableError, InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_workers.datasets.files import class_folder
from steelyard_workers.drawing import SHOWN, answer_drawn, sheet
from steelyard_workers.images import ImageFolder, augment, channels_of, labels_of, normalise, split, spread
from steelyard_workers.processors import Normalisation
from steelyard_workers.recipes.versions import begin, fetch_base, leave, train_network
from steelyard_workers.session import JobSession
from steelyard_workers.training.best import Headline
from steelyard_workers.training.machine import Machine, set_up
from steelyard_workers.training.start import Start, with_side

_EVALUATION_BATCH = 256
_FEWEST_CLASSES = 2


def train(session: JobSession, spec: TrainSpec, *, threads: int) -> dict[str, Any]:
    """Returns the job's result: the version, its measures, and how it went."""
    recipe, begun, machine = prepare(session, spec, threads=threads)
    spec = recipe.spec
    trained = train_network(session, spec, recipe, begun.network, machine)
    return leave(session, spec, trained, begun, machine, Normalisation.ours(recipe.data.train.channels))


# --- the pictures and the network ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Data:
    train: ImageFolder
    validation: ImageFolder


def prepare(session: JobSession, spec: TrainSpec, *, threads: int) -> tuple[Classification, Start, Machine]:
    """All that a training begins with: the pictures, the network and the machine."""
    machine = set_up(spec, threads=threads)
    base = fetch_base(session, spec)
    spec = with_side(spec, base)
    data = load_data(session, spec)
    begun = begin(session, spec, labels=data.train.labels, base=base, channels=data.train.channels)
    return Classification(data, spec, machine), begun, machine


def load_data(session: JobSession, spec: TrainSpec) -> Data:
    """Both splits. Raises: DatasetUnusableError."""
    session.progress(0.01, "fetching the dataset")
    root = session.fetch(spec.dataset, RepositoryKind.DATASET)
    train = class_folder(root, "train")
    labels = labels_of(train)
    if len(labels) < _FEWEST_CLASSES:
        raise DatasetUnusableError(
            f"{spec.dataset} has {len(labels)} class(es) to train on; a classifier needs two or more. Add a folder of "
            "pictures for each class beside train/" + (labels[0] if labels else "<label>") + "."
        )
    channels = channels_of(train)
    data = Data(
        *(
            ImageFolder(class_folder(root, split), size=spec.side, channels=channels, labels=labels)
            for split in ("train", "validation")
        )
    )
    session.log(
        f"{spec.dataset}: {len(data.train)} pictures to train on, {len(data.validation)} to validate, "
        f"{len(labels)} classes, {channels} channel(s), {spec.side} px"
    )
    return data


# --- what the loop asks for ------------------------------------------------------------------


class Classification:
    """Batches, loss and measures of a classifier."""

    headline = Headline("accuracy")

    def __init__(self, data: Data, spec: TrainSpec, machine: Machine) -> None:
        self.data, self.spec, self.device = data, spec, machine.device
        weights = class_weights(spec, data.train)
        self.weights = weights.to(self.device) if weights is not None else None

    def __len__(self) -> int:
        return len(self.data.train)

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures (B, C, H, W), augmented and normalised, and labels (B,)."""
        pictures = self.data.train.pixels(indices).to(self.device).float() / 255
        if self.spec.augment:
            pictures = augment(pictures, generator, self.spec.augmentation)
        return normalise(pictures), self.data.train.targets[indices].to(self.device)

    def loss_of(self, network: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        pictures, targets = batch
        return functional.cross_entropy(
            network(pixel_values=pictures).logits,
            targets,
            weight=self.weights,
            label_smoothing=self.spec.label_smoothing,
        )

    def validate(self, network: Any) -> dict[str, float]:
        loss, accuracy = measure(network, self.data.validation)
        return {"loss": loss, "accuracy": accuracy}

    @torch.inference_mode()
    def samples(self, network: Any) -> bytes:
        """Pictures of the validation split, one of each class in turn, with the network's answers, as one PNG."""
        held_out = self.data.validation
        network.eval()
        indices = one_of_each(held_out.targets, SHOWN)
        pixels = held_out.pixels(indices)
        shares = network(pixel_values=normalise(pixels.to(self.device).float() / 255)).logits.float().softmax(1).cpu()
        return sheet(
            [
                answer_drawn(picture.permute(1, 2, 0).numpy(), held_out.labels, int(truth), share.numpy())
                for picture, truth, share in zip(pixels, held_out.targets[indices], shares, strict=True)
            ]
        )

    def plain_batches(self, most: int) -> Iterator[Tensor]:
        """The training pictures as they are."""
        for indices in split(spread(len(self), most), _EVALUATION_BATCH):
            yield normalise(self.data.train.pixels(indices).to(self.device).float() / 255)


def one_of_each(targets: Tensor, count: int) -> Tensor:
    """(up to `count`,) indices: the first of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    rounds = []
    for target in targets.tolist():
        rounds.append(seen[target])
        seen[target] += 1
    return torch.tensor(sorted(range(len(rounds)), key=lambda index: (rounds[index], int(targets[index])))[:count])


def class_weights(spec: TrainSpec, data: ImageFolder) -> Tensor | None:
    """(classes,), or None when each counts the same. Raises: InvalidInputError for a label that is not there."""
    if spec.class_weights == "none":
        return None
    if isinstance(spec.class_weights, dict):
        if unknown := spec.class_weights.keys() - set(data.labels):
            raise InvalidInputError(
                f"class_weights names {', '.join(sorted(unknown))}, which the dataset does not have; "
                f"its labels are {', '.join(data.labels)}."
            )
        return torch.tensor([spec.class_weights.get(label, 1.0) for label in data.labels])
    counts = torch.bincount(data.targets, minlength=len(data.labels))
    return len(data) / (len(data.labels) * counts.clamp(min=1).float())


@torch.inference_mode()
def measure(network: Any, data: ImageFolder) -> tuple[float, float]:
    """(mean loss, accuracy) over a split."""
    network.eval()
    device = next(network.parameters()).device
    loss, right = 0.0, 0
    for pictures, targets in data.batches(_EVALUATION_BATCH):
        logits: Tensor = network(pixel_values=pictures.to(device)).logits.float().cpu()
        loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(1) == targets).sum())
    return loss / len(data), right / len(data)
