"""A round leaves out who is not installed, and believes no pull that it has not compared."""

from __future__ import annotations

import sys

import pytest

from benchmarks.transfer.peer import Command
from benchmarks.transfer.rounds import SCENARIOS, STEPS, play
from tests.support.environments import NotInstalledError

_COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)"


class Folder:
    """Pushes and pulls by copying; no server."""

    name = "folder"

    def __init__(self, place):
        self.place = place

    def start(self):
        self.place.folder.mkdir()

    def version(self):
        return Command([sys.executable, "--version"], self.place.folder)

    def push(self):
        return [self._copy(self.place.outgoing, self.stored())]

    def pull(self):
        return [self._copy(self.stored(), self.pulled())]

    def pulled(self):
        return self.place.folder / "pulled"

    def stored(self):
        return self.place.folder / "stored"

    def received(self):
        return self.pulled()

    def _copy(self, source, target):
        return Command([sys.executable, "-c", _COPY, str(source), str(target)], self.place.folder)


class Damaging(Folder):
    name = "damaging"

    def pull(self):
        spoil = f"open({str(self.pulled() / 'model.safetensors')!r}, 'r+b').write(b'?')"
        return [*super().pull(), Command([sys.executable, "-c", spoil], self.place.folder)]


class Missing(Folder):
    name = "missing"

    def start(self):
        raise NotInstalledError("no such package")


@pytest.fixture
def weights(tmp_path):
    for scenario in SCENARIOS:
        (tmp_path / "weights" / scenario).mkdir(parents=True)
        (tmp_path / "weights" / scenario / "model.safetensors").write_bytes(scenario.encode() * 1000)
    return tmp_path / "weights"


def test_every_step_is_taken_by_all_who_are_there_and_the_others_are_named(weights, tmp_path):
    costs, absent = play([Missing, Folder], weights, tmp_path / "round", 0, counted=False)
    assert absent == ["missing: no such package"]
    assert list(costs) == ["folder"]
    assert list(costs["folder"]) == [step.key for step in STEPS]


def test_a_folder_moves_what_it_grows_by(weights, tmp_path):
    costs, _ = play([Folder], weights, tmp_path / "round", 0, counted=False)
    assert costs["folder"]["push base"].moved == 4000
    assert costs["folder"]["pull base"].moved == 4000


def test_a_pull_that_is_not_what_was_pushed_ends_the_run(weights, tmp_path):
    with pytest.raises(RuntimeError, match="is not what was pushed"):
        play([Damaging], weights, tmp_path / "round", 0, counted=False)
