"""A TCP relay that can be cut: what a network, a broker or a server does when it is away for a while."""

from __future__ import annotations

import contextlib
import socket
import threading

_BLOCK = 64 * 1024


class Switchboard:
    """Clients are given `port`, in place of the server's own, on this machine.

    `hold` stops forwarding and leaves every connection open, as a network does that drops packets; `cut` breaks all
    connections and refuses new ones, as a server does that has died; `mend` ends either.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._is_cut = False
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def hold(self) -> None:
        self._open.clear()

    def cut(self) -> None:
        self._is_cut = True
        self._break_all()

    def mend(self) -> None:
        self._is_cut = False
        self._open.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a closed socket alone does not wake who waits at it
        self._listener.close()
        self._open.set()
        self._break_all()

    def _break_all(self) -> None:
        with self._lock:
            broken, self._sockets = self._sockets, set()
        for one in broken:
            _shut(one)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_cut:
                    client.close()
                else:
                    threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._lock:
                self._sockets |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                self._open.wait()
                sink.sendall(block)
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
