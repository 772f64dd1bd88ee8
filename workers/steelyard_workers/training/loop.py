"""The loop that every recipe shares: steps, measures, checkpoints, and when to stop.

    fitted = fit(session, spec, recipe, network, machine)

A recipe brings the pictures, the loss and the measures; the loop brings the rest. What is drawn (the order of the
pictures, their augmentation, dropout) comes from generators whose states a checkpoint holds, so that a resumed run
makes the same steps as one that was never interrupted, also when it was cut in the middle of an epoch.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from steelyard_contracts.training import AUTO, LOADED_AT, TrainSpec
from steelyard_workers.checkpoints import read_state, save_state
from steelyard_workers.group import ranks
from steelyard_workers.images import split
from steelyard_workers.training.best import Best, Headline
from steelyard_workers.training.divergence import DivergedError
from steelyard_workers.training.ema import Average
from steelyard_workers.training.freezing import freeze, learning, plan_freezing, set_training
from steelyard_workers.training.machine import Machine
from steelyard_workers.training.memory import STEPS_PER_EPOCH, a_batch_that_fits, fitting_batch
from steelyard_workers.training.meters import Meters
from steelyard_workers.training.optimizers import make_optimizers
from steelyard_workers.training.schedules import schedule_of

# The share of the job's progress after the last step.
_TRAINED_AT = 0.95
# A last checkpoint, before the version is made, is worth its upload when more than this would be lost.
_WORTH_SAVING_SECONDS = 30.0


class Recipe(Protocol):
    """What a task brings."""

    headline: Headline

    def __len__(self) -> int:
        """The number of pictures to train on."""
        ...

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        """Pictures and truths on the device, augmented; whatever is drawn comes from `generator`."""
        ...

    def loss_of(self, network: Any, batch: Any) -> Tensor:
        """The mean loss of a batch."""
        ...

    def validate(self, network: Any) -> dict[str, float]:
        """The measures of a network in evaluation mode: `loss` and the headline's among them."""
        ...


class Session(Protocol):
    """What is asked of a job's session."""

    @property
    def scratch(self) -> Path: ...
    def log(self, text: str) -> None: ...
    def metric(self, name: str, *, step: int, value: float) -> None: ...
    def progress(self, share: float, message: str) -> None: ...
    def load_checkpoint(self) -> Path | None: ...
    def save_checkpoint(self, path: Path, step: int) -> None: ...
    def should_stop(self) -> bool: ...
    def should_save(self) -> bool: ...
    def leave_once_saved(self) -> None: ...


