"""Image classification, top to bottom: from a dataset version to a committed weight version.

The network is `transformers`' ResNet; see `networks`. What is unusual here, and why:

- BatchNorm statistics are estimated anew at the end: after a short training the running averages lag so far
  behind the weights that accuracy collapses.
- The data order, the augmentation and the initial weights come from one seed, and a checkpoint holds the state
  of every generator: a resumed run makes the same steps as an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import Architecture, EvaluationReport, LineageReport, TrainSpec
from steelyard_contracts.refs import RepositoryKind
from steelyard_workers import networks
from steelyard_workers.cards import model_card
from steelyard_workers.checkpoints import restore_state, save_state
from steelyard_workers.images import Augmentation, ImageFolder, augment, channels_of, labels_of, normalise, split
from steelyard_workers.session import JobSession, environment_of

_WARM_UP_SHARE = 0.1
_EVALUATION_BATCH = 256


def train(session: JobSession, spec: TrainSpec, *, threads: int) -> dict[str, Any]:
    """Returns the job's result: the version and its measures."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's signature
    torch.manual_seed(spec.seed)
    data = load_data(session, spec)
    network, prefixes = make_network(session, spec, data)
    started = time.monotonic()
    fit(session, spec, data, network, prefixes)
    networks.reestimate_batch_norm(network, (batch for batch, _ in data.train.batches(_EVALUATION_BATCH)), prefixes)
    loss, accuracy = measure(network, data.validation)
    if not math.isfinite(loss):
        raise InvalidInputError(f"The training diverged: the validation loss is {loss}. Try a smaller learning rate.")
    seconds = time.monotonic() - started
    session.log(f"done in {seconds:.1f} s: validation loss {loss:.4f}, accuracy {accuracy:.4f}")
    session.progress(0.97, "committing the version")
    metrics = {"accuracy": round(accuracy, 6), "loss": round(loss, 6)}
    version = commit(session, spec, network, metrics)
    report(session, spec, version, metrics)
    return {"version": f"{spec.output}@{version}", **metrics, "train_seconds": round(seconds, 2)}


@dataclass(frozen=True, slots=True)
class Data:
    train: ImageFolder
    validation: ImageFolder


def load_data(session: JobSession, spec: TrainSpec) -> Data:
    session.progress(0.01, "fetching the dataset")
    root = session.fetch(spec.dataset, RepositoryKind.DATASET)
    labels, channels = labels_of(root / "train"), channels_of(root / "train")
    data = Data(
        *(
            ImageFolder(root / split, size=spec.image_size, channels=channels, labels=labels)
            for split in ("train", "validation")
        )
    )
    session.log(
        f"{spec.dataset}: {len(data.train)} pictures to train on, {len(data.validation)} to validate, "
        f"{len(labels)} classes, {channels} channel(s), {spec.image_size} px"
    )
    return data


def make_network(session: JobSession, spec: TrainSpec, data: Data) -> tuple[Any, tuple[str, ...]]:
    """The network, and the name prefixes of what stays frozen."""
    channels, labels = data.train.channels, data.train.labels
    if spec.base is None:
        network = networks.build(spec.architecture or Architecture(), channels=channels, labels=labels)
    else:
        base = session.fetch(spec.base, RepositoryKind.MODEL)
        network, transferred = networks.build_from_base(base, channels=channels, labels=labels)
        session.log(f"from {spec.base}: {transferred.sentence()}")
    prefixes = networks.frozen_prefixes(network.config.depths, freeze=spec.freeze, unfrozen_stages=spec.unfrozen_stages)
    networks.freeze(network, prefixes)
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    session.log(f"{network.num_parameters()} parameters, {trained} of them trained")
    return network, prefixes


