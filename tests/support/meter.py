"""A way to a server that counts what passes, and lets so much pass in a second: a plain TCP relay."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_BLOCK = 64 * 1024


class Meter:
    """Clients are given `url` in place of the server's own. `up` and `down` are bytes from and to clients so far."""

    def __init__(self, port: int, *, rate: int | None = None) -> None:
        self.up = self.down = 0
        self._port = port
        self._rate = rate
        self._lock = threading.Lock()
        self._due = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a closed socket alone does not wake who waits at it
        self._listener.close()

    @property
    def moved(self) -> int:
        return self.up + self.down

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            back.start()
            self._pump(client, server, True)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, is_up: bool) -> None:  # noqa: FBT001
        """Ends both ways together: half a connection is none to HTTP clients."""
        try:
            while block := source.recv(_BLOCK):
                self._pass_on(len(block), is_up)
                sink.sendall(block)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, count: int, is_up: bool) -> None:  # noqa: FBT001
        with self._lock:
            if is_up:
                self.up += count
            else:
                self.down += count
            if self._rate is None:
                return
            now = time.monotonic()
            self._due = max(self._due, now) + count / self._rate
            wait = self._due - now
        time.sleep(wait)
