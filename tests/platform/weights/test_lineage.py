"""The graph of versions: every relation, both directions, any depth, and nothing that the reader may not see."""

from __future__ import annotations

import itertools

import pytest
from django.test.utils import CaptureQueriesContext

from steelyard_contracts.errors import ConflictError, InvalidInputError
from steelyard_contracts.lineage import Direction, LineageEdge
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import ANONYMOUS, Action, Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.services import delete_version
from steelyard_platform.weights import lineage
from steelyard_platform.weights.models import LineageEdge as EdgeRow
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import record_lineage
from tests.support.factories import commit_files, make_repository, make_team, make_user

pytestmark = pytest.mark.django_db
UP, DOWN, BOTH = Direction.ANCESTORS, Direction.DESCENDANTS, Direction.BOTH


@pytest.fixture
def made(team, owner):
    """A new version of a repository of that name: `made("reader")`, `made("digits", dataset=True)`."""

    def make(name, *, dataset=False, public=False, within=None, by=None):
        kind = RepositoryKind.DATASET if dataset else RepositoryKind.MODEL
        home, person = within or team, by or owner
        known = Repository.objects.select_related("team").filter(team=home, name=name, kind=kind).first()
        repository = known or make_repository(home, person, name, kind, public=public)
        return commit_files(repository, person, {"w": f"{name} {repository.last_number}".encode()})

    return make


def link(target, relation, source):
    record_lineage(source=source, target=target, relation=relation, job=None)


def walk(version, direction, actor, **options) -> list[LineageEdge]:
    """All pages of the answer."""
    edges, cursor = [], None
    while True:
        page = lineage.edges_around(version, direction=direction, actor=actor, cursor=cursor, **options)
        edges += page.edges
        cursor = page.following
        if cursor is None:
            return edges


def names(edges):
    """(source, relation, target) without the team's name."""
    return [(edge.source.rpartition("/")[2], edge.relation, edge.target.rpartition("/")[2]) for edge in edges]


@pytest.mark.parametrize("relation", list(Relation))
def test_every_relation_is_seen_from_both_ends(made, owner, relation):
    is_about_data = relation in {Relation.TRAINED_ON, Relation.EVALUATED_ON}
    source, target = made("source", dataset=is_about_data), made("target")
    link(target, relation, source)
    expected = [("source@v1", relation, "target@v1")]
    actor = actor_for_user(owner)
    assert names(walk(target, UP, actor)) == expected
    assert names(walk(source, DOWN, actor)) == expected
    assert names(walk(target, BOTH, actor)) == expected
    assert walk(target, DOWN, actor) == walk(source, UP, actor) == []


def test_the_walk_goes_from_data_through_a_merge_to_a_variant(made, owner):
    data, first, second, merged, small = made("data", dataset=True), made("a"), made("b"), made("merged"), made("small")
    link(first, Relation.TRAINED_ON, data)
    link(second, Relation.TRAINED_ON, data)
    link(merged, Relation.MERGED_FROM, first)
    link(merged, Relation.MERGED_FROM, second)
    link(small, Relation.PRUNED_FROM, merged)
    actor = actor_for_user(owner)
    up = [
        ("data@v1", "trained-on", "a@v1"),
        ("data@v1", "trained-on", "b@v1"),
        ("a@v1", "merged-from", "merged@v1"),
        ("b@v1", "merged-from", "merged@v1"),
        ("merged@v1", "pruned-from", "small@v1"),
    ]
    assert names(walk(small, UP, actor)) == up
    assert names(walk(data, DOWN, actor)) == up
    assert names(walk(merged, UP, actor)) == up[:4]
    assert names(walk(merged, BOTH, actor)) == up
    assert walk(small, UP, actor)[0].source == f"datasets:/{data.repository.full_name}@v1"


def test_a_measurement_is_shown_and_leads_nowhere(made, owner):
    data, measured, child = made("data", dataset=True), made("measured"), made("child")
    link(measured, Relation.EVALUATED_ON, data)
    link(child, Relation.FINE_TUNED_FROM, measured)
    actor = actor_for_user(owner)
    assert names(walk(data, DOWN, actor)) == [("data@v1", "evaluated-on", "measured@v1")]
    assert len(walk(child, UP, actor)) == 2