@dataclass
class Position:
    """How far a training is. `epoch` counts whole ones, `within` the steps of the one that has begun."""

    epoch: int = 0
    step: int = 0
    within: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The network with the weights that are kept, what they measure, and how it went."""

    network: Any
    measures: dict[str, float]
    epoch: int
    steps: int
    batch_size: int
    optimizers: dict[str, int]
    stopped: str


def fit(session: Session, spec: TrainSpec, recipe: Recipe, network: Any, machine: Machine) -> Fitted:
    """From the job's checkpoint, or from the beginning, to the weights that are kept.

    Raises:
        InvalidInputError: what cannot work, with what to change: a diverged loss, a batch that does not fit.
    """
    run = Run(session, spec, recipe, network, machine)
    try:
        while run.position.epoch < spec.epochs and not run.position.stopped:
            run.train_epoch()
            run.measure()
    except DivergedError as error:
        raise run.explained(error) from error
    return run.finish()


class Run:
    """One training: what learns, how far it is, and the steps."""

    def __init__(self, session: Session, spec: TrainSpec, recipe: Recipe, network: Any, machine: Machine) -> None:
        self.session, self.spec, self.recipe, self.machine = session, spec, recipe, machine
        self.network = network.to(machine.device)
        self.plan = plan_freezing(network, spec)
        freeze(network, self.plan, epoch=0)
        self.optimizers = make_optimizers(network, spec, self.plan)
        self.average = Average(network, spec.ema) if spec.ema is not None else None
        self.best = Best(recipe.headline, keeps_weights=spec.keep == "best")
        self.measures: dict[str, float] = {}
        self.generator = torch.Generator().manual_seed(spec.seed)
        self.order_state = self.generator.get_state()
        self.position, self.epoch_loss = Position(), torch.zeros((), device=machine.device)
        self.meters = Meters(session)
        self.saved_at, self.saved_step = time.monotonic(), 0
        saved = session.load_checkpoint()
        state: dict[str, Any] | None = read_state(saved) if saved is not None else None
        self.batch_size = (
            state["batch_size"]
            if state
            else ranks.agree(fitting_batch(spec, recipe, network, self.optimizers, machine))
        )
        batches = len(split(torch.arange(len(recipe)), self.batch_size))
        self.steps_per_epoch = -(-batches // spec.accumulate)
        self.schedule = schedule_of(spec, spec.epochs * self.steps_per_epoch)
        self.compiled: Any = torch.compile(network) if spec.compile else network
        self.forward = self.compiled
        self.tell_plan()
        if state is not None:
            self.restore(state)

    @property
    def measured(self) -> Any:
        """The network that is validated and committed."""
        return self.average.network if self.average is not None else self.network

    # --- steps -------------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """What is left of the epoch; also makes the checkpoints that are due within it."""
        epoch = self.position.epoch
        freeze(self.network, self.plan, epoch=epoch)
        if self.plan.changes_at(epoch) and not self.position.within:
            self.session.log(f"epoch {epoch + 1}: another stage opens, {learning(self.network)} numbers learn")
        set_training(self.network)
        if self.forward is self.compiled or self.plan.changes_at(epoch):
            self.forward = self.compiled
            self.forward = ranks.wrap(self.compiled)
        batches = split(self.order(), self.batch_size)
        self.meters.resume_clock()
        for within in range(self.position.within, self.steps_per_epoch):
            start = within * self.spec.accumulate
            self.step(batches[start : start + self.spec.accumulate])
            stop, leave = ranks.any_says(self.session.should_stop(), self.session.should_save())
            if stop:
                self.position.stopped = "asked to stop"
                return
            if leave:
                self.session.leave_once_saved()
            if leave or (within + 1 < self.steps_per_epoch and self.is_checkpoint_due()):
                self.save()
        self.position.epoch, self.position.within = epoch + 1, 0

    def order(self) -> Tensor:
        """The epoch's pictures, shuffled; the same again for an epoch that is resumed."""
        if not self.position.within:
            self.order_state = self.generator.get_state()
            self.epoch_loss.zero_()
            return torch.randperm(len(self.recipe), generator=self.generator)
        again = torch.Generator()
        again.set_state(self.order_state)
        return torch.randperm(len(self.recipe), generator=again)

    def step(self, batches: list[Tensor]) -> None:
        """One step of the optimizers, from the gradients of an accumulation."""
        pictures = sum(len(indices) for indices in batches)
        loss = torch.zeros((), device=self.machine.device)
        self.optimizers.zero_grad()
        for number, indices in enumerate(batches, start=self.position.step * self.spec.accumulate):
            share, mine = ranks.weight(indices, pictures), ranks.share(indices)
            with a_batch_that_fits(self.spec, len(mine), self.machine.device):
                batch = self.recipe.batch(mine, ranks.draws(self.generator, self.spec.seed, number))
                with self.machine.autocast():
                    part = self.recipe.loss_of(self.forward, batch)
                self.machine.scaler.scale(part * share).backward()  # type: ignore[no-untyped-call]
            loss += part.detach() * share
        loss = ranks.average(loss)
        norm = self.clip()
        rate = self.spec.learning_rate * self.schedule.rate(self.position.step)
        self.optimizers.set_rate(rate, momentum_dip=self.schedule.momentum_dip(self.position.step))
        self.optimizers.step(self.machine.scaler)
        if self.average is not None:
            self.average.update(self.network)
        self.position.step, self.position.within = self.position.step + 1, self.position.within + 1
        self.epoch_loss += loss * pictures
        if self.meters.advance(step=self.position.step, loss=loss, rate=rate, norm=norm, pictures=pictures):
            self.tell_progress()

    def clip(self) -> Tensor | None:
        """The gradients' length before they were cut."""
        if self.spec.clip_norm is None:
            return None
        self.optimizers.unscale(self.machine.scaler)
        return clip_grad_norm_(self.optimizers.parameters, self.spec.clip_norm)

    # --- measures ----------------------------------------------------------------------------

    @property
    def seen_of_epoch(self) -> int:
        """Pictures of the epoch that is being measured: not all, where it was stopped."""
        within = self.position.within or self.steps_per_epoch
        return min(within * self.spec.accumulate * self.batch_size, len(self.recipe))

    def measure(self) -> None:
        """After an epoch, whole or stopped: the measures, the best, and whether to go on."""
        self.meters.look()
        epoch = self.position.epoch + bool(self.position.within)
        self.measures = ranks.agree(self.recipe.validate(self.measured.eval()) if ranks.is_first() else {})
        for name, value in self.measures.items():
            self.session.metric(f"validation/{name}", step=self.position.step, value=value)
        is_best = self.best.offer(epoch, self.measures, self.measured.state_dict())
        mean = float(self.epoch_loss) / self.seen_of_epoch
        told = ", ".join(f"{name} {value:.4f}" for name, value in self.measures.items() if name != "loss")
        self.session.log(
            f"epoch {epoch}/{self.spec.epochs}: loss {mean:.4f}, validation {self.measures['loss']:.4f}, {told}"
            + (" (best so far)" if is_best and epoch > 1 else "")
        )
        self.show_samples()
        self.tell_progress()
        if self.spec.patience is not None and self.best.stale >= self.spec.patience:
            self.position.stopped = f"no better {self.best.headline.name} for {self.best.stale} epochs"
        if self.is_epoch_worth_saving(epoch):
            self.save()

    def show_samples(self) -> None:
        """What the network says of a few pictures, where the recipe draws that and the session takes it."""
        draw, keep = getattr(self.recipe, "samples", None), getattr(self.session, "sample", None)
        if draw is not None and keep is not None:
            keep("validation", self.position.step, draw(self.measured))

    def finish(self) -> Fitted:
        """Takes the weights that are kept into the network that was measured, which knows what learned of it."""
        for mine, theirs in zip(self.measured.parameters(), self.network.parameters(), strict=True):
            mine.requires_grad_(theirs.requires_grad)
        measures, epoch = self.measures, self.position.epoch
        if self.best.weights is not None:
            self.measured.load_state_dict(self.best.weights)
            measures, epoch = self.best.measures, self.best.epoch
        if self.position.stopped:
            self.session.log(f"stopped after {self.position.step} steps: {self.position.stopped}")
        return Fitted(
            network=self.measured.eval(),
            measures=measures,
            epoch=epoch,
            steps=self.position.step,
            batch_size=self.batch_size,
            optimizers=self.optimizers.counts(),
            stopped=self.position.stopped,
        )

    # --- checkpoints -------------------------------------------------------------------------

    def is_checkpoint_due(self) -> bool:
        seconds = self.spec.checkpoint_seconds
        return seconds is not None and time.monotonic() - self.saved_at >= seconds

    def is_epoch_worth_saving(self, epoch: int) -> bool:
        if self.position.stopped or epoch == self.spec.epochs:
            return time.monotonic() - self.saved_at >= _WORTH_SAVING_SECONDS
        return epoch % self.spec.checkpoint_every == 0

    def save(self) -> None:
        """Everything that the next step depends on. Raises: DivergedError, so that no ruined state is kept."""
        self.meters.look()
        path = self.session.scratch / f"state-{self.position.step}"
        state = {
            "batch_size": self.batch_size,
            "network": self.network.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "scaler": self.machine.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "best": self.best.state_dict(),
            "position": asdict(self.position),
            "measures": self.measures,
            "epoch_loss": self.epoch_loss,
            "generator": self.generator.get_state(),
            "order_state": self.order_state,
            "global_generator": torch.get_rng_state(),
            "device_generators": torch.cuda.get_rng_state_all() if self.machine.device.type == "cuda" else [],
        }
        if ranks.is_first():
            save_state(path, state)
        self.session.save_checkpoint(path, step=self.position.step)
        self.saved_at, self.saved_step = time.monotonic(), self.position.step

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.machine.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.best.load_state_dict(state["best"])
        self.position, self.measures = Position(**state["position"]), dict(state["measures"])
        self.epoch_loss = state["epoch_loss"].to(self.machine.device)
        self.generator.set_state(state["generator"])
        self.order_state = state["order_state"]
        torch.set_rng_state(state["global_generator"])
        if state["device_generators"] and self.machine.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["device_generators"])
        self.saved_step = self.position.step
        known = ", ".join(f"{name} {value:.4f}" for name, value in self.measures.items())
        self.session.log(
            f"going on after epoch {self.position.epoch}, at step {self.position.step}: {known or 'unmeasured'}"
        )

    # --- words -------------------------------------------------------------------------------

    def tell_plan(self) -> None:
        log, spec = self.session.log, self.spec
        total = sum(one.numel() for one in self.network.parameters())
        log(f"{total} parameters, {learning(self.network)} of them learn; {self.machine.sentence()}")
        log(f"optimizers: {self.optimizers.sentence()}")
        batches = f" in {spec.accumulate} batches" if spec.accumulate > 1 else ""
        if spec.batch_size == AUTO:
            least = f"for {STEPS_PER_EPOCH} steps an epoch at least"
            log(f"batch_size auto: {self.batch_size}, of {len(self.recipe)} pictures; {least}")
        pictures = min(self.batch_size * spec.accumulate, len(self.recipe))
        log(
            f"{pictures} pictures{batches} a step, {self.steps_per_epoch} steps an epoch, "
            f"{spec.schedule} schedule, {self.schedule.rising} steps to warm up"
        )

    def tell_progress(self) -> None:
        done = self.position.step / max(1, self.spec.epochs * self.steps_per_epoch)
        epoch = min(self.position.epoch + 1, self.spec.epochs)
        headline = self.best.headline.name
        best = f", {headline} {self.best.measures[headline]:.3f}" if self.best.measures else ""
        speed = f", {self.meters.pictures_per_second:.0f} images/s" if self.meters.pictures_per_second else ""
        share = LOADED_AT + (_TRAINED_AT - LOADED_AT) * done
        self.session.progress(share, f"epoch {epoch} of {self.spec.epochs}{best}{speed}")

    def explained(self, error: DivergedError) -> DivergedError:
        """With what is kept, and what to change."""
        kept = (
            f"The checkpoint of step {self.saved_step} is kept" if self.saved_step else "No checkpoint was made before"
        )
        spec = self.spec
        advice = [f"a learning_rate below {spec.learning_rate:g}", f"a warm_up above {spec.warm_up:g}"]
        advice += [] if spec.clip_norm is not None else ["clip_norm 1.0"]
        advice += [] if self.machine.precision == "fp32" else ["precision fp32"]
        return DivergedError(f"{error} {kept}. Try {', '.join(advice)}.", **error.details)
