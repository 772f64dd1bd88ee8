"""Search: the same answers on both databases, and nothing of what the reader may not read."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import ANONYMOUS
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.card import refresh_card
from steelyard_platform.repos.models import Entry, SearchDocument
from steelyard_platform.repos.services import delete_version, move_repository
from steelyard_platform.weights.models import NewestMeasure, WeightFile
from steelyard_platform.weights.search import count, find, index_again, index_outdated
from steelyard_platform.weights.search_syntax import Sort, parse_search
from steelyard_platform.weights.services import record_evaluation
from steelyard_platform.weights.tasks import index_search
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset, token_for

pytestmark = pytest.mark.django_db

MODEL = RepositoryKind.MODEL
CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
language: [en, de]
datasets: lab/digits
tags: [vision]
---
# Reader
Tells 5% of the cats' "tails" apart, in a garden_house; it's % quick_1e5.
"""


@pytest.fixture
def actor(owner):
    return actor_for_user(owner)


@pytest.fixture
def ask(actor):
    """The names that a search finds, in order."""

    def names(text="", *, by=None, kind=MODEL, **said):
        search = parse_search(text, **said)
        hits, _ = find(by or actor, kind, search, cursor=None, limit=50)
        assert count(by or actor, kind, search) == (len(hits), False)
        return [hit.repository.name for hit in hits]

    return names


@pytest.fixture
def make(team, owner):
    def one(name, card="", *, size=0, public=False, kind=MODEL, at=None, by=None):
        repository = make_repository(at or team, by or owner, name, kind, public=public)
        files = {"README.md": card.encode() or b"-", "weights.bin": b"w" * size}
        refresh_card(repository, commit_files(repository, by or owner, files))
        return repository

    return one


def measure(repository, dataset, **metrics):
    report = EvaluationReport(model="x/y", dataset="x/z", split="validation", runtime="torch", metrics=metrics)
    return record_evaluation(
        version=repository.versions.order_by("-number").first(),
        dataset=dataset.versions.order_by("-number").first(),
        report=report,
        job=None,
    )


@pytest.mark.parametrize(
    "text",
    [
        "reader-small",
        "READ sma",
        "tails",
        "tail GARDEN",
        "apache",
        "digits",
        "1e5",
        "5",
        "tag:vision task:image-classification",
        "library:Transformers license:Apache-2.0 language:de dataset:lab/digits",
        "it's",
        "%",
        "size>100 size<1kB",
    ],
)
def test_what_a_card_says_is_found(make, ask, text):
    make("reader-small", CARD, size=200)
    make("other", "Knows dogs.")
    assert "reader-small" in ask(text)
    if text != "%":  # no word at all: nothing is asked
        assert "other" not in ask(text)


@pytest.mark.parametrize(
    "text",
    ["eader", "readerx", "cats dogs", "vision dogs", "tag:dogs", "tag:visio", "size>1kB", "%cats%zebra", "_house_x"],
)
def test_what_it_does_not_say_is_not(make, ask, text):
    make("reader-small", CARD, size=200)
    assert ask(text) == []


@pytest.mark.parametrize(
    "text", ["' | 'x", "\\", "a:* & b", "%'; drop table x; --", "\x00", "'" * 300, "猫", "<b>", ":"]
)
def test_nothing_that_is_asked_breaks_the_search(ask, text):
    assert ask(text) == []


def test_a_new_card_a_new_name_and_a_new_size_are_found_at_once(
    make, ask, team, owner, actor, django_capture_on_commit_callbacks
):
    repository = make("reader", CARD, size=10)
    refresh_card(repository, commit_files(repository, owner, {"README.md": b"Knows dogs.", "w": b"x" * 500}))
    assert (ask("cats"), ask("dogs size>500"), ask("tag:vision")) == ([], ["reader"], [])
    move_repository(repository=repository, team=team, name="knower", actor=actor)
    assert (ask("knower dogs"), ask(sort=Sort.NAME)) == (["knower"], ["knower"])
    with django_capture_on_commit_callbacks(execute=True):
        delete_version(version=repository.versions.get(number=2), actor=actor)
    assert (ask("size<400 cats knower"), ask("dogs")) == (["knower"], [])


