"""`steelyard push` and `steelyard pull`, with an installation that `manage.py serve` starts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.transfer.peer import ROOT, Command, Place, Server, ours, prepare, start_server


class Steelyard:
    name = "steelyard"

    def __init__(self, place: Place) -> None:
        self.place = place
        self._token = ""

    def start(self) -> Server:
        var = self.place.folder / "server"
        settings = {"STEELYARD_VAR": str(var), "STEELYARD_ALLOWED_HOSTS": "127.0.0.1"}
        manage = [ours("python"), str(ROOT / "manage.py")]
        bootstrap = [*manage, "bootstrap", "--user", "ada", "--team", "lab", "--print-token"]
        self._token = prepare(Command(bootstrap, ROOT, settings)).strip().splitlines()[-1]
        # A compute worker takes no part in a transfer.
        serve = [*manage, "serve", "--port", str(self.place.server_port), "--without-compute"]
        health = f"http://127.0.0.1:{self.place.server_port}/healthz"
        server = start_server(Command(serve, var, settings), health, web="gunicorn")
        self.place.outgoing.mkdir(parents=True)
        (self.place.outgoing / "small.txt").write_text("warm")
        for command in self._upload("lab/warm", "warmer"):
            prepare(command)
        return server

    def version(self) -> Command:
        return Command([ours("steelyard"), "--version"], self.place.folder)

    def push(self) -> list[Command]:
        return self._upload("lab/net", "pusher")

    def pull(self) -> list[Command]:
        return [self._client("puller", ours("steelyard"), "pull", "lab/net", str(self.pulled()))]

    def pulled(self) -> Path:
        return self.place.folder / "puller" / "model"

    def stored(self) -> Path:
        return self.place.folder / "server"

    def received(self) -> None:
        return None

    def _upload(self, repository: str, machine: str) -> list[Command]:
        return [self._client(machine, ours("steelyard"), "push", str(self.place.outgoing), repository)]

    def _client(self, machine: str, *arguments: str) -> Command:
        """On a machine whose home is empty at first and kept from then on."""
        home = self.place.folder / machine
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            "HOME": str(home),
            "HF_HOME": str(home / "huggingface"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "STEELYARD_URL": self.place.url,
            "STEELYARD_TOKEN": self._token,
            "HF_ENDPOINT": self.place.url,
            "HF_TOKEN": self._token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        return Command(list(arguments), home, environment)
