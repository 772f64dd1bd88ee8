"""Small pictures and a session that talks to nobody."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from steelyard_contracts.refs import RepositoryKind


class RecordingSession:
    """What a recipe needs of `JobSession`, kept in lists. Its checkpoints lie in a folder."""

    def __init__(self, scratch, datasets=None, checkpoint=None):
        self.scratch = scratch
        self.folders = datasets or {}
        self.checkpoint = checkpoint
        self.lines, self.points, self.saved, self.reports = [], {}, [], []
        self.die_after = None

    def fetch(self, ref, kind):
        assert isinstance(kind, RepositoryKind)
        return self.folders[ref.partition("@")[0]]

    def log(self, text):
        self.lines.append(text)

    def metric(self, name, *, step, value):
        self.points[name, step] = value

    def evaluation(self, report):
        self.reports.append(report)

    def progress(self, share, message):
        assert 0 <= share <= 1

    def should_stop(self):
        return False

    def leave_once_saved(self):
        self.leaves = True

    def should_save(self):
        return False

    def load_checkpoint(self):
        return self.checkpoint

    def save_checkpoint(self, path, step):
        kept = self.scratch / f"checkpoint-{step}"
        kept.write_bytes(path.read_bytes())
        self.saved.append(kept)
        if len(self.saved) == self.die_after:
            raise InterruptedError("killed")


@pytest.fixture
def session_in(tmp_path):
    def make(name="run", **options):
        folder = tmp_path / name
        folder.mkdir()
        return RecordingSession(folder, **options)

    return make


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A dataset of two kinds of stripes that any network tells apart, and a third label in `three`."""
    generator = np.random.default_rng(0)

    def write(root, labels, count):
        for split in ("train", "validation"):
            for label in labels:
                folder = root / split / label
                folder.mkdir(parents=True)
                for number in range(count):
                    noise = generator.integers(0, 60, (16, 16))
                    stripes = np.zeros((16, 16))
                    if label == "across":
                        stripes[::4] = 190
                    elif label == "down":
                        stripes[:, ::4] = 190
                    Image.fromarray((noise + stripes).astype("uint8")).save(folder / f"{number}.png")
        return root

    root = tmp_path_factory.mktemp("pictures")
    return {
        "lab/two": write(root / "two", ["across", "down"], 12),
        "lab/three": write(root / "three", ["across", "down", "plain"], 8),
    }