def test_side_branches_change_nothing_that_is_found(make, ask, owner, actor):
    from steelyard_platform.repos.revisions import resolve
    from steelyard_platform.repos.services import create_branch

    repository = make("reader", CARD, size=10)
    create_branch(repository=repository, name="side", start=resolve(repository), actor=actor)
    commit_files(repository, owner, {"w": b"x" * 5000}, branch="side")
    assert ask("size<1kB") == ["reader"]


def test_measures_are_compared_and_the_newest_counts(make, ask, owner, team):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    picture_dataset(dataset, owner)
    good, better, none = make("good"), make("better"), make("none")
    measure(good, dataset, accuracy=0.9, latency_ms_p50=10)
    measure(better, dataset, accuracy=0.97, latency_ms_p50=30)
    assert ask("accuracy>0.9") == ["better"]
    assert ask("accuracy>=0.9", sort=Sort.METRIC) == ["better", "good"]
    assert ask("latency_ms_p50<100", sort=Sort.METRIC) == ["good", "better"]
    assert ask("accuracy>0.5 latency_ms_p50<20") == ["good"]
    assert ask("", bounds=["f1>0"]) == []
    commit_files(good, owner, {"w": b"2"})
    evaluation = measure(good, dataset, accuracy=0.99)
    assert ask("accuracy>=0.97", sort=Sort.METRIC) == ["good", "better"]
    assert none.name in ask("")
    from steelyard_platform.weights.models import LineageEdge

    LineageEdge.objects.all().delete()
    delete_version(version=evaluation.version, actor=actor_for_user(owner))
    assert ask("accuracy>=0.97") == ["better"]
    assert NewestMeasure.objects.get(repository=good, metric="accuracy").value == 0.9


def test_nobody_learns_how_a_model_did_on_data_that_they_may_not_see(make, ask, owner, team):
    stranger = actor_for_user(make_user())
    secret = make_repository(team, owner, "secret", RepositoryKind.DATASET)
    picture_dataset(secret, owner)
    model = make("model", public=True)
    measure(model, secret, accuracy=0.9)
    assert ask("accuracy>0") == ["model"]
    assert ask("", by=stranger) == ["model"]
    assert ask("accuracy>0", by=stranger) == []
    assert ask("accuracy>0", by=ANONYMOUS, sort=Sort.METRIC) == []


def test_weights_are_found_by_what_they_are_whatever_their_names_say(make, ask, owner):
    onnx, torch, former = make("called-torch", size=3), make("called-onnx", size=4), make("was-onnx", size=5)
    for repository, format_, framework in (
        (onnx, "onnx", "onnxruntime"),
        (torch, "torch", "pytorch"),
        (former, "onnx", ""),
    ):
        entry = Entry.objects.get(branch__repository=repository, path="weights.bin")
        assert entry.blob is not None
        WeightFile.objects.create(blob=entry.blob, format=format_, framework=framework)
    commit_files(former, owner, {"weights.bin": None})
    assert ask("framework:ONNX") == ["called-torch"]
    assert ask("", tags=[("framework", "pytorch")]) == ["called-onnx"]


def test_private_repositories_never_appear_nor_change_a_count(make, ask, owner):
    make("hidden", CARD)
    make("shown", CARD, public=True)
    stranger = actor_for_user(make_user())
    for text in ("", "cats", "tag:vision", "hidden", "license:apache-2.0 size<1GB"):
        assert ask(text, by=stranger) == ([] if text == "hidden" else ["shown"])
        assert ask(text, by=ANONYMOUS) == ([] if text == "hidden" else ["shown"])


