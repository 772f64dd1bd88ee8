"""A Hub's repository as the source of an import: its commits are versions, its ids and tags are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from steelyard.handover.hub import Hub
from steelyard.handover.source import SourceGoneError
from steelyard_contracts.errors import ForbiddenError, InvalidInputError

THEN = datetime(2020, 1, 1, tzinfo=UTC)
IDS = ["a" * 40, "b" * 40, "c" * 40]
TREES = {
    IDS[0]: {},
    IDS[1]: {"README.md": "# one"},
    IDS[2]: {"README.md": "# two", "w.safetensors": "weights"},
}


class Api:
    """What an import asks of the Hub's client."""

    def list_repo_commits(self, name, *, repo_type):
        assert (name, repo_type) == ("grace/net", "model")
        return [
            SimpleNamespace(
                commit_id=IDS[number],
                title=f"commit {number}",
                message="words",
                authors=["grace"],
                created_at=THEN + timedelta(days=number),
            )
            for number in (2, 1, 0)
        ]

    def list_repo_refs(self, name, *, repo_type):
        return SimpleNamespace(
            tags=[SimpleNamespace(name="paper", target_commit=IDS[1])],
            branches=[SimpleNamespace(name="main"), SimpleNamespace(name="try")],
        )

    def list_repo_tree(self, name, *, recursive, revision, repo_type):
        yield SimpleNamespace(path="folder")
        for path in TREES[revision]:
            lfs = SimpleNamespace(sha256="d" * 64) if path.endswith("safetensors") else None
            yield SimpleNamespace(path=path, blob_id="e" * 40, lfs=lfs)

    def hf_hub_download(self, name, path, *, repo_type, revision, local_dir):
        target = local_dir / path
        target.write_text(TREES[revision][path])
        return str(target)


def test_each_commit_that_holds_anything_is_a_version_with_its_id_date_and_words(tmp_path):
    (found,) = Hub("grace/net", api=Api()).repositories()
    assert [(one.commit, one.title, one.author) for one in found.versions] == [
        (IDS[1], "commit 1", "grace"),
        (IDS[2], "commit 2", "grace"),
    ]
    assert found.created_at == THEN + timedelta(days=1)
    assert found.tags == [{"name": "paper", "version": IDS[1], "message": ""}]
    assert found.faults == ["other branches than main do not come: try"]
    tree = found.versions[1].tree()
    assert tree["w.safetensors"].sha256 == "d" * 64
    assert tree["README.md"].fetch(tmp_path).read_text() == "# two"


def test_the_newest_state_can_come_alone():
    (found,) = Hub("grace/net", api=Api(), newest_only=True).repositories()
    assert [one.commit for one in found.versions] == [IDS[2]]


@pytest.mark.parametrize("name", ["net", "grace/", "datasets/grace", "a/b/c"])
def test_what_names_no_repository_is_said(name):
    if name == "datasets/grace":  # an owner may be called so
        assert str(Hub(name, api=Api())._ref) == "datasets/grace"
        return
    with pytest.raises(InvalidInputError, match="no repository of a Hub"):
        Hub(name, api=Api())


def test_what_the_hub_does_not_give_costs_that_version_alone(tmp_path):
    class Refusing(Api):
        def hf_hub_download(self, name, path, *, repo_type, revision, local_dir):
            if revision == IDS[1]:
                raise ForbiddenError("It is in quarantine.")
            return super().hf_hub_download(name, path, repo_type=repo_type, revision=revision, local_dir=local_dir)

    (found,) = Hub("grace/net", api=Refusing()).repositories()
    first, second = (version.tree()["README.md"] for version in found.versions)
    with pytest.raises(SourceGoneError, match="It is in quarantine"):
        first.fetch(tmp_path)
    assert second.fetch(tmp_path).read_text() == "# two"
