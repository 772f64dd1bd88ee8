"""The story, step by step. Each step does its part through the public interfaces, and is not done twice.

What the steps found is kept in `story.json`, so that a second run is quick and picks up where a broken one
stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import steelyard
from steelyard_contracts.errors import GateRefusedError
from steelyard_contracts.fleet import DeviceState, InstallState, RolloutState, RolloutView
from steelyard_contracts.jobs import JobState, JobView
from steelyard_demo.devices import NAMES, SICK, Device
from steelyard_demo.digits import write_digits
from steelyard_demo.installation import TEAM, DemoError, Installation

BASE_DATA, NEW_DATA, READER = f"{TEAM}/digits-base", f"{TEAM}/digits-new", f"{TEAM}/reader"
_NETWORK = {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1]}
_RECIPE = {"learning_rate": 3e-3, "weight_decay": 0.01, "image_size": 32}
# The same for fine-tuning and for training from scratch: the comparison is a fair one. One run on sixty pictures is
# a matter of luck; the mean of three is not.
_FEW_SHOT = {**_RECIPE, "dataset": f"{NEW_DATA}@v1", "epochs": 3, "batch_size": 20}
SEEDS = (0, 1, 2)
_MAX_DROP = 0.01


class Story:
    """Runs the steps. `results` holds what the summary shows."""

    def __init__(self, installation: Installation, console: Console) -> None:
        self.installation = installation
        self.hub = steelyard.connect(installation.url, installation.token, quiet=True)
        self.devices = [Device(name, installation) for name in NAMES]
        self.results: dict[str, Any] = {}
        self._memory_file = installation.var / "story.json"
        self._memory: dict[str, Any] = json.loads(self._memory_file.read_text()) if self._memory_file.exists() else {}
        columns = [
            TextColumn("{task.description:<46}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        self._progress = Progress(*columns, console=console)

    def tell(self) -> None:
        """Raises: DemoError when a step does not turn out as it must."""
        steps: list[tuple[str, Callable[[TaskID], str]]] = [
            ("1  Push two datasets (huggingface_hub)", self.push_datasets),
            ("2  Train a ResNet from scratch on 0 to 6", self.train_base),
            ("3a Fine-tune it on 20 pictures each of 7 to 9", self.fine_tune),
            ("3b The same from scratch, to compare", self.train_from_scratch),
            ("4a Evaluate, pass the gate, move 'production'", self.promote),
            ("4b A promotion that the gate refuses", self.refused_promotion),
            ("5  Optimise: ONNX float32, float16, int8", self.optimise),
            ("6a Enrol and accept four devices", self.enrol_devices),
            ("6b Roll out float32: one, then the others", self.roll_out_first),
            ("6c Roll out int8; one device turns it down", self.roll_out_second),
            ("7  Each device classifies held-out pictures", self.classify_on_devices),
        ]
        with self._progress:
            for title, step in steps:
                bar = self._progress.add_task(title, total=1.0, note="")
                note = step(bar)
                self._progress.update(bar, completed=1.0, note=f"[green]{note}[/]")

    # --- the steps ---------------------------------------------------------------------------

    def push_datasets(self, bar: TaskID) -> str:
        """With an unmodified huggingface_hub, pointed here by HF_ENDPOINT."""
        folders = write_digits(self.installation.var / "digits")
        os.environ.update(  # noqa: TID251 - this is how a user points the Hub's client somewhere else
            {key: value for key, value in self.installation.environment.items() if key.startswith("HF_")}
        )
        import huggingface_hub
        from huggingface_hub.utils import logging
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        logging.get_logger("huggingface_hub").setLevel("ERROR")
        hub = huggingface_hub.HfApi()
        counts = []
        for position, (repository, folder) in enumerate(zip((BASE_DATA, NEW_DATA), folders, strict=True), start=1):
            hub.create_repo(repository, repo_type="dataset", exist_ok=True)
            # One commit, so one version; `upload_folder` would cut so many files into several.
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            additions = [
                huggingface_hub.CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files
            ]
            hub.create_commit(repository, additions, repo_type="dataset", commit_message="Digits")
            self._progress.update(bar, completed=position / 2)
            counts.append(self.hub.version(f"datasets:/{repository}").files)
        return f"{counts[0]} and {counts[1]} files"

    def train_base(self, bar: TaskID) -> str:
        fields = {
            "dataset": f"{BASE_DATA}@v1",
            "output": READER,
            "architecture": _NETWORK,
            "epochs": 15,
            "batch_size": 32,
        }
        job = self._job("base", bar, lambda: self.hub.train(**_RECIPE, **fields, seed=1))
        return self._note("base", job)

    def fine_tune(self, bar: TaskID) -> str:
        """The stem and the first stage stay frozen, bit by bit; the later stages and a new head learn."""
        frozen = {"base": self.results["base"]["version"], "freeze": "backbone", "unfrozen_stages": 2}
        return self._few_shot("fine_tuned", bar, frozen)

    def train_from_scratch(self, bar: TaskID) -> str:
        self._few_shot("scratch", bar, {"branch": "from-scratch", "architecture": _NETWORK})
        gain = self.results["fine_tuned"]["accuracy"] - self.results["scratch"]["accuracy"]
        self.results["gain"] = gain
        if gain <= 0:
            raise DemoError(f"Transfer learning gave nothing here ({gain:+.4f}); the recipe is wrong.")
        return f"transfer gave {gain * 100:+.1f} points"

    def _few_shot(self, key: str, bar: TaskID, fields: dict[str, Any]) -> str:
        """A run for each seed; `results[key]` holds them, best first, and their mean accuracy."""
        runs = []
        for seed in SEEDS:
            submit = partial(self.hub.train, **_FEW_SHOT, output=READER, seed=seed, **fields)
            runs.append(self._job(f"{key}-{seed}", bar, submit).result)
        runs.sort(key=lambda run: run["accuracy"], reverse=True)
        mean = sum(run["accuracy"] for run in runs) / len(runs)
        self.results[key] = {"runs": runs, "accuracy": mean}
        return f"accuracy {mean:.4f} (mean of {len(runs)} runs)"

    def promote(self, bar: TaskID) -> str:
        """`production` must be better than what training from scratch gives."""
        version = self.results["fine_tuned"]["runs"][0]["version"]
        job = self._job("evaluation", bar, lambda: self.hub.evaluate(version, f"{NEW_DATA}@v1"))
        self._note("evaluation", job)
        limit = round(self.results["scratch"]["accuracy"] + 0.0005, 4)
        self.results["gate"] = f"accuracy >= {limit} on {NEW_DATA}@v1"
        self.hub.add_gate(READER, self.results["gate"], applies_to="production")
        self.hub.add_gate(READER, f"accuracy drop from parent <= {_MAX_DROP}", applies_to="release")
        moved = self.hub.promote(version, "production", reason="the best of the fine-tuned, better than from scratch")
        return f"production is {moved.version}"

    def refused_promotion(self, _bar: TaskID) -> str:
        try:
            self.hub.promote(self.results["scratch"]["runs"][-1]["version"], "production", reason="worth a try")
        except GateRefusedError as refusal:
            self.results["refusal"] = str(refusal)
            return "refused"
        raise DemoError("The gate let a worse version become 'production'.")

    def optimise(self, bar: TaskID) -> str:
        fields = {
            "model": f"{READER}@production",
            "dataset": f"{NEW_DATA}@v1",
            "max_accuracy_drop": _MAX_DROP,
        }
        job = self._job("variants", bar, lambda: self.hub.optimise(**fields))
        self._note("variants", job)
        for name in ("onnx-fp32", "onnx-int8"):
            if "refused" in self.results["variants"][name]:
                raise DemoError(f"{name} was refused by its gate: {self.results['variants'][name]['refused']}")
        int8, fp32 = (self.results["variants"][f"onnx-{kind}"]["bytes"] for kind in ("int8", "fp32"))
        return f"int8 is {fp32 / int8:.1f} times smaller"

    def enrol_devices(self, bar: TaskID) -> str:
        token = self.hub.enrolment_token(TEAM)
        states = {device.name: device.state for device in self.hub.devices(TEAM)}
        for position, device in enumerate(self.devices, start=1):
            device.enrol(token)
            if states.get(device.name) is not DeviceState.ACCEPTED:
                self.hub.accept_device(TEAM, device.name)
            device.overheated.unlink(missing_ok=True)
            device.start()
            self._progress.update(bar, completed=position / len(self.devices))
        return "accepted"

    def roll_out_first(self, bar: TaskID) -> str:
        rollout = self._roll_out("first_rollout", bar, variant="onnx-fp32", max_failures=0)
        return f"{rollout.state}: {_counts(rollout)}"

    def roll_out_second(self, bar: TaskID) -> str:
        """One device overheats; the rollout may lose one and still reach the others."""
        next(device for device in self.devices if device.name == SICK).overheated.touch()
        rollout = self._roll_out("second_rollout", bar, variant="onnx-int8", max_failures=1)
        sick = next(one for one in rollout.devices if one.device == SICK)
        if sick.state is not InstallState.ROLLED_BACK:
            raise DemoError(f"{SICK} should have rolled back, but is {sick.state}.")
        self.results["sick"] = sick.detail
        return f"{rollout.state}: {_counts(rollout)}"

    def classify_on_devices(self, bar: TaskID) -> str:
        pictures = self.installation.var / "digits" / "new" / "validation"
        running = {device.name: device.running_version for device in self.hub.devices(TEAM)}
        found = {}
        for position, device in enumerate(self.devices, start=1):
            found[device.name] = {"accuracy": device.accuracy_on(pictures), "version": running[device.name]}
            self._progress.update(bar, completed=position / len(self.devices))
        self.results["devices"] = found
        variants = self.results["variants"]
        expected = {name: "onnx-fp32" if name == SICK else "onnx-int8" for name in found}
        for name, variant in expected.items():
            if found[name]["version"] != f"{READER}@{variants[variant]['version']}":
                raise DemoError(f"{name} should run {variant}, but runs {found[name]['version']}.")
        return ", ".join(f"{one['accuracy']:.4f}" for one in found.values())

    # --- how the steps do it -----------------------------------------------------------------

    def _job(self, key: str, bar: TaskID, submit: Callable[[], JobView]) -> JobView:
        """The job's end; submitted only if an earlier run has not seen it succeed."""
        known = self._memory.get(key)
        view = self.hub.job(known) if known else submit()
        if view.state.is_final and view.state is not JobState.SUCCEEDED:
            view = submit()
        self._remember(key, str(view.id))
        final = self.hub.wait(
            view.id,
            on_change=lambda now: self._progress.update(bar, completed=now.progress, note=f"[dim]{now.message}[/]"),
        )
        if final.state is not JobState.SUCCEEDED:
            raise DemoError(f"The job {final.id} is {final.state}: {final.error}")
        return final

    def _note(self, key: str, job: JobView) -> str:
        seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0.0
        self.results[key] = {**job.result, "seconds": seconds}
        return f"{job.result.get('version', '')} accuracy {job.result.get('accuracy', 0):.4f}"

    def _roll_out(self, key: str, bar: TaskID, *, variant: str, max_failures: int) -> RolloutView:
        if key not in self._memory:
            release = self.hub.release(f"{READER}@production", variant=variant, reason="the demo")
            rollout = self.hub.roll_out(release.id, NAMES, first=1, max_failures=max_failures)
            self._remember(key, str(rollout.id))
        final = self.hub.wait_for_rollout(
            self._memory[key],
            on_change=lambda now: self._progress.update(
                bar, completed=_share_done(now), note=f"[dim]{_counts(now)}[/]"
            ),
        )
        if final.state is not RolloutState.COMPLETED:
            raise DemoError(f"The rollout of {variant} is {final.state}: {_counts(final)}")
        return final

    def _remember(self, key: str, value: str) -> None:
        self._memory[key] = value
        temporary: Path = self._memory_file.with_suffix(".new")
        temporary.write_text(json.dumps(self._memory, indent=2))
        temporary.replace(self._memory_file)


def _share_done(rollout: RolloutView) -> float:
    return sum(device.state.is_final for device in rollout.devices) / len(rollout.devices)


def _counts(rollout: RolloutView) -> str:
    states = [str(device.state) for device in rollout.devices]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
