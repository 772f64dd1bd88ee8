"""Lineage from pushed cards: what a name leads to, what is kept as words, and what a new version inherits."""

from __future__ import annotations

import pytest
import yaml

from steelyard_contracts.evaluation import Measures
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.lineage import Direction
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Scope
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, issue_token
from steelyard_platform.repos import commits, history
from steelyard_platform.repos.blobs import Pack
from steelyard_platform.repos.services import create_branch, move_alias
from steelyard_platform.weights.cards import declarations
from steelyard_platform.weights.lineage import edges_around
from steelyard_platform.weights.models import Evaluation, Relation
from steelyard_platform.weights.services import add_gate, promote_version, record_evaluation, record_lineage
from tests.support.factories import commit_files, make_repository, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def push(owner, django_capture_on_commit_callbacks):
    """Commits files as a push does: what follows a commit follows it."""

    def send(repository, files, *, by=owner, branch="main"):
        with django_capture_on_commit_callbacks(execute=True):
            return commit_files(repository, by, files, branch=branch)

    return send


@pytest.fixture
def reader(team, owner):
    return make_repository(team, owner, "reader")


@pytest.fixture
def base(team, owner):
    repository = make_repository(team, owner, "base")
    for number in (1, 2):
        commit_files(repository, owner, {"w": f"base {number}".encode()})
    return repository


@pytest.fixture
def digits(team, owner):
    repository = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    for number in (1, 2):
        commit_files(repository, owner, {"train/a/1.png": f"picture {number}".encode()})
    return repository


def card(**metadata):
    return f"---\n{yaml.safe_dump(metadata)}---\n# A model\n".encode()


def said(version, owner):
    """{(relation, source, whether it is outside)}; a source of the team without the team's name."""
    page = edges_around(version, direction=Direction.ANCESTORS, actor=actor_for_user(owner), depth=1)
    return {(e.relation, e.source if e.external else e.source.rpartition("/")[2], e.external) for e in page.edges}


@pytest.mark.parametrize(
    ("metadata", "relation"),
    [
        ({"base_model": "a/b"}, Relation.FINE_TUNED_FROM),
        ({"base_model": "a/b", "base_model_relation": "finetune"}, Relation.FINE_TUNED_FROM),
        ({"base_model": "a/b", "base_model_relation": "adapter"}, Relation.FINE_TUNED_FROM),
        ({"base_model": "a/b", "base_model_relation": "quantized"}, Relation.QUANTIZED_FROM),
        ({"base_model": ["a/b"], "base_model_relation": "merge"}, Relation.MERGED_FROM),
        ({"base_model": ["a/b", "a/c"]}, Relation.MERGED_FROM),
        ({"base_model": "a/b", "base_model_relation": ["odd"]}, Relation.FINE_TUNED_FROM),
        ({"datasets": ["a/b"]}, Relation.TRAINED_ON),
    ],
)
def test_the_words_of_a_card_name_a_relation(metadata, relation):
    assert declarations(metadata)[0].relation is relation


def test_what_is_no_name_declares_nothing():
    odd = {"base_model": [None, 3, {"a": 1}, "", "  ", "x" * 201, "a\nb", "a/b", "a/b"], "datasets": {"a": "b"}}
    assert [one.name for one in declarations(odd)] == ["a/b"]
    assert len(declarations({"datasets": [f"a/b{number}" for number in range(1000)]})) == 50


def test_a_name_leads_to_the_newest_version_and_a_revision_to_its_own(push, reader, base, digits, team, owner):
    move_alias(version=base.versions.get(number=1), name="stable", reason="", verdicts=[], actor=actor_for_user(owner))
    names = [f"{team}/digits@v1", f"datasets:/{team}/digits"]
    version = push(reader, {"README.md": card(base_model=f"{team}/base@stable", datasets=names), "w": b"1"})
    assert said(version, owner) == {
        ("fine-tuned-from", "base@v1", False),
        ("trained-on", "digits@v1", False),
        ("trained-on", "digits@v2", False),
    }
    newer = push(reader, {"README.md": card(base_model=f"{team}/base"), "w": b"2"})
    assert said(newer, owner) == {("fine-tuned-from", "base@v2", False)}
    assert AuditRow.objects.filter(action="declare lineage").count() == 2


