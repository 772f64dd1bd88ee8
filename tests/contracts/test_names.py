"""Names and paths: what is allowed, and the sentence for what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard_contracts.errors import InvalidNameError, InvalidPathError
from steelyard_contracts.names import (
    check_file_path,
    check_namespace,
    check_reference_name,
    check_repository_name,
)


@pytest.mark.parametrize("name", ["reader", "Reader-2", "a", "a.b_c", "0x"])
def test_plain_names_are_taken(name):
    assert check_repository_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a--b", "a..b", "a/b", "a b", "é", "a" * 97, "x.git", "a\n"])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidNameError):
        check_repository_name(name)


@pytest.mark.parametrize("name", ["api", "Datasets", "login", "jobs"])
def test_a_reserved_namespace_is_refused_with_the_reason(name):
    with pytest.raises(InvalidNameError, match="is reserved for the platform"):
        check_namespace(name)


@pytest.mark.parametrize("name", ["main", "v1-onnx-int8", "feature/x", "from-scratch"])
def test_branches_may_have_segments(name):
    assert check_reference_name(name, "branch") == name


@pytest.mark.parametrize("name", ["v1", "a" * 40, "a//b", "/a", "a/", "..", "a b"])
def test_a_reference_cannot_look_like_a_version_or_leave_its_place(name):
    with pytest.raises(InvalidNameError):
        check_reference_name(name, "branch")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "is empty"),
        ("/etc/passwd", "begins with '/'"),
        ("a/../b", "'.' or '..'"),
        ("./a", "'.' or '..'"),
        ("a//b", "empty folder or file name"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\\b", "backslash"),
        (".git/config", "'.git'"),
        ("x" * 300, "too long"),
    ],
)
def test_a_bad_path_is_refused_with_its_reason(path, reason):
    with pytest.raises(InvalidPathError) as caught:
        check_file_path(path)
    assert reason in str(caught.value)


@given(st.text())
def test_whatever_path_is_taken_stays_inside_its_folder(path):
    try:
        check_file_path(path)
    except InvalidPathError:
        return
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))
