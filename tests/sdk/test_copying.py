"""Copying runs of bytes between files, with the kernel's help or without it."""

from __future__ import annotations

import os

import pytest

from steelyard.transfer.copying import Run, copy_runs, joined


def test_neighbours_are_joined_as_far_as_both_sides_go_on():
    runs = [Run(0, 10, 100), Run(10, 20, 110), Run(20, 30, 300), Run(40, 50, 310)]
    assert joined(runs) == [Run(0, 20, 100), Run(20, 30, 300), Run(40, 50, 310)]


@pytest.mark.parametrize("by_kernel", [True, False])
def test_bytes_come_to_stand_where_they_belong(tmp_path, monkeypatch, by_kernel):
    if not by_kernel:

        def refuses(*_):
            raise OSError("Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuses, raising=False)
    (tmp_path / "old").write_bytes(b"abcdefghij")
    (tmp_path / "new").write_bytes(b"..........")
    with (tmp_path / "old").open("rb") as source, (tmp_path / "new").open("r+b") as target:
        copy_runs(source.fileno(), target.fileno(), [Run(0, 3, 7), Run(5, 8, 0)])
    assert (tmp_path / "new").read_bytes() == b"fgh....abc"


def test_a_source_that_became_shorter_is_an_error(tmp_path):
    (tmp_path / "old").write_bytes(b"abc")
    with (
        (tmp_path / "old").open("rb") as source,
        (tmp_path / "new").open("w+b") as target,
        pytest.raises(OSError, match="shorter"),
    ):
        copy_runs(source.fileno(), target.fileno(), [Run(0, 10, 0)])
