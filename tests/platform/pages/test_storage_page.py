"""The storage pages: what is stored of what the reader may see, and nothing of others."""

from __future__ import annotations

import pytest

from steelyard_platform.storage.models import TransferReport
from tests.platform.hub.test_xet import CHUNKS, Uploader

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    uploader = Uploader(client)
    uploader.push("w.bin", *CHUNKS)
    uploader.push("again.bin", *CHUNKS)
    return uploader


def text(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_the_installation_the_namespace_and_the_repository_have_a_page(ada, client):
    client.force_login(ada.owner)
    team = ada.repository.team.name
    assert f'href="/storage/{team}"' in text(client, "/storage")
    assert f'href="/{ada.repository}/storage"' in text(client, f"/storage/{team}")
    for address in ("/storage", f"/storage/{team}", f"/{ada.repository}/storage"):
        assert "60.0 kB" in text(client, address)
        assert "2.0\N{MULTIPLICATION SIGN}" in text(client, address)


def test_others_see_nothing_of_it(ada, client):
    other = Uploader(client)
    client.force_login(other.owner)
    assert ada.repository.team.name not in text(client, "/storage")
    assert ada.repository.name not in text(client, f"/storage/{ada.repository.team}").replace(other.repository.name, "")
    assert client.get(f"/{ada.repository}/storage").status_code == 404


def test_transfers_are_added_up_and_nonsense_in_reports_counts_as_nothing(ada, client):
    for total, moved in ((1_000_000, 250_000), ("many", None), (10**400, -5)):
        metrics = {"total_bytes_completed": total, "transfer_bytes_completed": moved}
        TransferReport.objects.create(
            team=ada.repository.team,
            repository=ada.repository.pk,
            event="xet_upload_summary",
            client="",
            metrics=metrics,
        )
    client.force_login(ada.owner)
    shown = text(client, "/storage")
    assert "uploads" in shown
    assert "75 %" in shown


@pytest.mark.parametrize("page", ["99999999999999999999999", "²", "-1", "x"])
def test_a_page_that_is_none_shows_no_error(ada, client, page):
    client.force_login(ada.owner)
    text(client, f"/storage?page={page}")
