"""The agent: asks what to run, installs it, sees it work, and says so; or goes back, and says that.

    poll -> verify the signature -> fetch and check every byte -> known answers -> switch -> health -> report

The platform hears "healthy" only after the new release was seen to work. Whatever happens on the way, the
device runs a complete release: the new one, or the one it ran before.
"""

from __future__ import annotations

import logging
import platform
import shlex
import subprocess
import threading
from pathlib import Path

import onnxruntime

from steelyard.transport import Transport
from steelyard_contracts.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    SteelyardError,
    UnavailableError,
)
from steelyard_contracts.fleet import (
    EnrolAnswer,
    EnrolRequest,
    InstallReport,
    PollAnswer,
    PollRequest,
    ReleaseOffer,
)
from steelyard_edge.identity import Identity, load_identity, make_identity
from steelyard_edge.journal import Journal, Phase, Recovery, load_journal
from steelyard_edge.model import Classifier
from steelyard_edge.releases import Releases, verified_manifest

_log = logging.getLogger(__name__)
_API = "/api/device/v1"
_HEALTH_SECONDS = 60
_RETRY_SECONDS = 5.0


def enrol(folder: Path, *, url: str, token: str, name: str) -> EnrolAnswer:
    """Asks for a place with an enrolment token, and pins the platform's public key.

    Raises: the platform's errors; ConflictError when the key is not the one pinned before.
    """
    identity = make_identity(folder, url=url, name=name)
    request = EnrolRequest(name=name, key=identity.key, info=_info())
    answer = Transport(url, token).post(EnrolAnswer, f"{_API}/enrol", request, repeatable=True)
    if identity.public_key and identity.public_key != answer.public_key:
        raise ConflictError(f"{url} signs with another key than the one this device trusts. Enrol into a fresh folder.")
    identity.model_copy(update={"public_key": answer.public_key}).save(folder)
    return answer


class Agent:
    """One device. `health_command` is run after a switch; any status but 0 means the release does not work here."""

    def __init__(self, folder: Path, *, health_command: str = "") -> None:
        self.folder = folder
        self.identity: Identity = load_identity(folder)
        self.releases = Releases(folder)
        self.transport = Transport(self.identity.url, self.identity.key)
        self.health_command = health_command

    def run(self, stop: threading.Event) -> None:
        """Until told to stop. Raises: AuthenticationError when the platform refuses the device's key."""
        while not stop.is_set():
            try:
                self.recover()
                stop.wait(self.step())
            except AuthenticationError:
                raise
            except (SteelyardError, OSError, ValueError) as error:
                # A proxy's error page, a full disk, a network that is not up yet: all of it may pass.
                _log.warning("%s", error)
                stop.wait(_RETRY_SECONDS)

    def step(self) -> float:
        """One round; returns the seconds to the next. A network that is down is waited out."""
        try:
            self._report_if_due()
            request = PollRequest(running=self.releases.running, info=_info())
            answer = self.transport.post(PollAnswer, f"{_API}/poll", request, repeatable=True)
            if answer.offer is not None:
                self.install(answer.offer)
        except UnavailableError as error:
            _log.warning("%s", error)
            return _RETRY_SECONDS
        except AuthenticationError as error:
            raise AuthenticationError(
                "The platform refuses this device's key: it was revoked. What the device runs, it goes on running."
            ) from error
        return answer.poll_seconds

    def recover(self) -> None:
        """Ends what a power cut interrupted."""
        journal = load_journal(self.folder)
        if journal is None:
            return
        match journal.recovery:
            case Recovery.NOTHING | Recovery.REPORT:
                return  # `step` reports
            case Recovery.CHECK:
                _log.info(
                    "the device stopped before release %s was seen to work; checking it now",
                    journal.digest[:12],
                )
                self._confirm(journal)

    def install(self, offer: ReleaseOffer) -> None:
        """From an offer to `healthy`, `rolled_back` or `failed`. Raises: UnavailableError to go on later."""
        journal = Journal(
            release=offer.release, digest=offer.digest, previous=self._previous(offer), phase=Phase.FETCHING
        )
        try:
            manifest = verified_manifest(offer, self.identity.public_key)
            journal.save(self.folder)
            self._report(journal)
            self.releases.fetch(self.transport, offer.release, manifest)
            detail = Classifier(self.releases.path(offer.digest)).check()
        except (UnavailableError, AuthenticationError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a release, the device lives on and says so
            _log.error("release %s failed: %s", offer.digest[:12], error)
            self._end(journal, Phase.FAILED, str(error))
            return
        switched = journal.model_copy(update={"phase": Phase.SWITCHED, "detail": detail})
        switched.save(self.folder)  # before the switch: a power cut between the two is undone as well
        self.releases.switch(offer.digest)
        self._confirm(switched)

    def _previous(self, offer: ReleaseOffer) -> str | None:
        running = self.releases.running
        if running != offer.digest:
            return running
        journal = load_journal(self.folder)
        return journal.previous if journal else None

    def _confirm(self, journal: Journal) -> None:
        """Sees the switched release work, or goes back."""
        try:
            if self.releases.running != journal.digest:
                self.releases.switch(journal.digest)
            current = self.releases.path(journal.digest)
            detail = Classifier(current).check()
            self._check_health(current)
        except Exception as error:  # noqa: BLE001 - as above: any failure after the switch means going back
            self.releases.switch(journal.previous)
            was = journal.previous[:12] if journal.previous else "nothing"
            _log.error("release %s does not work here, back to %s: %s", journal.digest[:12], was, error)
            self._end(journal, Phase.ROLLED_BACK, f"{error} Back to {was}.")
        else:
            _log.info("release %s works: %s", journal.digest[:12], detail)
            self._end(journal, Phase.HEALTHY, detail)

    def _check_health(self, current: Path) -> None:
        """Raises: SteelyardError when the operator's own check says no."""
        if not self.health_command:
            return
        command = [*shlex.split(self.health_command), str(current)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_HEALTH_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SteelyardError(f"The health check could not run: {error}.") from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise SteelyardError(f"The health check failed: {said[-1] if said else f'status {done.returncode}'}.")

    def _end(self, journal: Journal, phase: Phase, detail: str) -> None:
        ended = journal.model_copy(update={"phase": phase, "detail": detail})
        ended.save(self.folder)
        self.releases.prune(keep={self.releases.running, journal.previous})
        self._report_if_due()

    def _report_if_due(self) -> None:
        journal = load_journal(self.folder)
        if journal is None or journal.recovery is not Recovery.REPORT:
            return
        self._report(journal)
        journal.model_copy(update={"is_reported": True}).save(self.folder)

    def _report(self, journal: Journal) -> None:
        report = InstallReport(
            release=journal.release,
            state=journal.report_state,
            running=self.releases.running,
            detail=journal.detail[:2000],
        )
        try:
            self.transport.call("POST", f"{_API}/report", body=report)
        except (ConflictError, NotFoundError) as error:
            _log.warning("the platform does not want this report: %s", error)


def _info() -> dict[str, str]:
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }
