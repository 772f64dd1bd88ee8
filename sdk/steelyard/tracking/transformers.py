"""`transformers.Trainer` reports to a run.

    from steelyard.tracking.transformers import SteelyardCallback

    trainer = Trainer(model, arguments, callbacks=[SteelyardCallback("team/shelf")])

Losses and measures by global step, what the trainer and the network were given, and the network at the end as a
version; `save_checkpoints=True` saves each checkpoint too. A run that is cancelled on its page stops the trainer at its
next step.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from steelyard.tracking.run import Run
from steelyard.tracking.starting import init

_Callback: Any = import_module("transformers").TrainerCallback
# What `Trainer` puts before a measure's name, and where that measure belongs.
_PREFIXES = {"eval_": "validation/", "test_": "test/", "train_": "train/"}
_OF_THE_TRAINER = frozenset({"training_args.bin", "trainer_state.json"})


class SteelyardCallback(_Callback):  # type: ignore[misc]
    """Makes a run when the training begins, or reports to one that is there.

    Args:
        project: where the run belongs, as for `steelyard.init`; not needed with `run`.
        run: one that was begun already; whoever began it ends it.
        save: whether the network is saved at the end.
        save_checkpoints: whether every checkpoint is saved as a version, without the optimizer's state.
        options: others of `steelyard.init`.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        run: Run | None = None,
        save: bool = True,
        save_checkpoints: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.run = run
        self._owns, self._save, self._save_checkpoints = run is None, save, save_checkpoints
        self._project, self._options = project, options

    def on_train_begin(self, args: Any, state: Any, _control: Any, model: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        given = {**args.to_sanitized_dict(), "model": getattr(getattr(model, "config", None), "model_type", None)}
        if self.run is None:
            options = {"total_steps": state.max_steps if state.max_steps > 0 else None, **self._options}
            self.run = init(self._project, config=given, raise_when_cancelled=False, **options)
        else:
            self.run.config.update(given)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if self.run is not None and state.is_world_process_zero:
            self.run.log({_named(name): value for name, value in (logs or {}).items()}, step=state.global_step)

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        if self.run is not None and (self.run.is_cancelled or self.run.is_stopped):
            control.should_training_stop = True
        return control

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        if self.run is not None and self._save_checkpoints and state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self.run.save(_Weights(folder), message=f"Checkpoint at step {state.global_step}")

    def on_train_end(self, _args: Any, state: Any, _control: Any, model: Any = None, **_: Any) -> None:
        if self.run is None or not state.is_world_process_zero:
            return
        if self._save and model is not None and not self.run.is_cancelled:
            self.run.save(model, message=f"After {state.global_step} steps")
        if self._owns:
            self.run.finish()


class _Weights:
    """A checkpoint's folder without what only the trainer reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save_pretrained(self, target: Path) -> None:
        for file in self._folder.iterdir():
            if file.is_file() and file.suffix not in {".pt", ".pth"} and file.name not in _OF_THE_TRAINER:
                shutil.copy2(file, target / file.name)


def _named(name: str) -> str:
    for prefix, place in _PREFIXES.items():
        if name.startswith(prefix):
            return place + name.removeprefix(prefix)
    return name if name in {"epoch", "learning_rate", "grad_norm", "total_flos"} else f"train/{name}"