def test_a_chain_of_a_thousand_is_walked_in_one_query(made, owner, django_assert_num_queries):
    chain = [made("chain")]
    first = chain[0]
    versions = [
        Version(
            repository=first.repository,
            branch=first.branch,
            number=number,
            commit_id=f"{number:040x}",
            created_at=first.created_at,
        )
        for number in range(2, 1002)
    ]
    chain += Version.objects.bulk_create(versions)
    EdgeRow.objects.bulk_create(
        EdgeRow(source=source, target=target, relation=Relation.FINE_TUNED_FROM)
        for source, target in itertools.pairwise(chain)
    )
    actor = actor_for_user(owner)
    with django_assert_num_queries(1):
        page = lineage.edges_around(chain[-1], direction=UP, actor=actor, limit=10)
    assert page.edges[0].source.endswith("chain@v1")
    assert page.following is not None
    found = walk(chain[-1], UP, actor, limit=300)
    assert len(found) == len({edge.source for edge in found}) == 1000
    assert walk(chain[0], DOWN, actor) == found
    assert len(walk(chain[500], BOTH, actor)) == 1000
    assert names(walk(chain[-1], UP, actor, depth=2)) == [
        ("chain@v999", "fine-tuned-from", "chain@v1000"),
        ("chain@v1000", "fine-tuned-from", "chain@v1001"),
    ]
    assert len(walk(chain[0], DOWN, actor, depth=lineage.MAX_DEPTH)) == lineage.MAX_DEPTH


def test_a_circle_ends_the_walk(made, owner):
    one, two, three = made("one"), made("two"), made("three")
    link(two, Relation.FINE_TUNED_FROM, one)
    link(three, Relation.MERGED_FROM, two)
    link(one, Relation.MERGED_FROM, three)
    link(one, Relation.FINE_TUNED_FROM, one)
    actor = actor_for_user(owner)
    for direction in Direction:
        assert len(walk(two, direction, actor)) == 4
        assert len(walk(two, direction, actor, depth=20)) == 4


def test_what_one_may_not_see_has_no_name_and_is_no_bridge(made, owner):
    stranger = make_user()
    shown, secret = made("shown", public=True), made("secret")
    beyond = made("beyond", public=True)
    theirs = made("theirs", within=make_team(stranger), by=stranger)
    link(secret, Relation.FINE_TUNED_FROM, shown)
    link(beyond, Relation.QUANTIZED_FROM, secret)
    link(theirs, Relation.FINE_TUNED_FROM, shown)
    assert names(walk(shown, DOWN, actor_for_user(stranger))) == [("shown@v1", "fine-tuned-from", "theirs@v1")]
    assert walk(beyond, UP, actor_for_user(stranger)) == []
    assert walk(shown, BOTH, ANONYMOUS) == []
    assert len(walk(shown, DOWN, actor_for_user(owner))) == 2
    job = Actor(
        name="job",
        scope=Scope.JOB,
        grants=frozenset({(secret.repository_id, Action.READ), (beyond.repository_id, Action.READ)}),
    )
    assert names(walk(beyond, UP, job)) == [("secret@v1", "quantized-from", "beyond@v1")]
    assert walk(beyond, UP, Actor(name="job", scope=Scope.JOB)) == []
    superuser = Actor(name="root", scope=Scope.ADMIN, is_superuser=True)
    assert len(walk(shown, DOWN, superuser)) == 3


def test_pages_miss_and_double_nothing(made, owner):
    base = made("base")
    for _ in range(7):
        link(made("child"), Relation.FINE_TUNED_FROM, base)
    actor = actor_for_user(owner)
    assert walk(base, DOWN, actor, limit=2) == walk(base, DOWN, actor)
    assert len(walk(base, DOWN, actor)) == 7


@pytest.mark.parametrize(
    "wrong", [{"depth": 0}, {"depth": lineage.MAX_DEPTH + 1}, {"cursor": "nonsense"}, {"cursor": "2-1"}]
)
def test_what_is_no_depth_or_cursor_is_refused(made, owner, wrong):
    with pytest.raises(InvalidInputError):
        lineage.edges_around(made("one"), direction=UP, actor=actor_for_user(owner), **wrong)


def test_what_was_recorded_is_kept_and_what_was_declared_hinders_nobody(made, owner):
    base, child, claimed = made("base"), made("child"), made("claimed")
    EdgeRow.objects.create(source=claimed, target=child, relation=Relation.FINE_TUNED_FROM, declared=True)
    link(child, Relation.FINE_TUNED_FROM, base)
    made("base")
    made("claimed")
    with pytest.raises(ConflictError, match="child@v1 was made from v1"):
        delete_version(version=base, actor=actor_for_user(owner))
    delete_version(version=claimed, actor=actor_for_user(owner))
    assert names(walk(child, UP, actor_for_user(owner))) == [("base@v1", "fine-tuned-from", "child@v1")]


def test_a_record_takes_the_place_of_a_declaration(made, owner):
    base, child = made("base"), made("child")
    EdgeRow.objects.create(source=base, target=child, relation=Relation.FINE_TUNED_FROM, declared=True)
    link(child, Relation.FINE_TUNED_FROM, base)
    assert [edge.declared for edge in walk(child, UP, actor_for_user(owner))] == [False]


def test_a_page_costs_one_query_however_many_edges_it_has(made, owner):
    from django.db import connection

    base = made("base")
    counts = []
    for _ in range(3):
        for _ in range(3):
            link(made("child"), Relation.FINE_TUNED_FROM, base)
        with CaptureQueriesContext(connection) as queries:
            walk(base, BOTH, actor_for_user(owner))
        counts.append(len(queries))
    assert len(set(counts)) == 1
