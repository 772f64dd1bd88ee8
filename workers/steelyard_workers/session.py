"""`JobSession`: what a job's code uses to fetch, report and commit. All of it with the job's own token.

with JobSession.open(message) as session:
    folder = session.fetch("team/digits@v1", RepositoryKind.DATASET)
    session.log("epoch 1"); session.metric("loss", step=1, value=0.7)
    session.commit(folder, "team/reader", ...)
    session.finish({"accuracy": 0.98})
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

from steelyard.files import Files
from steelyard.hub_addresses import of_file
from steelyard.records import Version
from steelyard.transport import Transport
from steelyard_contracts.digests import checked
from steelyard_contracts.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    SteelyardError,
    TooLargeError,
    UnavailableError,
)
from steelyard_contracts.jobs import (
    STOPPED_EARLY,
    CheckpointOffer,
    Claim,
    CommittedVersion,
    EvaluationReport,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    JobState,
    LineageReport,
    LogBatch,
    LogLine,
    MetricBatch,
    MetricPoint,
    ResumePoint,
    UnpackSpec,
    UploadSlot,
)
from steelyard_contracts.refs import DEFAULT_REVISION, Ref, RepositoryKind, parse_ref
from steelyard_contracts.weights import FileReport, FileToInspect, TensorChange, TensorChangeBatch, TensorPair
from steelyard_workers.courier import Courier
from steelyard_workers.orders import JobLeftError, Orders

Result = TypeVar("Result")

_FLUSH_SECONDS = 1.0
_LOG_LENGTH = 8_000
_BATCH_POINTS, _BATCH_LINES = 10_000, 2_000
_LINES_PER_START = 100_000_000
# Seconds for which a job waits for the platform's store where it can do nothing without.
_OUTAGE_SECONDS = 3600.0


class JobSession:
    """One claimed job, from fetch to finish. Metrics and log lines go out in the background, in batches."""

    def __init__(self, claim: Claim, url: str, folder: Path) -> None:
        self.claim = claim
        self._patience = max(claim.lease_seconds, 60)
        self._transport = Transport(url, claim.token, patience=self._patience)
        # For what a run can do without while the store is away, and goes on beside: samples and checkpoints.
        self._optional = Transport(url, claim.token, patience=self._patience)
        self._courier = Courier()
        self._last_save: threading.Event | None = None
        self._files = Files(self._transport, quiet=True)
        self._cache = folder / "cache"
        self.made = folder / "made"  # what this worker made of versions, kept for jobs to come
        self.scratch = scratch_folder(folder, claim)
        self._home = f"/api/v1/jobs/{claim.id}"
        self.orders = Orders()
        self._stopped_early = False
        self._lock = threading.Lock()  # around what is gathered
        self._sending = threading.Lock()  # around what is sent: a line goes out once
        self._points: dict[tuple[str, int], MetricPoint] = {}
        self._lines: list[LogLine] = []
        self._line_number = 0
        self._progress: Heartbeat | None = Heartbeat(state=JobState.RUNNING)
        self._beat_at = 0.0
        self._stop = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, name="flush", daemon=True)

    def __enter__(self) -> Self:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        self._flusher.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._flusher.join()
        shutil.rmtree(self.scratch, ignore_errors=True)

    # --- what it reads -----------------------------------------------------------------------

    def fetch(self, ref: str, kind: RepositoryKind) -> Path:
        """A version's files in the worker's cache, checked. A version fetched before costs no download."""
        one = parse_ref(ref, kind=kind)
        commit = self.version(one).commit
        return self._whatever_it_takes(lambda: self._files.pull(one.at(commit), cache=self._cache))

    def fetch_files(self, ref: str, kind: RepositoryKind, paths: list[str]) -> Path:
        """Some of a version's files, checked, in a folder of the job's own, which is the caller's to remove."""
        folder = self.scratch / "files"
        one = parse_ref(ref, kind=kind)
        commit = self.version(one).commit
        return self._files.pull(one.at(commit), target=folder, patterns=[glob.escape(path) for path in paths])

    def uploaded_picture(self, number: int) -> bytes:
        """One of the pictures that a prediction is about. Raises: SteelyardError."""

        def once() -> bytes:
            with self._transport.stream(f"{self._home}/pictures/{number}") as (_, chunks):
                return b"".join(chunks)

        return self.repeat(once)

    def files_to_inspect(self) -> list[FileToInspect]:
        """What nobody has looked into yet of the version that the job is about."""
        found = self._transport.call("GET", f"{self._home}/files-to-inspect")
        return [FileToInspect.model_validate(item) for item in found]

    def changed_tensors(self) -> list[TensorPair]:
        """What differs between the two versions that the job is about, and nobody has measured yet."""
        found = self._transport.call("GET", f"{self._home}/changed-tensors")
        return [TensorPair.model_validate(item) for item in found]

    def pinned(self, ref: str, kind: RepositoryKind) -> Ref:
        """The version by its commit, so that what is read of it piece by piece is all of one."""
        one = parse_ref(ref, kind=kind)
        return one.at(self.version(one).commit)

    @contextmanager
    def range_of(self, ref: Ref, path: str, start: int, end: int) -> Iterator[Iterator[bytes]]:
        """Bytes `start` to `end - 1` of a file. Raises: SteelyardError."""
        with self._transport.stream(of_file(ref, path), start=start, end=end) as (honoured, chunks):
            if not honoured:
                raise UnavailableError(f"The server sent all of {path} instead of a part.")
            yield chunks

    def repeat(self, attempt: Callable[[], Result]) -> Result:
        """Does it again while the server cannot be reached. Raises: SteelyardError."""
        return self._transport.repeat(attempt)

    def version(self, ref: Ref) -> Version:
        path = f"/api/v1/{ref.kind.plural}/{ref.repository}/versions/{quote(ref.revision_or_default, safe='')}"
        return self._transport.get(Version, path)

    # --- what it reports ---------------------------------------------------------------------

    def log(self, text: str) -> None:
        with self._lock:
            for line in text.splitlines() or [""]:
                self._lines.append(LogLine(number=self._line_number, text=line[:_LOG_LENGTH]))
                self._line_number += 1

    def metric(self, name: str, *, step: int, value: float) -> None:
        """A value that is no finite number (a diverged loss) is kept too: charts show a gap with a mark."""
        now = int(time.time() * 1000)
        with self._lock:
            self._points[name, step] = MetricPoint(name=name, step=step, value=value, timestamp=now)

    def sample(self, name: str, step: int, png: bytes) -> None:
        """A picture to show at `step`, such as predictions; the platform keeps a thousand of a job, 2 MB each at most.

        A refusal, or a store that is away, is told in the log: a training does not end for want of a picture.
        """
        self._courier.give(lambda: self._send_sample(name, step, png))

    def _send_sample(self, name: str, step: int, png: bytes) -> None:
        headers = {"Authorization": f"Bearer {self.claim.token}", "Content-Type": "image/png"}
        address = f"{self._transport.url}{self._home}/samples?{urlencode({'name': name, 'step': step})}"
        try:
            with self._doing_without():
                self._optional.exchange("POST", address, png, headers=headers)
        except (ConflictError, InvalidInputError, TooLargeError, UnavailableError) as error:
            self.log(f"The sample {name} of step {step} was not kept: {error}")

    def progress(self, share: float, message: str) -> None:
        """`share` from 0 to 1."""
        with self._lock:
            share = min(max(share, 0.0), 1.0)
            self._progress = Heartbeat(state=JobState.RUNNING, progress=share, message=message)

    # --- what it is told ---------------------------------------------------------------------

    def should_stop(self) -> bool:
        """Whether to end at this step and commit the best state; ask after each. The job's result will say so."""
        self._stopped_early = self._stopped_early or self.orders.stop
        return self.orders.stop

    def should_save(self) -> bool:
        """Whether the worker must leave: ask after each step, and save a checkpoint, which does not return then."""
        self.orders.is_asked = True
        return self.orders.leave

    def leave_once_saved(self) -> None:
        """For all ranks of a group, when one of them was told to leave."""
        self.orders.leave = True

    def evaluation(self, report: EvaluationReport) -> None:
        self._transport.call("POST", f"{self._home}/evaluations", body=report)

    def report_file(self, report: FileReport) -> None:
        """Compressed: the statistics of thousands of tensors are megabytes of text."""
        headers = {"Authorization": f"Bearer {self.claim.token}", "Content-Type": "application/octet-stream"}
        body = gzip.compress(report.model_dump_json().encode(), compresslevel=4)
        self._transport.exchange("POST", f"{self._transport.url}{self._home}/files", body, headers=headers)

    def report_changes(self, changes: list[TensorChange]) -> None:
        if changes:
            self._transport.call("POST", f"{self._home}/tensor-changes", body=TensorChangeBatch(changes=changes))

    def lineage(self, report: LineageReport) -> None:
        self._transport.call("POST", f"{self._home}/lineage", body=report)

    def begin_again(self, restarts: int) -> ResumePoint:
        """For the first process of a group that was started again within its attempt: where to go on.

        Its lines are numbered apart from those of the one before.
        """
        with self._lock:
            self._line_number = restarts * _LINES_PER_START
        return self._transport.post(ResumePoint, f"{self._home}/begin-again", {}, repeatable=True)

    # --- checkpoints -------------------------------------------------------------------------

    def save_checkpoint(self, path: Path, step: int) -> None:
        """Takes a training state after `step`, as the metrics count, and uploads it while the run goes on.

        It counts only once the platform has checked it. The one before is waited for: a run is never more than one
        behind. A store that cannot be reached costs the checkpoint, not the run.

        Args:
            path: a file of the session's from now on, which is removed once it is sent.
            step: the last one that the state knows of.

        Raises: JobLeftError once it is saved, when the worker must leave; what went wrong with the one before.
        """
        if self._last_save is not None:
            self._last_save.wait()
        self._last_save = self._courier.give(lambda: self._send_checkpoint(path, step))
        if self.orders.leave:
            self._courier.wait()
            raise JobLeftError

    def _send_checkpoint(self, path: Path, step: int) -> None:
        try:
            # What was reported up to here goes out before: nobody will report it again.
            self._flush()
            with self._doing_without():
                self._upload_checkpoint(path, step)
        except UnavailableError as error:
            self.log(f"The checkpoint of step {step} could not be saved, and the run goes on: {error}")
        finally:
            path.unlink(missing_ok=True)

    def _upload_checkpoint(self, path: Path, step: int) -> None:
        offer = CheckpointOffer(step=step, size=path.stat().st_size, sha256=_sha256_of_file(path))
        slot = self._optional.post(UploadSlot, f"{self._home}/checkpoints", offer, repeatable=True)
        self._optional.put_file(slot.url, path)
        self._optional.call("POST", f"{self._home}/checkpoints/complete", body=offer)

    @contextmanager
    def _doing_without(self) -> Iterator[None]:
        """A store that was waited for in vain is not waited for again until something came through to it."""
        try:
            yield
        except UnavailableError:
            self._optional.patience = 0
            raise
        self._optional.patience = self._patience

    def _whatever_it_takes(self, attempt: Callable[[], Result]) -> Result:
        """The worker's parent keeps the lease meanwhile, and hears of a cancellation. Raises: SteelyardError."""
        return self._transport.repeat(attempt, patience=_OUTAGE_SECONDS)

    def load_checkpoint(self) -> Path | None:
        """The state to resume from, downloaded and checked; None for a fresh start.

        Raises: DigestMismatchError when what arrived is not what was saved.
        """
        saved = self.claim.checkpoint
        if saved is None:
            return None
        return self._download("checkpoint", self.scratch / "resume", sha256=saved.sha256, size=saved.size)

    def paths_in(self, ref: str, kind: RepositoryKind) -> set[str]:
        """Of the files that are there. Raises: SteelyardError."""
        return self._whatever_it_takes(lambda: set(self._files.paths(parse_ref(ref, kind=kind))))

    def archive(self, spec: UnpackSpec) -> Path:
        """What the job is to unpack, downloaded and checked. Raises: SteelyardError."""
        return self._download("archive", self.scratch / "archive", sha256=spec.sha256, size=spec.size)

    def _download(self, what: str, path: Path, *, sha256: str, size: int) -> Path:
        def once() -> Path:
            with self._transport.stream(f"{self._home}/{what}") as (_, chunks), path.open("wb") as file:
                for chunk in checked(chunks, sha256=sha256, size=size, what=f"The {what}"):
                    file.write(chunk)
            return path

        return self._whatever_it_takes(once)

    # --- what it leaves ----------------------------------------------------------------------

    def commit(
        self,
        folder: Path,
        repository: str,
        *,
        kind: RepositoryKind = RepositoryKind.MODEL,
        branch: str = DEFAULT_REVISION,
        start: str | None = None,
        title: str,
    ) -> str:
        """Commits a folder as one version and returns its label. An earlier attempt's commit is not made again.

        Args:
            folder: its files become the version's.
            repository: namespace/name.
            kind: of the repository.
            branch: made, empty and standing on `start`, when it does not exist.
            start: the version a new branch comes from; None when it comes from nothing.
            title: the version's title.
        """
        self.orders.is_asked = False
        self._courier.wait()
        done = self._committed(repository, branch)
        if done is not None:
            return done.version
        with self._lock:
            self._progress = (self._progress or Heartbeat()).model_copy(update={"state": JobState.UPLOADING})
        self._flush()
        ref = parse_ref(repository, kind=kind)
        if branch != DEFAULT_REVISION:
            self._make_branch(ref, branch, start)
        commit = self._whatever_it_takes(lambda: self._files.push(folder, ref.at(branch), message=title))
        return self.version(ref.at(commit)).version

    def _committed(self, repository: str, branch: str) -> CommittedVersion | None:
        wanted = (repository, branch)
        return next((one for one in self.claim.committed if (one.repository, one.branch) == wanted), None)

    def _make_branch(self, ref: Ref, branch: str, start: str | None) -> None:
        body = {"name": branch, "start": start, "empty": True}
        try:
            self._transport.call("POST", f"/api/v1/{ref.kind.plural}/{ref.repository}/branches", body=body)
        except AlreadyExistsError:
            return

    def finish(self, result: dict[str, Any]) -> None:
        told = {STOPPED_EARLY: True} if self._stopped_early else {}
        self._end(Finish(state=JobState.SUCCEEDED, result={**result, **told}))

    def fail(self, error: str, *, retryable: bool) -> None:
        with suppress(SteelyardError, OSError):  # one fault is enough to tell
            self._courier.wait()
        self._end(Finish(state=JobState.FAILED, error=error[:4000], retryable=retryable))

    def _end(self, finish: Finish) -> None:
        self._courier.wait()
        self._stop.set()
        self._flusher.join()
        self._flush()
        self._transport.call("POST", f"{self._home}/finish", body=finish)

    # --- the background ----------------------------------------------------------------------

    def _flush_regularly(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            try:
                self._flush()
            except SteelyardError:
                # The points stay in the buffer for the next try; the parent deals with a lost lease.
                time.sleep(_FLUSH_SECONDS)

    def _flush(self) -> None:
        """Sends what has gathered. What could not be sent is kept; the platform takes a repeat for the same."""
        with self._sending:
            self._send()

    def _send(self) -> None:
        with self._lock:
            points, lines, beat = list(self._points.values()), list(self._lines), self._progress
        for start in range(0, len(points), _BATCH_POINTS):
            batch = points[start : start + _BATCH_POINTS]
            self._transport.call("POST", f"{self._home}/metric-points", body=MetricBatch(points=batch))
        for start in range(0, len(lines), _BATCH_LINES):
            self._transport.call(
                "POST", f"{self._home}/log-lines", body=LogBatch(lines=lines[start : start + _BATCH_LINES])
            )
        if beat is not None or time.monotonic() >= self._beat_at:
            self._beat(beat or Heartbeat())
        with self._lock:
            for point in points:
                if self._points.get((point.name, point.step)) is point:
                    del self._points[point.name, point.step]
            del self._lines[: len(lines)]
            self._progress = None if self._progress is beat else self._progress

    def _beat(self, beat: Heartbeat) -> None:
        """The supervisor renews the lease; this process asks as well, to hear whether it should stop."""
        self._beat_at = time.monotonic() + self.claim.heartbeat_seconds
        answer = self._transport.post(HeartbeatAnswer, f"{self._home}/heartbeat", beat, repeatable=True)
        self.orders.stop = self.orders.stop or answer.stop


def scratch_folder(folder: Path, claim: Claim) -> Path:
    """A folder of the attempt's own: a child that outlived its lease must not write into the next one's."""
    return folder / "jobs" / f"{claim.id}-{claim.attempt}"


def environment_of(**versions: str) -> dict[str, str]:
    """What a measure was taken on: the processor, its vector instructions, and the versions that matter."""
    return {
        "machine": platform.machine(),
        "instructions": _instruction_set(),
        "cores": str(os.cpu_count()),
        **versions,
    }


def _instruction_set() -> str:
    """The vector extensions that change what integer kernels compute (Linux; elsewhere: unknown)."""
    wanted = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm"]
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return " ".join(flag for flag in wanted if flag in line.split()) or "baseline"


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
