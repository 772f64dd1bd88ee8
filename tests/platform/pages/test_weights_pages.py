"""The pages about what is inside weights."""

from __future__ import annotations

import pytest

from steelyard_contracts.weights import Finding, Severity
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.weights.inspection import record_report
from tests.platform.weights.test_inspection import report_of
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(team, owner):
    repository = make_repository(team, owner, "reader")
    version = commit_files(repository, owner, {"model.safetensors": b"weights", "README.md": b"# Hi"})
    found = Finding(
        severity=Severity.WARNING, code="not-finite", sentence="'head.w' holds <b>NaN</b>.", tensor="head.w"
    )
    tensors = {"net.a.w": 3_000_000, "net.b.w": 20, "head.w": 7}
    record_report(version=version, report=report_of(b"weights", tensors, findings=[found]), actor=actor_for_user(owner))
    return version


def test_a_version_shows_what_is_inside_and_what_is_wrong(client, version, owner):
    client.force_login(owner)
    text = client.get(f"/{version.repository}/versions/v1").content.decode()
    assert "<b>3 M</b>" in text
    assert "&#x27;head.w&#x27; holds &lt;b&gt;NaN" in text


def test_the_tree_of_tensors(client, version, owner):
    client.force_login(owner)
    home = f"/{version.repository}/versions/v1/tensors"
    top = client.get(home).content.decode()
    assert "net</a>" in top
    assert "head</a>" in top
    below = client.get(home, {"module": "net"}).content.decode()
    assert "net.a</a>" in below
    leaf = client.get(home, {"module": "net.b"}).content.decode()
    assert "net.b.w" in leaf
    assert "<svg" in leaf
    assert client.get(home, {"module": "nothing"}).status_code == 404
    for wrong in ("x", "9" * 30, "²"):
        assert client.get(home, {"after": wrong}).status_code == 400
        assert client.get(f"/{version.repository}/versions", {"before": wrong}).status_code == 200


def test_a_version_that_nobody_has_inspected_yet_says_so(client, team, owner):
    repository = make_repository(team, owner, "new")
    commit_files(repository, owner, {"model.safetensors": b"weights"})
    client.force_login(owner)
    assert "are being inspected: 0 of 1 files" in client.get(f"/{repository}/versions/v1").content.decode()
    assert (
        "No tensors are known of this version yet" in client.get(f"/{repository}/versions/v1/tensors").content.decode()
    )


def test_strangers_see_no_tensors(client, version):
    client.force_login(make_user())
    assert client.get(f"/{version.repository}/versions/v1/tensors").status_code == 404


def test_the_card_says_what_is_in_the_newest_version_and_what_is_wrong_with_it(client, version, owner):
    client.force_login(owner)
    home = f"/{version.repository}"
    text = client.get(home).content.decode()
    assert f'<a href="{home}/versions/v1/tensors">3 M</a>' in text
    assert "1 finding</span> in the files" in text
    danger = Finding(severity=Severity.DANGER, code="lying-header", sentence="It lies about its tensors.")
    record_report(version=version, report=report_of(b"weights", findings=[danger]), actor=actor_for_user(owner))
    assert "a file of it is dangerous" in client.get(home).content.decode()
    assert client.get(f"{home}/versions/v1").content.decode().count("It lies about its tensors.") == 1
