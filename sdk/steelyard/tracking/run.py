"""A run, as the program that trains holds it."""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steelyard.tracking import endings
from steelyard.tracking.saving import write_copy
from steelyard.tracking.sending import Say, Sender
from steelyard.tracking.spool import FINISH, LINE, SAMPLE, UPDATE, Sent, Spool
from steelyard.tracking.surroundings import environment_in_time, git_state
from steelyard.tracking.values import as_config, as_number, as_png, flat, in_json
from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.tracking import metric_name, plain_json, plain_text, sample_name

_LINE_LENGTH = 8_000
_LAST_STEP = 2**62 - 1
_POINTS_OF_LINE = 1_000
_SECONDS_FOR_SURROUNDINGS = 10.0


class RunCancelled(SteelyardError):  # noqa: N818 - people catch it as the thing that happened
    """Somebody cancelled the run: raised by `log` in the main thread, so that the program ends by itself."""

    code = "run_cancelled"


class Config(dict[str, Any]):
    """The run's configuration; what is set afterwards is reported too."""

    def __init__(self, values: Mapping[str, Any], changed: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(values)
        self._changed = changed

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, *values: Any, **named: Any) -> None:
        news = {**{key: part for one in values for key, part in as_config(one).items()}, **as_config(named)}
        super().update(news)
        self._changed(news)


