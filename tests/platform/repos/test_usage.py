"""What is stored, beside what its readers see."""

from __future__ import annotations

import pytest

from steelyard_platform.accounts.models import Team
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.usage import usage_by_repository, usage_by_team, usage_of
from steelyard_platform.storage.models import Xorb
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader
from tests.support.factories import commit_files
from tests.support.xet import file_of, shard_of, xorb_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    uploader = Uploader(client)
    uploader.push("w.bin", *CHUNKS)
    record = file_of([(xorb_of(*CHUNKS)[1], 0, 2)])
    uploader.send("POST", "/v1/shards", shard_of(record))
    uploader.commit("part.bin", record.sha256, record.size)
    commit_files(uploader.repository, uploader.owner, {"a.txt": b"twelve bytes", "b.txt": b"twelve bytes"})
    return uploader


def test_shared_bytes_count_once_in_what_is_stored(ada):
    used = usage_of(Repository.objects.all())
    assert used.logical == len(WHOLE) + len(CHUNKS[0] + CHUNKS[1]) + 24
    assert used.stored == Xorb.objects.get().size + 12
    assert used.ratio == used.logical / used.stored


def test_the_api_tells_of_one_of_a_namespace_and_of_all_that_the_caller_may_read(ada, client):
    grace = Uploader(client)
    grace.push("w.bin", *CHUNKS)

    def ask(path, who):
        return client.get(f"/api/v1{path}", HTTP_AUTHORIZATION=f"Bearer {who.hub_token}")

    own = ask(f"/models/{ada.repository}/storage", ada).json()
    assert own == ask("/storage", ada).json() == ask(f"/storage?namespace={ada.repository.team}", ada).json()
    assert own["logical"] > own["stored"]
    assert ask(f"/storage?namespace={grace.repository.team}", ada).json() == {
        "logical": 0,
        "stored": 0,
        "ratio": None,
        "trash": 0,
    }
    assert ask(f"/models/{grace.repository}/storage", ada).status_code == 404


def test_it_takes_as_many_queries_for_many_as_for_one(ada, django_assert_num_queries):
    with django_assert_num_queries(3):
        usage_of(Repository.objects.all())


def test_a_page_of_repositories_or_namespaces_takes_one_query(ada, client, django_assert_num_queries):
    grace = Uploader(client)
    grace.push("w.bin", *CHUNKS)
    with django_assert_num_queries(2):
        by_repository = usage_by_repository(Repository.objects.all())
        by_team = usage_by_team(Team.objects.filter(repositories__isnull=False), Repository.objects.all())
    for one in (by_repository, by_team):
        assert {used for _, used in one} == {
            usage_of(Repository.objects.filter(pk=who.repository.pk)) for who in (ada, grace)
        }