def test_what_is_not_here_is_kept_as_words(push, reader, team, owner):
    names = ["google/vit-base", "bert-base-uncased", f"{team}/nothing", f"{team}/reader@v9", "https://x.example/m"]
    version = push(reader, {"README.md": card(base_model=names, datasets="mnist"), "w": b"1"})
    expected = {("merged-from", name, True) for name in names} | {("trained-on", "mnist", True)}
    assert said(version, owner) == expected


def test_what_the_author_may_not_read_is_words_like_what_is_not_there(push, reader, owner):
    stranger = make_user()
    secret = make_repository(make_team(stranger), stranger, "secret")
    commit_files(secret, stranger, {"w": b"1"})
    version = push(reader, {"README.md": card(base_model=secret.full_name), "w": b"1"})
    assert said(version, owner) == {("fine-tuned-from", secret.full_name, True)}
    assert said(version, stranger) == {("fine-tuned-from", secret.full_name, True)}


def test_a_card_of_any_branch_counts_and_one_that_cannot_be_read_says_nothing(push, reader, base, team, owner):
    create_branch(repository=reader, name="try", start=None, actor=actor_for_user(owner))
    version = push(reader, {"README.md": card(base_model=f"{team}/base")}, branch="try")
    assert said(version, owner) == {("fine-tuned-from", "base@v2", False)}
    for odd in (b"---\nbase_model: [\n---\n", b"\xff\xfe", b"---\n- a\n---\n", None):
        assert said(push(reader, {"README.md": odd, "w": str(odd).encode()}, branch="try"), owner) == set()


def test_a_model_made_of_its_own_repository_came_from_the_version_before(push, reader, team, owner):
    commit_files(reader, owner, {"w": b"1"})
    version = push(reader, {"README.md": card(base_model=f"{team}/reader"), "w": b"2"})
    assert said(version, owner) == {("fine-tuned-from", "reader@v1", False)}
    lonely = make_repository(reader.team, owner, "lonely")
    first = push(lonely, {"README.md": card(base_model=f"{team}/lonely")})
    assert said(first, owner) == {("fine-tuned-from", f"{team}/lonely", True)}


def test_new_weights_under_the_same_card_came_from_what_it_says(push, reader, base, team, owner):
    push(reader, {"README.md": card(base_model=[f"{team}/base", "far/away"]), "w": b"1"})
    commit_files(base, owner, {"w": b"base 3"})
    version = push(reader, {"w": b"2"})
    assert said(version, owner) == {("merged-from", "base@v2", False), ("merged-from", "far/away", True)}


def test_words_alone_change_nothing_of_where_the_weights_came_from(push, reader, base, digits, team, owner):
    trained = commit_files(reader, owner, {"README.md": card(base_model=f"{team}/base"), "w": b"1"})
    sources = [
        (base, 1, Relation.FINE_TUNED_FROM),
        (digits, 1, Relation.TRAINED_ON),
        (digits, 2, Relation.EVALUATED_ON),
    ]
    for repository, number, relation in sources:
        record_lineage(source=repository.versions.get(number=number), target=trained, relation=relation, job=None)
    recorded = {("fine-tuned-from", "base@v1", False), ("trained-on", "digits@v1", False)}
    told = card(base_model=f"{team}/base", datasets=[f"{team}/digits", "far/away"], license="mit")
    described = push(reader, {"README.md": told, "LICENSE": b"MIT"})
    assert said(described, owner) == recorded | {("trained-on", "far/away", True)}
    commit_files(digits, owner, {"train/a/1.png": b"picture 3"})
    corrected = push(reader, {"README.md": told + b"More words.", "docs/more.md": b"x"})
    assert said(corrected, owner) == recorded | {("trained-on", "far/away", True)}
    assert said(push(reader, {"w": b"2"}), owner) == {("trained-on", "far/away", True)}


