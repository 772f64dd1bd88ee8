"""To Hub clients what is in the trash does not exist: no list, no address, no token that was given before."""

from __future__ import annotations

import pytest

from steelyard_contracts.xet.hashes import to_text
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services
from steelyard_platform.repos.models import TrashItem
from steelyard_platform.repos.restoring import restore
from steelyard_platform.repos.revisions import resolve
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader, content

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    return Uploader(client)


def get(uploader, path):
    return uploader.client.get(path, HTTP_AUTHORIZATION=f"Bearer {uploader.hub_token}")


def bring_back(uploader):
    item = TrashItem.objects.select_related("repository__team").get()
    restore(item=item, actor=actor_for_user(uploader.owner))


def store_address(told):
    return told.headers["X-Xet-Cas-Url"].removeprefix("http://testserver"), told.headers["X-Xet-Access-Token"]


def test_a_deleted_repository_answers_to_nothing(ada):
    record = ada.push("w.bin", *CHUNKS)
    told = store_address(ada.token("read"))
    services.delete_repository(repository=ada.repository, actor=actor_for_user(ada.owner))
    name = f"{ada.repository}"
    for path in (
        f"/api/models/{name}",
        f"/api/models/{name}/refs",
        f"/api/models/{name}/tree/main",
        f"/api/models/{name}/commits/main",
        f"/api/models/{name}/xet-read-token/main",
        f"/{name}/resolve/main/w.bin",
    ):
        answer = get(ada, path)
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")
    assert get(ada, f"/api/models?author={ada.repository.team}").json() == []
    assert reconstruction(ada, told, record).status_code == 404
    bring_back(ada)
    assert content(get(ada, f"/{name}/resolve/main/w.bin")) == WHOLE
    assert reconstruction(ada, told, record).status_code == 200


def test_a_deleted_version_answers_to_nothing(ada):
    record = ada.push("w.bin", *CHUNKS)
    first = resolve(ada.repository, "v1").version
    assert first is not None
    ada.push("w.bin", b"another" * 1000)
    told = store_address(ada.token("read"))
    services.delete_version(version=first, actor=actor_for_user(ada.owner))
    name = f"{ada.repository}"
    for revision in ("v1", first.commit_id):
        for path in (f"/api/models/{name}/revision/{revision}", f"/{name}/resolve/{revision}/w.bin"):
            assert get(ada, path).status_code == 404
    assert [one["id"] for one in get(ada, f"/api/models/{name}/commits/main").json()] != [first.commit_id]
    assert len(get(ada, f"/api/models/{name}/commits/main").json()) == 1
    assert reconstruction(ada, told, record).status_code == 404
    bring_back(ada)
    assert content(get(ada, f"/{name}/resolve/v1/w.bin")) == WHOLE
    assert len(get(ada, f"/api/models/{name}/commits/main").json()) == 2


def test_a_deleted_branch_answers_to_nothing_and_its_name_is_free(ada):
    actor = actor_for_user(ada.owner)
    ada.push("w.bin", *CHUNKS)
    services.create_branch(repository=ada.repository, name="side", start=resolve(ada.repository), actor=actor)
    place = f"/api/models/{ada.repository}"
    assert ada.client.delete(f"{place}/branch/side", HTTP_AUTHORIZATION=f"Bearer {ada.hub_token}").status_code == 200
    assert not TrashItem.objects.exists()  # nothing was on it
    services.create_branch(repository=ada.repository, name="side", start=None, actor=actor, sees_base=False)
    from tests.support.factories import commit_files

    version = commit_files(ada.repository, ada.owner, {"only": b"here"}, branch="side")
    assert ada.client.delete(f"{place}/branch/side", HTTP_AUTHORIZATION=f"Bearer {ada.hub_token}").status_code == 200
    for path in (
        f"{place}/tree/side",
        f"{place}/tree/{version.commit_id}",
        f"{place}/tree/deleted%2F{version.branch_id}",
    ):
        assert get(ada, path).status_code == 404
    assert [one["name"] for one in get(ada, f"{place}/refs").json()["branches"]] == ["main"]


def reconstruction(uploader, told, record):
    address, token = told
    return uploader.client.get(
        f"{address}/v1/reconstructions/{to_text(record.digest)}", HTTP_AUTHORIZATION=f"Bearer {token}"
    )
