"""git with LFS and a bare repository in a folder as its remote: `git add`, `git commit`, `git push`, `git pull`."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.transfer.peer import Command, Place, prepare
from tests.support.environments import NotInstalledError


class GitLFS:
    name = "git-lfs"

    def __init__(self, place: Place) -> None:
        self.place = place
        self._pusher, self._puller = place.folder / "pusher", place.folder / "puller"

    def start(self) -> None:
        if shutil.which("git-lfs") is None:
            raise NotInstalledError("git-lfs is not on the PATH (a package of most distributions)")
        self._pusher.mkdir(parents=True)
        options = {"user.name": "bench", "user.email": "bench@localhost", "lfs.locksverify": "false", "gc.auto": "0"}
        for name, value in options.items():
            prepare(self._git("config", "--global", name, value))
        prepare(self._git("lfs", "install", "--skip-repo"))
        prepare(self._git("init", "--quiet", "--bare", "--initial-branch", "main", str(self.stored())))
        prepare(self._git("init", "--quiet", "--initial-branch", "main"))
        prepare(self._git("remote", "add", "origin", f"file://{self.stored()}"))
        prepare(self._git("lfs", "track", "*.safetensors", "*.pt"))

    def version(self) -> Command:
        return self._git("lfs", "version")

    def push(self) -> list[Command]:
        return [
            self._git("add", "--all"),
            self._git("commit", "--quiet", "--message", "weights"),
            self._git("push", "--quiet", "origin", "main"),
        ]

    def pull(self) -> list[Command]:
        if self._puller.exists():
            return [self._git("-C", str(self._puller), "pull", "--quiet")]
        return [self._git("clone", "--quiet", f"file://{self.stored()}", str(self._puller))]

    def pulled(self) -> Path:
        return self._puller / "model"

    def stored(self) -> Path:
        return self.place.folder / "server"

    def received(self) -> Path:
        return self._puller / ".git"

    def _git(self, *arguments: str) -> Command:
        environment = {"GIT_CONFIG_GLOBAL": str(self.place.folder / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
        return Command(["git", *arguments], self._pusher, environment)