class Run:
    """Made by `steelyard.init`. Its methods wait for no network, and never end a training for a metric's sake.

    Args:
        spool: its folder.
        project: the model repository that it belongs to.
        name: as asked for; the server may put a number behind it.
        config: what it was given.
        sender: None offline.
        say: tells a sentence to the person who trains.
        first_step: what `log` counts from when it is given no step.
        raise_when_cancelled: whether `log` raises `RunCancelled` once somebody cancelled the run.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        project: str,
        name: str,
        config: Mapping[str, Any],
        sender: Sender | None,
        say: Say,
        first_step: int = 0,
        raise_when_cancelled: bool = True,
    ) -> None:
        self.project, self.folder = project, spool.folder
        self._spool, self._sender, self._name, self._say = spool, sender, name, say
        self._config = Config(config, lambda news: self._change({"config": news}))
        self._step, self._line, self._saves, self._samples = first_step, 0, 0, 0
        self._lock, self._heads = threading.Lock(), dict[Any, str]()
        self._told, self._pid, self._is_over = set[str](), os.getpid(), False
        self._raises = raise_when_cancelled
        self._around = threading.Thread(target=self._look_around, name="steelyard surroundings", daemon=True)
        self._around.start()
        endings.watch(self)

    # --- what it is ----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """As the server calls it; empty until it has heard of the run."""
        return self._sent.run

    @property
    def name(self) -> str:
        return self._sent.name or self._name

    @property
    def config(self) -> Config:
        return self._config

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return self._sender is not None and self._sender.answer.cancel

    @property
    def is_stopped(self) -> bool:
        """Whether somebody asked it to end at its next step, with what it has."""
        return self._sender is not None and self._sender.answer.stop

    @property
    def is_offline(self) -> bool:
        return self._sender is None

    # --- what it says --------------------------------------------------------------------------

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers by name, at a step: the next one, unless it is given. Nested names are joined by `/`.

        Arrays and tensors of one element are numbers; pictures of PIL's and figures of matplotlib's become samples.

        Raises: RunCancelled, in the main thread alone; TypeError for what has no names.
        """
        if self._is_deaf():
            return
        if self._sender is not None and self._sender.answer.cancel:
            self._raise_once()
        if type(metrics) is not dict and not isinstance(metrics, Mapping):
            raise TypeError(f"run.log takes numbers by their names, as run.log({{'loss': 0.5}}), not {metrics!r:.60}.")
        at = self._next_step() if step is None else self._at_step(step)
        tail = f',"timestamp":{int(time.time() * 1000)}}}'
        points, heads = [], self._heads
        for name, value in metrics.items():
            if type(value) is float:  # what a training loop logs thousands of times takes no detour
                points.append(f'{heads.get(name) or self._head(name)}{at},"value":{in_json(value)}{tail}')
            else:
                points += [
                    f'{self._head(one)}{at},"value":{in_json(number)}{tail}'
                    for one, number in self._numbers(name, value, at)
                ]
        if len(points) == 1:
            self._add(f"p1 {points[0]}\n".encode())
            return
        for start in range(0, len(points), _POINTS_OF_LINE):
            part = points[start : start + _POINTS_OF_LINE]
            self._add(f"p{len(part)} {','.join(part)}\n".encode())

    def write(self, text: str) -> None:
        """Lines of output, for the run's log."""
        for line in text.splitlines():
            plain = plain_text(line)
            for start in range(0, max(len(plain), 1), _LINE_LENGTH):
                with self._lock:
                    number, self._line = self._line, self._line + 1
                self._event(LINE, {"number": number, "text": plain[start : start + _LINE_LENGTH]})

    def save(self, thing: Any, *, name: str = "model", message: str = "") -> None:
        """A version of the project: of a path, a torch module, a dict of tensors, or what has `save_pretrained`.

        A copy is made now, and sent while the training goes on.

        Raises: InvalidInputError for what cannot be saved.
        """
        if self._is_deaf():
            return
        with self._lock:
            self._saves += 1
            folder = self.folder / "saves" / f"{self._saves:06d}"
        write_copy(thing, folder, name=name)
        said = {"message": message or f"Saved by the run {self.name}"}
        waiting = folder.with_suffix(".new")
        waiting.write_text(json.dumps(said))
        waiting.replace(folder.with_suffix(".json"))
        if self._sender is not None:
            self._sender.upload_soon()

    def update(self, *, tags: Mapping[str, str | None] | None = None, **changes: Any) -> None:
        """`tags` (None takes one away), `message`, `progress` from 0 to 1, `total_steps`, `name`."""
        tagged = {"tags": {str(key): None if part is None else str(part) for key, part in tags.items()}} if tags else {}
        self._change({**changes, **tagged})

    # --- its end -------------------------------------------------------------------------------

    def finish(
        self,
        state: str | JobState | None = None,
        *,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> None:
        """Ends the run, once, and waits until all was sent; what was not in time stays in its folder.

        `patience`: seconds, half a minute unless it is said. `state`: succeeded, unless it is said or the run was
        cancelled.
        """
        if self._is_deaf():
            return
        self._around.join(_SECONDS_FOR_SURROUNDINGS)
        end = JobState(state) if state else JobState.CANCELLED if self.is_cancelled else JobState.SUCCEEDED
        body = {"state": str(end), "error": error, "result": plain_json(dict(result or {}))}
        self._event(FINISH, {**body, "at": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z"})
        self._is_over = True
        endings.forget(self)
        self._settle(patience)

    def fail(self, error: BaseException) -> None:
        """Ends the run as the exception says, with its traceback in the log. For handlers of one's own."""
        self.write("".join(traceback.format_exception(error)))
        stopped = isinstance(error, KeyboardInterrupt | RunCancelled)
        last = traceback.format_exception_only(error)[-1].strip()
        self.finish(JobState.CANCELLED if stopped else JobState.FAILED, error=None if stopped else last)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.finish()
        else:
            self.fail(error)

    def _settle(self, patience: float | None) -> None:
        is_sent = self._sender is not None and self._sender.close(patience)
        if self._spool.dropped:
            self._say(f"{self._spool.dropped} events found no room in {self.folder} and are lost.")
        if is_sent and not self._spool.has_refused:
            self._spool.remove()
        else:
            self._spool.close()
            self._say(f"kept in {self.folder}; `steelyard sync {self.folder}` sends it.")

    # --- how it is written ---------------------------------------------------------------------

    @property
    def _sent(self) -> Sent:
        return self._sender.delivery.sent if self._sender is not None else Sent()

    def _is_deaf(self) -> bool:
        """After its end, and in a process that was forked off: its parent speaks for the run."""
        return self._is_over or os.getpid() != self._pid

    def _raise_once(self) -> None:
        if self._raises and threading.current_thread() is threading.main_thread():
            self._raises = False
            raise RunCancelled(f"The run {self.name} was cancelled.")

    def _next_step(self) -> int:
        with self._lock:
            at, self._step = self._step, min(self._step + 1, _LAST_STEP)
        return at

    def _at_step(self, step: int) -> int:
        at = min(max(int(step), 0), _LAST_STEP)
        with self._lock:
            self._step = max(self._step, min(at + 1, _LAST_STEP))
        return at

    def _head(self, name: Any) -> str:
        """How the JSON of a point of that name begins."""
        if name not in self._heads:
            self._heads[name] = f'{{"name":{json.dumps(metric_name(str(name)))},"step":'
        return self._heads[name]

    def _numbers(self, name: Any, value: Any, step: int) -> Iterator[tuple[str, float]]:
        """What is a number of a value of any kind; a picture becomes a sample."""
        for one, part in flat({name: value}):
            number = as_number(part)
            if number is None:
                self._log_other(one, part, step)
            else:
                yield one, number

    def _log_other(self, name: str, value: Any, step: int) -> None:
        picture = as_png(value)
        if picture is None:
            if name not in self._told:
                self._told.add(name)
                self._say(f"{name!r} is no number ({type(value).__name__}); it is left out.")
            return
        with self._lock:
            self._samples += 1
            file = f"{self._samples:06d}.png"
        folder = self.folder / "samples"
        try:
            folder.mkdir(exist_ok=True)
            (folder / file).write_bytes(picture)
        except OSError as error:
            self._say(f"a picture of {name!r} is left out: {error}")
            return
        self._event(SAMPLE, {"file": file, "name": sample_name(name), "step": step})

    def _change(self, news: Mapping[str, Any]) -> None:
        self._event(UPDATE, plain_json(dict(news)))

    def _event(self, kind: bytes, content: Any) -> None:
        if not self._is_deaf():
            self._add(kind + b" " + json.dumps(content).encode() + b"\n")

    def _add(self, line: bytes) -> None:
        if not self._spool.add(line) and self._spool.dropped == 1:
            self._say(f"no room is left in {self.folder}: what follows is lost until some of it is sent.")

    def _look_around(self) -> None:
        git = git_state()
        self._change({"environment": environment_in_time(), **({"git": git.model_dump()} if git else {})})


def run_folder(folder: Path, key: str) -> Path:
    """A folder of its own for a run, by the time and its key; `folder` tells git to look away."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return folder.resolve() / f"{time.strftime('%Y%m%d-%H%M%S')}-{key[:8]}"
