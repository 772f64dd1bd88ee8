"""DVC with a folder as its remote: `dvc add`, `dvc push`, `dvc pull`."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.transfer.peer import Command, Place, prepare, program_of

PACKAGE = "dvc==3.67.1"


class DVC:
    name = "dvc"

    def __init__(self, place: Place) -> None:
        self.place = place
        self._pusher, self._puller = place.folder / "pusher", place.folder / "puller"

    def start(self) -> None:
        self.stored().mkdir(parents=True)
        for workspace in (self._pusher, self._puller):
            workspace.mkdir(parents=True)
            prepare(self._dvc(workspace, "init", "--no-scm", "--quiet"))
            prepare(self._dvc(workspace, "remote", "add", "--default", "--quiet", "store", str(self.stored())))

    def version(self) -> Command:
        return self._dvc(self._pusher, "--version")

    def push(self) -> list[Command]:
        return [self._dvc(self._pusher, "add", "model"), self._dvc(self._pusher, "push")]

    def pull(self) -> list[Command]:
        # What a user would get by git.
        shutil.copy(self._pusher / "model.dvc", self._puller)
        return [self._dvc(self._puller, "pull")]

    def pulled(self) -> Path:
        return self._puller / "model"

    def stored(self) -> Path:
        return self.place.folder / "server"

    def received(self) -> Path:
        return self._puller / ".dvc" / "cache"

    def _dvc(self, workspace: Path, *arguments: str) -> Command:
        state = str(self.place.folder / f"state-{workspace.name}")
        environment = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": state, "DVC_GLOBAL_CONFIG_DIR": state}
        return Command([program_of(PACKAGE, "dvc"), *arguments], workspace, environment)
