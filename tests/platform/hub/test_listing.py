"""Lists in the Hub's manner: a bare JSON list, and the next page's address in `Link`."""

from __future__ import annotations

import re

import pytest

from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.admission import set_gate
from steelyard_platform.repos.card import refresh_card
from steelyard_platform.repos.models import Gate
from tests.support.factories import commit_files, make_repository, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def get(client, owner):
    authorization = f"Bearer {token_for(owner)}"
    return lambda address: client.get(address, HTTP_AUTHORIZATION=authorization)


def test_pages_are_followed_by_absolute_addresses(get, team, owner):
    expected = {str(make_repository(team, owner, f"m{number}")) for number in range(5)}
    address, seen = "/api/models?limit=2&search=m", []
    while address:
        answer = get(address)
        seen += [item["id"] for item in answer.json()]
        link = re.fullmatch(r'<(http://testserver[^>]+)>; rel="next"', answer.headers.get("Link", ""))
        address = link.group(1).removeprefix("http://testserver") if link else ""
    assert len(seen) == 5
    assert set(seen) == expected


def test_cards_can_be_filtered_by(get, team, owner):
    for name, card in (("one", b"---\nlicense: mit\ntags: [vision]\n---\n"), ("two", b"---\nlicense: mit\n---\n")):
        repository = make_repository(team, owner, name)
        refresh_card(repository, commit_files(repository, owner, {"README.md": card}))
    assert [item["id"] for item in get("/api/models?filter=vision&filter=license:mit").json()] == [f"{team}/one"]
    assert len(get(f"/api/models?author={team}&filter=license:mit").json()) == 2
    assert get("/api/models?author=nobody").json() == []


def test_languages_creators_and_gates_can_be_filtered_by(get, team, owner):
    card = b"---\nlanguage: en\nlanguage_creators: [crowdsourced]\nmultilinguality: monolingual\n---\n"
    spoken, gated = make_repository(team, owner, "spoken"), make_repository(team, owner, "gated")
    refresh_card(spoken, commit_files(spoken, owner, {"README.md": card}))
    set_gate(repository=gated, gate=Gate.AUTO, actor=actor_for_user(owner))

    def names(query):
        return [item["id"] for item in get(f"/api/models?{query}").json()]

    for query in (
        "filter=en",
        "filter=language:en",
        "filter=language_creators:crowdsourced&filter=multilinguality:monolingual",
    ):
        assert names(query) == [str(spoken)]
    assert (names("gated=true"), names("gated=false")) == ([str(gated)], [str(spoken)])


def test_a_list_has_the_fields_that_were_asked_for(get, team, owner):
    make_repository(team, owner, "one")
    [record] = get("/api/models?expand[]=author&expand[]=private").json()
    assert set(record) == {"_id", "id", "modelId", "author", "private"}


def test_a_bad_cursor_or_limit_is_said_to_be_one(get):
    assert "is no cursor of this list" in get("/api/models?cursor=x").json()["error"]
    assert "The limit must be a number" in get("/api/models?limit=many").json()["error"]


def test_downloads_are_counted_once_an_hour_for_each_who_fetches_and_sorted_by(get, client, team, owner):
    few, many = make_repository(team, owner, "few"), make_repository(team, owner, "many", public=True)
    for repository in (few, many):
        commit_files(repository, owner, {"a.txt": b"a", "b.txt": b"b"})
    for address in (f"/{few}/resolve/main/a.txt", f"/{many}/resolve/main/a.txt", f"/{many}/resolve/main/b.txt"):
        get(address)
    client.get(f"/{many}/resolve/main/a.txt", REMOTE_ADDR="10.0.0.1")
    client.head(f"/{many}/resolve/main/a.txt", REMOTE_ADDR="10.0.0.2")
    client.get(f"/{many}/resolve/main/a.txt", REMOTE_ADDR="10.0.0.3", HTTP_SEC_FETCH_DEST="image")
    client.get(f"/{many}/resolve/main/none.txt", REMOTE_ADDR="10.0.0.4")
    found = get("/api/models?sort=downloads").json()
    assert [(item["id"], item["downloads"]) for item in found] == [(str(many), 2), (str(few), 1)]
