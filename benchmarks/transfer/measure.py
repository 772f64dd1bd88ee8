"""What a step costs: the kernel's own accounts of the processes, and a relay that counts bytes.

Linux only: servers are looked at through /proc. A client's figures are those of its whole tree of processes, its peak
that of the largest one. The relay costs time, so that the steps which are counted are never those which are timed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.transfer.peer import Command, Server, inherited

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS, _LONGEST_SETTLING = 0.5, 15.0
_BUFFER = 1 << 18
_TOO_LONG = 1800.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and bytes; None where there is nothing to measure: a folder has no processor."""

    wall: float
    client_cpu: float
    client_peak: int
    server_cpu: float | None = None
    web_peak: int | None = None
    moved: int | None = None
    stored: int | None = None


def timed(commands: list[Command], server: Server | None, log: Path) -> Cost:
    """Runs the commands one after another; what the server does afterwards because of them is counted as theirs."""
    os.sync()  # what another contestant has left unwritten is not written at this one's expense
    if server:
        reset_peaks(server)
    before = server_seconds(server) if server else 0.0
    wall, client_cpu, client_peak = 0.0, 0.0, 0
    for command in commands:
        seconds, cpu, peak = _run(command, log)
        wall, client_cpu, client_peak = wall + seconds, client_cpu + cpu, max(client_peak, peak)
    if server is None:
        return Cost(wall, client_cpu, client_peak)
    return Cost(wall, client_cpu, client_peak, settled_seconds(server) - before, web_peak(server))


def _run(command: Command, log: Path) -> tuple[float, float, int]:
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env={**inherited(), **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        watchdog = threading.Timer(_TOO_LONG, process.kill)
        watchdog.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command.arguments} ended with {process.returncode}:\n{log.read_text()[-4000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


# --- servers -------------------------------------------------------------------------------------


def tree(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for process, fields in _processes():
        children.setdefault(int(fields[1]), []).append(process)
    found = [root]
    for process in found:
        found.extend(children.get(process, []))
    return found


def server_seconds(server: Server) -> float:
    """Of its whole tree, with the processes that have ended and been waited for."""
    members = set(tree(server.process.pid))
    ticks = sum(sum(map(int, fields[11:15])) for process, fields in _processes() if process in members)
    return ticks / _TICKS


def settled_seconds(server: Server) -> float:
    """Its processor time once it has come to rest, or near it."""
    deadline, last = time.monotonic() + _LONGEST_SETTLING, server_seconds(server)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        now = server_seconds(server)
        if now - last < _LOOK_SECONDS / 10:
            return now
        last = now
    return last


def reset_peaks(server: Server) -> None:
    for process in tree(server.process.pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def web_peak(server: Server) -> int:
    """The most memory that any one process which answers requests has held."""
    return max(_peak(process) for process in tree(server.process.pid) if server.web in _command_line(process))


def _peak(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Each with the fields that follow its name, which may hold anything."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue


# --- bytes ---------------------------------------------------------------------------------------


def size(folder: Path) -> int:
    """Of what is kept in it: neither logs nor a database's journals."""
    total = 0
    for path in folder.rglob("*"):
        if not path.name.endswith((".log", "-wal", "-shm")):
            with contextlib.suppress(FileNotFoundError):  # a server at work moves its files
                found = path.lstat()
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


class Relay:
    """Stands between clients and a server and counts what passes, both ways, headers and all."""

    def __init__(self, port: int, target: int) -> None:
        self.count = 0
        self._target = target
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_BUFFER):
                with self._lock:
                    self.count += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one side has gone, so the other one goes
            for side in (source, target):
                side.close()
