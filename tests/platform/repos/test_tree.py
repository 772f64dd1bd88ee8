"""Looking into a version, a page at a time."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import EntryNotFoundError
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Entry
from tests.support.factories import commit_files, make_repository, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def version():
    owner = make_user()
    repository = make_repository(make_team(owner), owner)
    files = {"README.md": b"#", "Z": b"z", "a/1": b"1", "a/2": b"2", "a/b/3": b"3", "a-b": b"4", "c/d/e": b"5"}
    return commit_files(repository, owner, files)


def walk(version, **options):
    found, after = [], ""
    while True:
        items, following = tree.page_of_tree(version, after=after, limit=2, **options)
        found += [item.path + ("" if isinstance(item, Entry) else "/") for item in items]
        assert sum(isinstance(item, Entry) for item in items) <= 2
        assert len(items) <= 2 or options.get("recursive")
        if following is None:
            return found
        after = following


def test_a_folder_lists_files_and_folders_in_byte_order(version):
    assert walk(version) == ["README.md", "Z", "a-b", "a/", "c/"]
    assert walk(version, folder="a") == ["a/1", "a/2", "a/b/"]


def test_recursively_it_lists_everything_and_each_folder_once_on_whatever_page(version):
    everything = ["README.md", "Z", "a-b", "a/", "a/1", "a/2", "a/b/", "a/b/3", "c/", "c/d/", "c/d/e"]
    assert walk(version, recursive=True) == everything
    assert walk(version, folder="a", recursive=True) == ["a/1", "a/2", "a/b/", "a/b/3"]


def test_a_folder_that_is_not_there_is_said_to_be(version):
    with pytest.raises(EntryNotFoundError, match="There is no folder 'b'"):
        tree.page_of_tree(version, folder="b")


def test_a_name_with_a_wildcard_is_only_a_name(version):
    with pytest.raises(EntryNotFoundError):
        tree.page_of_tree(version, folder="_")
