"""`steelyard.init`: a run begins, or goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from steelyard.client import Client
from steelyard.settings import find_credentials, is_offline, runs_folder, server_url, spool_bytes
from steelyard.tracking.delivery import RUNS, is_passing
from steelyard.tracking.run import Run, run_folder
from steelyard.tracking.sending import Say, Sender
from steelyard.tracking.spool import Spool
from steelyard.tracking.surroundings import environment_now
from steelyard.tracking.syncing import runs_in, sync_one
from steelyard.tracking.values import as_config
from steelyard_contracts.errors import InvalidInputError, UnavailableError
from steelyard_contracts.jobs import JobView
from steelyard_contracts.tracking import RunRequest

_JOBS = "/api/v1/jobs"
_MOST_NAMES = 500
_FIRST_YEAR = 2020
Resume: TypeAlias = str | UUID | bool


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    config: Any = None,
    datasets: Sequence[str] = (),
    base: str | None = None,
    resume: Resume = False,
    offline: bool | None = None,
    tags: Mapping[str, str] | None = None,
    total_steps: int | None = None,
    folder: str | Path | None = None,
    raise_when_cancelled: bool = True,
    quiet: bool = False,
) -> Run:
    """A run of `project`, a model repository `team/name` that is made if need be.

    Args:
        project: where it belongs.
        name: one that is taken gets a number behind it; without one it is named by its id.
        config: a dict, a namespace, a dataclass: what it was given.
        datasets: what it trains on, such as "team/digits@v3"; pinned to versions now, and named in the lineage.
        base: the version that it starts from.
        resume: the id of a run that goes on; or True, for the newest of that project and name, or a new one.
        offline: only write to the folder, as STEELYARD_OFFLINE=1 does; `steelyard sync` sends it.
        tags: short texts by name.
        total_steps: where its steps end: progress follows from it.
        folder: where runs keep what is not sent; STEELYARD_RUNS_FOLDER or ./steelyard-runs otherwise.
        raise_when_cancelled: whether `log` raises RunCancelled in the main thread once somebody cancelled the run.
        quiet: say nothing on stderr.

    Raises:
        AuthenticationError: there is no token, or it opens nothing.
        InvalidInputError, NotFoundError, ForbiddenError: the server knows better: a project, a dataset, a right.
    """
    if tags is not None and not isinstance(tags, Mapping):
        raise InvalidInputError('Tags are texts by name, such as tags={"purpose": "baseline"}.', field="tags")
    request = RunRequest(
        project=project or "",
        name=name,
        config=as_config(config),
        datasets=list(datasets),
        base=base,
        key=uuid4(),
        tags=dict(tags or {}),
        total_steps=total_steps,
        environment=environment_now(),
        started_at=_now(),
    )
    if not project and (resume is True or not resume):
        raise InvalidInputError('Say where the run belongs: steelyard.init(project="team/name").')
    say: Say = _silent if quiet else _say
    place = Path(folder) if folder else runs_folder()
    if is_offline() if offline is None else offline:
        return _offline(request, resume, place, say)
    return _online(request, resume, place, say, raise_when_cancelled=raise_when_cancelled)


def _offline(request: RunRequest, resume: Resume, place: Path, say: Say) -> Run:
    if resume is True:
        raise InvalidInputError("Offline nobody knows which run is meant; resume it by its id.")
    spool = _spool(request, _named(resume), server_url(), place)
    say(f"offline; the run is written to {spool.folder}")
    return Run(spool, project=request.project, name=request.name or "", config=request.config, sender=None, say=say)


def _online(request: RunRequest, resume: Resume, place: Path, say: Say, *, raise_when_cancelled: bool) -> Run:
    credentials = find_credentials()

    def connect() -> Client:
        return Client(credentials.url, credentials.token, quiet=True)

    with connect() as client:
        former = _newest_named(client, request) if resume is True else _named(resume)
        first_step = _steps_of(client, former, say) if former else 0
    spool = _spool(request, former, credentials.url, place)
    sender = Sender(spool, connect, say=say)
    try:
        sent = sender.delivery.begin()
        say(f"run {sent.name}, {credentials.url}/jobs/{sent.run}")
    except Exception as error:
        if not is_passing(error):
            sender.abandon()
            spool.remove()
            raise
        say(f"{error} The run goes on in {spool.folder}.")
    sender.start()
    if former:
        left = [one for one in runs_in(place) if one != spool.folder and Spool.of(one) == former]
        Thread(target=lambda: [sync_one(one, None) for one in left], name="steelyard sync", daemon=True).start()
    return Run(
        spool,
        project=request.project,
        name=request.name or "",
        config=request.config,
        sender=sender,
        say=say,
        first_step=first_step,
        raise_when_cancelled=raise_when_cancelled,
    )


def _now() -> datetime | None:
    """None on a machine that does not know the day: it says when it is told of."""
    now = datetime.now(UTC)
    return now if now.year >= _FIRST_YEAR else None


def _say(sentence: str) -> None:
    sys.stderr.write(f"steelyard: {sentence}\n")


def _silent(_sentence: str) -> None:
    """For whoever does not want to be told."""


def _spool(request: RunRequest, resumed: str, url: str, place: Path) -> Spool:
    key = str(request.key)
    spool = Spool(run_folder(place, key), most_bytes=spool_bytes())
    about: dict[str, Any] = {"format": 1, "url": url, "request": request.model_dump(mode="json")}
    if resumed:
        about["resume"] = {"run": resumed, "key": key}
    spool.describe(about)
    return spool


def _named(resume: Resume) -> str:
    if isinstance(resume, bool):
        return ""
    try:
        return str(UUID(str(resume)))
    except ValueError as error:
        raise InvalidInputError(f"{resume!r} is no id of a run; give resume=True and its name instead.") from error


def _newest_named(client: Client, request: RunRequest) -> str:
    """The newest run of that name in the project; empty when there is none."""
    if not request.name:
        raise InvalidInputError("Say which run is resumed: its name, or its id as in resume='…'.")
    found = client.transport.items(RUNS, project=request.project, text=request.name)
    views = (JobView.model_validate(item) for item in islice(found, _MOST_NAMES))
    return next((str(view.id) for view in views if view.run and view.run.name == request.name), "")


def _steps_of(client: Client, run: str, say: Say) -> int:
    """Behind the last step of a run that goes on; 0 when the server cannot be asked."""
    try:
        names = list(islice(client.transport.items(f"{_JOBS}/{run}/metric-names", limit=_MOST_NAMES), _MOST_NAMES))
    except UnavailableError as error:
        say(f"{error} Give `log` its steps: how far the run had come is not known.")
        return 0
    return max((item["last_step"] + 1 for item in names if not item["name"].startswith("system/")), default=0)