@pytest.mark.parametrize("sort", ["updated", "created", "name", "size", "downloads", "metric"])
def test_every_order_comes_in_pages_that_miss_and_double_nothing(make, owner, team, actor, sort):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    picture_dataset(dataset, owner)
    for number in range(5):
        made = make(f"m{number}", size=number % 2)
        measure(made, dataset, accuracy=[0.1, 1 / 3, 0.1, 1e-7, 0.5][number])
        SearchDocument.objects.filter(repository=made).update(downloads=number // 2)
    search = parse_search("m accuracy>0", sort=Sort(sort))
    cursor, pages = None, []
    while True:
        hits, cursor = find(actor, MODEL, search, cursor=cursor, limit=2)
        pages.append([hit.repository.name for hit in hits])
        if cursor is None:
            break
    names = [name for page in pages for name in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(names) == [f"m{number}" for number in range(5)]
    whole, _ = find(actor, MODEL, search, cursor=None, limit=50)
    assert names == [hit.repository.name for hit in whole]
    first = {"updated": "m4", "created": "m4", "name": "m0", "downloads": "m4", "metric": "m4"}
    assert names[0] == first.get(sort, names[0])


@pytest.mark.parametrize("sort", ["updated", "name", "size", "metric"])
@pytest.mark.parametrize("cursor", ["x", "bmFufHg=", "MjB8eA==", "AHx4", "aW5mfDE="])
def test_a_cursor_that_is_none_is_said_to_be_one(actor, sort, cursor):
    from steelyard_contracts.errors import InvalidInputError

    with pytest.raises(InvalidInputError) as refused:
        find(actor, MODEL, parse_search("accuracy>0", sort=Sort(sort)), cursor=cursor, limit=5)
    assert "is no cursor of this list" in str(refused.value)


def test_the_api_answers_the_same_question_in_one_request(client, make, owner, team):
    dataset = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    picture_dataset(dataset, owner)
    measure(make("reader", CARD, size=99), dataset, accuracy=0.9)
    make("other", "cats")
    headers = {"Authorization": f"Bearer {token_for(owner)}"}

    def get(query):
        return client.get(f"/api/v1/models?{query}", headers=headers)

    query = "q=cats&tag=vision&task=image-classification&library=transformers&license=apache-2.0&language=en"
    [found] = get(f"{query}&size=<1GB&size=>50&metric=accuracy>0.8&sort=metric").json()["items"]
    assert (found["name"], found["task"], found["measures"]) == (
        f"{team}/reader",
        "image-classification",
        {"accuracy": 0.9},
    )
    assert found["size"] > 99
    assert len(get("q=cats").json()["items"]) == 2
    assert [item["name"] for item in get("text=ead").json()["items"]] == [f"{team}/reader"]
    refused = get("size=lots")
    assert refused.status_code == 400
    assert "is no condition" in json.loads(refused.content)["error"]["message"]


def test_a_list_asks_the_database_as_often_for_thirty_as_for_three(client, make, owner, django_assert_max_num_queries):
    client.force_login(owner)
    for wanted in (3, 30):
        for number in range(SearchDocument.objects.count(), wanted):
            make(f"m{number}", CARD)
        with django_assert_max_num_queries(9):
            answer = client.get("/models?q=cats")
        assert answer.content.decode().count('class="hit"') == wanted


def test_a_page_says_what_was_not_understood_and_keeps_what_was_written(client, make, owner):
    client.force_login(owner)
    make("reader", CARD)
    answer = client.get("/models", {"q": "<script>alert(1)</script>", "size": "lots"})
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "is no condition" in text
    assert "<script>alert" not in text
    shown = client.get("/models", {"q": "cats", "size": "<1GB", "sort": "name"}).content.decode()
    assert 'value="cats"' in shown
    assert '<option value="name" selected>By name</option>' in shown
    assert 'value="&lt;1GB"' in shown
    assert "/reader" in shown


def test_everything_can_be_indexed_again(make, ask):
    repository = make("reader", CARD, size=300)
    SearchDocument.objects.all().delete()
    index_again(repository)
    assert ask("cats tag:vision size>300") == ["reader"]


def test_what_a_former_edition_wrote_is_written_again_by_the_clock_once(make, ask):
    make("reader", CARD, size=300)
    SearchDocument.objects.update(edition=0, words="reader")
    assert ask("cats") == []
    index_search()
    assert ask("cats tag:vision size>300") == ["reader"]
    assert index_outdated() == 0
