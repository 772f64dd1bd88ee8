"""The threads that send what a run says while it trains. The training never waits for them.

While the server is away they try again, more and more seldom; what a token may not do ends them with one warning, and
everything they had not sent stays in the run's folder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from steelyard.client import Client
from steelyard.tracking.delivery import Delivery, is_passing
from steelyard.tracking.spool import Spool
from steelyard_contracts.tracking import RunAnswer

_EVERY = 1.0  # seconds between two requests while there is something to say
_WHEN_CLOSING = 0.1
_BEAT = 30.0  # seconds of silence after which a sign of life is due
_LONGEST_PAUSE = 30.0
_AT_THE_END, _WHEN_AWAY = 30.0, 5.0  # seconds that an end waits; for a server that was away already

Say = Callable[[str], None]


class Sender:
    """One thread for what is said, and one more for versions as soon as there is any.

    Args:
        spool: of the run.
        connect: makes a client; each thread has one of its own.
        say: shows a sentence to the person who trains.
    """

    def __init__(self, spool: Spool, connect: Callable[[], Client], *, say: Say) -> None:
        self.answer = RunAnswer(cancel=False)
        self.has_ended = False
        self._spool, self._connect, self._say = spool, connect, say
        self._wake, self._closing = threading.Event(), threading.Event()
        self._was_refused = self._is_away = False
        self._client = connect()
        self.delivery = Delivery(spool, self._client, heard=self._hear, refused=self._warn_of_refusal)
        self._thread = threading.Thread(target=self._run, name="steelyard run", daemon=True)
        self._uploads: threading.Thread | None = None
        self._uploads_wake = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def abandon(self) -> None:
        """Instead of a start, for a run that the server refused."""
        self._client.close()

    def upload_soon(self) -> None:
        if self._uploads is None:
            self._uploads = threading.Thread(target=self._upload, name="steelyard saves", daemon=True)
            self._uploads.start()
        self._uploads_wake.set()

    def close(self, patience: float | None) -> bool:
        """Waits until everything was sent, the end included, or the patience is over. Whether it was.

        None: half a minute, and less for a server that was away already.
        """
        self._closing.set()
        self._wake.set()
        self._uploads_wake.set()
        if self._thread.is_alive():
            usual = _WHEN_AWAY if self._is_away else _AT_THE_END
            self._thread.join(usual if patience is None else patience)
        if self._thread.is_alive() and self.delivery.saves and not self._is_away:
            self._say("versions are still being sent; Ctrl-C leaves them to `steelyard sync`.")
        while self._thread.is_alive() and self.delivery.saves and not self._is_away:
            self._thread.join(_EVERY)
        return self.delivery.is_finished

    # --- the thread for what is said -----------------------------------------------------------

    def _run(self) -> None:
        pause, heard_at = _EVERY, time.monotonic()
        while not self.has_ended:
            self._wake.wait(self._shortened(pause))
            self._wake.clear()
            try:
                self.delivery.begin()
                while self.delivery.send():
                    heard_at = time.monotonic()
                    if self.delivery.has_caught_up and not self._closing.is_set():
                        break
                if time.monotonic() - heard_at > _BEAT and not self.delivery.is_finished:
                    self.delivery.beat()
                    heard_at = time.monotonic()
                pause, self._is_away = _EVERY, False
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                pause = min(pause * 2, _LONGEST_PAUSE)
                self._note_failure(error)
            self.has_ended = self.has_ended or self.delivery.is_finished
        self._client.close()
        self._uploads_wake.set()

    def _shortened(self, pause: float) -> float:
        """Somebody waits for the end."""
        if not self._closing.is_set():
            return pause
        return min(pause, _EVERY if self._is_away else _WHEN_CLOSING)

    def _note_failure(self, error: Exception) -> None:
        if not is_passing(error):
            self.has_ended = True
            self._say(f"nothing more is sent: {error} The run is kept in {self._spool.folder}; see `steelyard sync`.")
        elif not self._is_away:
            self._is_away = True
            self._say(f"{error} The run goes on, and is sent when the server is back.")

    def _hear(self, answer: RunAnswer) -> None:
        self.answer = answer

    def _warn_of_refusal(self, sentence: str) -> None:
        if not self._was_refused:
            self._was_refused = True
            self._say(f"{sentence} What was refused is kept in {self._spool.folder}.")

    # --- the thread for versions ---------------------------------------------------------------

    def _upload(self) -> None:
        pause = _EVERY
        with self._connect() as client:
            while not self.has_ended:
                self._uploads_wake.wait(pause)
                self._uploads_wake.clear()
                try:
                    self._upload_all(client)
                    pause = _EVERY
                except Exception as error:  # noqa: BLE001 - as above
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    self._note_failure(error)

    def _upload_all(self, client: Client) -> None:
        saves: list[Path] = self.delivery.saves
        if self.delivery.sent.run:
            for save in saves:
                version = self.delivery.upload(save, client)
                if version:
                    self._say(f"saved {version}")
            if saves:
                self._wake.set()
