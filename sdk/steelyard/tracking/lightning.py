"""Lightning reports to a run.

    from steelyard.tracking.lightning import SteelyardLogger

    trainer = Trainer(logger=SteelyardLogger("team/shelf"))

Metrics by global step, hyper-parameters, and, with `save=True`, the checkpoint that did best as a version. A run that
is cancelled on its page raises `RunCancelled` where the training logs.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from steelyard.tracking.run import Run
from steelyard.tracking.starting import init
from steelyard.tracking.values import as_config
from steelyard_contracts.jobs import JobState

_STATES = {"success": JobState.SUCCEEDED, "failed": JobState.FAILED, "aborted": JobState.CANCELLED}


_Logger: Any
try:
    _Logger = import_module("lightning.pytorch.loggers").Logger
    _utilities = import_module("lightning.pytorch.utilities")
except ImportError:  # its other name
    _Logger = import_module("pytorch_lightning.loggers").Logger
    _utilities = import_module("pytorch_lightning.utilities")
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _first_process_only(function: _Function) -> _Function:
    return cast("_Function", _utilities.rank_zero_only(function))


class SteelyardLogger(_Logger):  # type: ignore[misc]
    """Makes a run when the training first says something, or reports to one that is there.

    Args:
        project: where the run belongs, as for `steelyard.init`; not needed with `run`.
        run: one that was begun already; whoever began it ends it.
        save: whether the best checkpoint is saved as a version at the end.
        options: others of `steelyard.init`.
    """

    def __init__(
        self, project: str | None = None, *, run: Run | None = None, save: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self._run, self._owns, self._save = run, run is None, save
        self._project, self._options = project, options
        self._checkpoints: Any = None

    @property
    def experiment(self) -> Run:
        """The run, which begins with the first use of this."""
        if self._run is None:
            self._run = init(self._project, **self._options)
        return self._run

    @property
    def name(self) -> str:
        return self._project or ""

    @property
    def version(self) -> str:
        return self._run.name if self._run is not None else ""

    @_first_process_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log(metrics, step=step)

    @_first_process_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        self.experiment.config.update(as_config(params))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._checkpoints = checkpoint_callback

    @_first_process_only
    def finalize(self, status: str) -> None:
        if self._run is None:
            return
        best = getattr(self._checkpoints, "best_model_path", "")
        if self._save and best and Path(best).exists() and status == "success":
            self._run.save(best, message=f"The best checkpoint, {Path(best).name}")
        if self._owns and status in _STATES:
            self._run.finish(_STATES[status])
