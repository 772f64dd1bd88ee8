"""The SDK and pictures for end-to-end tests."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import steelyard


@pytest.fixture
def hub(installation):
    with steelyard.connect(installation.url, installation.token, quiet=True) as client:
        yield client


def write_stripes(root, labels=("across", "down"), count=10):
    """A dataset in ImageFolder layout that a small network learns in seconds."""
    generator = np.random.default_rng(0)
    for split in ("train", "validation"):
        for label in labels:
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                picture = generator.integers(0, 60, (16, 16)).astype("uint8")
                if label == "across":
                    picture[::4] += 190
                else:
                    picture[:, ::4] += 190
                Image.fromarray(picture).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "data")


@pytest.fixture(scope="session")
def dataset(installation, stripes):
    """The stripes, pushed: `lab/stripes`."""
    with steelyard.connect(installation.url, installation.token, quiet=True) as client:
        client.push(stripes, "datasets:/lab/stripes")
    return "lab/stripes"


SMALL = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}


@pytest.fixture(scope="session")
def quick():
    """Fields of a training that takes a moment."""
    return {"architecture": SMALL, "image_size": 16, "epochs": 2, "batch_size": 8}
