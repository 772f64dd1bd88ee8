"""From the folder of a run to the server, so that everything arrives once.

The server takes a start, a point, a line and an end twice as once; so whatever was perhaps not received is sent again,
and the note of how far that went only saves work.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from steelyard.client import Client
from steelyard.tracking.spool import FINISH, LINE, POINTS, SAMPLE, UPDATE, Place, Sent, Spool
from steelyard_contracts.errors import (
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
)
from steelyard_contracts.jobs import JobView
from steelyard_contracts.refs import parse_ref
from steelyard_contracts.tracking import RunAnswer

RUNS = "/api/v1/runs"
_MOST_POINTS, _MOST_LINES = 5_000, 1_000
# What no repetition helps: it is set aside, and the rest is sent.
_REFUSALS = (InvalidInputError, TooLargeError, ConflictError)


class Delivery:
    """Sends the events of one spool; `heard` is told each answer, `refused` each sentence of what was not taken."""

    def __init__(
        self,
        spool: Spool,
        client: Client,
        *,
        heard: Callable[[RunAnswer], None] = lambda _: None,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._spool, self._client, self._heard, self._refused = spool, client, heard, refused
        self.sent: Sent = spool.sent()
        # Whether the last events that were sent were all that had been written: what follows may gather for a while.
        self.has_caught_up = False

    @property
    def is_finished(self) -> bool:
        return self.sent.is_finished

    def begin(self) -> Sent:
        """Starts the run at the server, or has it go on; once. Raises: SteelyardError."""
        if not self.sent.run:
            about = self._spool.about()
            if resumed := about.get("resume"):
                body = {"key": resumed["key"], "environment": about["request"].get("environment", {})}
                view = self._post(JobView, f"/{resumed['run']}/resume", body)
            else:
                view = self._post(JobView, "", about["request"])
            name = view.run.name if view.run else ""
            self._note(replace(self.sent, run=str(view.id), attempt=view.attempt, name=name))
        return self.sent

    def send(self) -> bool:
        """The next events, up to a few thousand; False when there are none. Raises: SteelyardError."""
        start, found = self._spool.read(self.sent.place)
        points: list[bytes] = []
        lines: list[bytes] = []
        count, offset, single = 0, start.offset, None
        for line in found:
            kind, content = line[:1], line[1:-1]
            if not content.endswith(b"}"):
                pass  # a line that was torn, as by a full disk
            elif kind == POINTS:
                number, _, objects = content.partition(b" ")
                count += int(number)
                points.append(objects)
            elif kind == LINE:
                lines.append(content)
            elif points or lines:
                break  # what came before goes first
            else:
                single = (kind, content)
            offset += len(line)
            self.has_caught_up = line is found[-1] and single is None
            if single or count >= _MOST_POINTS or len(lines) >= _MOST_LINES:
                break
        behind = Place(start.segment, offset)
        if behind == self.sent.place:
            return False
        self._send_points(points)
        self._send_lines(lines)
        if single is not None and not self._send_single(*single):
            return False
        self._note(replace(self.sent, place=behind))
        return True

    def beat(self) -> None:
        """A sign of life, which hears whether the run is to end. Raises: SteelyardError."""
        self._send_points([b""])

    def finish(self, body: dict[str, Any]) -> None:
        """Raises: SteelyardError."""
        self._post(JobView, f"/{self.sent.run}/finish", {**body, "attempt": self.sent.attempt})
        self._note(replace(self.sent, is_finished=True))

    # --- versions ------------------------------------------------------------------------------

    @property
    def saves(self) -> list[Path]:
        """Versions that wait, the oldest first: `saves/000001.json` tells of the folder `saves/000001`."""
        return sorted((self._spool.folder / "saves").glob("*.json"))

    def upload(self, save: Path, client: Client | None = None) -> str:
        """Commits the folder to the run's project; its version, `team/shelf@v3`.

        What the server will never take is set aside, so that the run may end.

        Raises: SteelyardError.
        """
        one, said, folder = client or self._client, json.loads(save.read_text()), save.with_suffix("")
        try:
            project = str(self._project(one))
            commit = one.files.push(folder, parse_ref(project), message=said["message"])
            body = {"version": commit}
            view = one.transport.post(JobView, f"{RUNS}/{self.sent.run}/versions", body, repeatable=True)
        except _REFUSALS as error:
            save.replace(save.with_suffix(".refused"))
            self._refused(f"{said['message']} is no version: {error} The files are kept in {folder}.")
            return ""
        save.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        return str(view.result["version"])

    def _project(self, client: Client) -> str:
        view = client.transport.get(JobView, f"{RUNS}/{self.sent.run}")
        return view.run.project if view.run else ""

    # --- one request each ----------------------------------------------------------------------

    def _send_points(self, points: list[bytes]) -> None:
        if points:
            self._report("points", b'{"points":[' + b",".join(points) + b"]}")

    def _send_lines(self, lines: list[bytes]) -> None:
        if lines:
            attempt = str(self.sent.attempt).encode()
            self._report("lines", b'{"attempt":' + attempt + b',"lines":[' + b",".join(lines) + b"]}")

    def _send_single(self, kind: bytes, content: bytes) -> bool:
        """Whether it was dealt with: an end waits for the versions before it."""
        if kind == SAMPLE:
            self._send_sample(json.loads(content))
        elif kind == UPDATE:
            self._try(lambda: self._client.transport.send("PATCH", f"{RUNS}/{self.sent.run}", content), content)
        elif kind == FINISH:
            if self.saves:
                return False
            self.finish(json.loads(content))
        return True

    def _send_sample(self, said: dict[str, Any]) -> None:
        picture = self._spool.folder / "samples" / said["file"]
        if picture.exists():
            path = f"samples?name={quote(said['name'])}&step={said['step']}"
            self._report(path, picture.read_bytes(), "image/png")
            picture.unlink(missing_ok=True)

    def _report(self, path: str, body: bytes, content_type: str = "application/json") -> None:
        address = f"{RUNS}/{self.sent.run}/{path}"
        answer = self._try(lambda: self._client.transport.send("POST", address, body, content_type), body)
        if answer is not None:
            self._heard(RunAnswer.model_validate(answer))

    def _try(self, once: Callable[[], Any], body: bytes) -> Any:
        """None for what the server will never take: that is set aside. Raises: SteelyardError for all else."""
        try:
            return once()
        except _REFUSALS as error:
            with (self._spool.folder / "refused.jsonl").open("ab") as file:
                file.write(body + b"\n")
            self._refused(str(error))
            return None

    def _post(self, model: type[JobView], path: str, body: dict[str, Any]) -> JobView:
        return self._client.transport.post(model, f"{RUNS}{path}", body)

    def _note(self, sent: Sent) -> None:
        self.sent = sent
        self._spool.note_sent(sent)


def is_passing(error: Exception) -> bool:
    """Whether the same may go well later: the server or the network is away, or something broke there."""
    return not isinstance(error, (AuthenticationError, ForbiddenError, NotFoundError, *_REFUSALS))