def fit(session: JobSession, spec: TrainSpec, data: Data, network: Any, prefixes: tuple[str, ...]) -> None:
    """The loop. Goes on from the job's checkpoint when there is one."""
    steps_per_epoch = len(split(torch.arange(len(data.train)), spec.batch_size))
    optimizer = torch.optim.AdamW(networks.parameter_groups(network, spec.weight_decay), lr=spec.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_then_cosine(spec.epochs * steps_per_epoch))
    generator = torch.Generator().manual_seed(spec.seed)
    state = {"network": network, "optimizer": optimizer, "schedule": schedule, "generator": generator}
    epochs_done, last = 0, {"accuracy": 0.0}
    if (saved := session.load_checkpoint()) is not None:
        epochs_done, last = restore_state(saved, **state)
        session.log(f"going on after epoch {epochs_done}, accuracy {last['accuracy']:.4f}")

    for epoch in range(epochs_done + 1, spec.epochs + 1):
        networks.set_training(network, prefixes)
        total = torch.zeros(())
        for step, indices in enumerate(split(torch.randperm(len(data.train), generator=generator), spec.batch_size)):
            pictures = data.train.pixels(indices).float() / 255
            if spec.augment:
                pictures = augment(pictures, generator, Augmentation())
            loss = functional.cross_entropy(
                network(pixel_values=normalise(pictures)).logits,
                data.train.targets[indices],
                label_smoothing=spec.label_smoothing,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(indices)
            session.metric("train/loss", step=(epoch - 1) * steps_per_epoch + step + 1, value=loss.item())

        steps = epoch * steps_per_epoch
        mean, (validation_loss, accuracy) = float(total) / len(data.train), measure(network, data.validation)
        session.metric("validation/loss", step=steps, value=validation_loss)
        session.metric("validation/accuracy", step=steps, value=accuracy)
        session.metric("learning_rate", step=steps, value=float(schedule.get_last_lr()[0]))
        session.log(
            f"epoch {epoch}/{spec.epochs}: loss {mean:.4f}, validation {validation_loss:.4f}, accuracy {accuracy:.4f}"
        )
        session.progress(0.05 + 0.9 * epoch / spec.epochs, f"epoch {epoch} of {spec.epochs}, accuracy {accuracy:.3f}")
        if epoch % spec.checkpoint_every == 0 and epoch < spec.epochs:
            path = session.scratch / "state"
            save_state(path, **state, epoch=epoch, best={"accuracy": accuracy})
            session.save_checkpoint(path, step=epoch)


def warm_up_then_cosine(steps: int) -> Any:
    """The learning rate's factor by step: a linear rise over a tenth, then half a cosine down to nothing."""
    rising = max(1, round(steps * _WARM_UP_SHARE))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor


@torch.inference_mode()
def measure(network: Any, data: ImageFolder) -> tuple[float, float]:
    """(mean loss, accuracy) over a split."""
    network.eval()
    loss, right = 0.0, 0
    for pictures, targets in data.batches(_EVALUATION_BATCH):
        logits: Tensor = network(pixel_values=pictures).logits
        loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(1) == targets).sum())
    return loss / len(data), right / len(data)


def commit(session: JobSession, spec: TrainSpec, network: Any, metrics: dict[str, float]) -> str:
    folder: Path = session.scratch / "model"
    folder.mkdir()
    networks.save(network, folder, image_size=spec.image_size)
    (folder / "README.md").write_text(model_card(spec, labels=networks.labels_of(network), metrics=metrics))
    how = f"fine-tuned from {spec.base}" if spec.base else "trained from scratch"
    is_of_same_model = spec.base is not None and spec.base.startswith(f"{spec.output}@")
    start = spec.base.partition("@")[2] if spec.base and is_of_same_model else None
    title = f"{how} on {spec.dataset}"
    return session.commit(folder, spec.output, branch=spec.branch, start=start, title=title[0].upper() + title[1:])


def report(session: JobSession, spec: TrainSpec, version: str, metrics: dict[str, float]) -> None:
    """What the platform should know about the version beyond its files."""
    made = f"{spec.output}@{version}"
    session.lineage(LineageReport(relation="trained-on", source=f"datasets:/{spec.dataset}", target=made))
    if spec.base:
        session.lineage(LineageReport(relation="fine-tuned-from", source=spec.base, target=made))
    session.evaluation(
        EvaluationReport(
            model=made,
            dataset=spec.dataset,
            runtime="torch-cpu",
            metrics=metrics,
            environment=environment_of(torch=torch.__version__),
        )
    )