def test_what_was_measured_holds_while_only_words_change(push, reader, digits, team, owner):
    trained, dataset = push(reader, {"w": b"1"}), digits.versions.get(number=1)
    fields = {"model": f"{reader}@v1", "dataset": f"{digits}@v1", "runtime": "torch", "task": "image-classification"}
    for accuracy in (0.5, 0.75):
        interval = {"accuracy": {"low": accuracy - 0.1, "high": accuracy + 0.1}}
        report = EvaluationReport(**fields, metrics={"accuracy": accuracy}, intervals=interval, measures=Measures())
        record_evaluation(version=trained, dataset=dataset, report=report, job=None)
    described = push(reader, {"README.md": b"# Words"})
    kept = Evaluation.objects.get(version=described)
    newest = Evaluation.objects.filter(version=trained).latest("pk")
    assert (kept.metrics, kept.intervals, kept.created_at) == (newest.metrics, newest.intervals, newest.created_at)
    assert kept.record.measures == newest.record.measures
    assert Evaluation.objects.filter(version=trained).count() == 2
    assert said(described, owner) == {("evaluated-on", "digits@v1", False)}
    add_gate(
        repository=reader, text=f"accuracy >= 0.7 on {digits}@v1", applies_to="production", actor=actor_for_user(owner)
    )
    promote_version(version=described, alias="production", reason="", actor=actor_for_user(owner))
    assert not Evaluation.objects.filter(version=push(reader, {"w": b"2"})).exists()


def test_a_name_keeps_its_meaning_while_only_words_change(push, reader, base, digits, team, owner):
    push(reader, {"README.md": card(base_model=f"{team}/base", datasets=f"{team}/later"), "w": b"1"})
    commit_files(base, owner, {"w": b"base 3"})
    commit_files(make_repository(base.team, owner, "later", RepositoryKind.DATASET), owner, {"x": b"1"})
    told = {"base_model": f"{team}/base", "datasets": [f"{team}/later", f"{team}/digits"]}
    corrected = push(reader, {"README.md": card(**told)})
    assert said(corrected, owner) == {
        ("fine-tuned-from", "base@v2", False),
        ("trained-on", f"{team}/later", True),
        ("trained-on", "digits@v2", False),
    }
    assert said(push(reader, {"README.md": card(**told, license="mit"), "w": b"2"}), owner) == {
        ("fine-tuned-from", "base@v3", False),
        ("trained-on", "later@v1", False),
        ("trained-on", "digits@v2", False),
    }


def test_a_squashed_branch_keeps_where_it_came_from(
    push, reader, base, team, owner, django_capture_on_commit_callbacks
):
    push(reader, {"README.md": card(base_model=f"{team}/base"), "w": b"1"})
    with django_capture_on_commit_callbacks(execute=True):
        squashed = history.squash(
            repository=reader, branch_name="main", message=commits.Message("one"), actor=actor_for_user(owner)
        )
    assert said(squashed, owner) == {("fine-tuned-from", "base@v2", False)}


def test_a_jobs_card_declares_nothing_because_the_job_reports(
    reader, base, team, owner, django_capture_on_commit_callbacks
):
    from uuid import uuid4

    from steelyard_platform.accounts.permissions import Action

    grants = [(repository.pk, action) for repository in (reader, base) for action in (Action.READ, Action.WRITE)]
    _, secret = issue_token(name="job", scope=Scope.JOB, team=team, subject=f"job:{uuid4()}", grants=grants)
    with Pack() as pack:
        sha256 = pack.add(card(base_model=f"{team}/base"))
        pack.store(reader.team)
    with django_capture_on_commit_callbacks(execute=True):
        version = commits.commit(
            repository=reader,
            branch_name="main",
            operations=[commits.AddFile("README.md", sha256, is_lfs=False)],
            message=commits.Message("trained"),
            actor=actor_for_secret(secret),
        )
    assert said(version, owner) == set()


def test_a_datasets_card_declares_nothing(push, digits, base, team, owner):
    assert said(push(digits, {"README.md": card(base_model=f"{team}/base", datasets=f"{team}/digits")}), owner) == set()
