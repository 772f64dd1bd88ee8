"""Two versions held against each other: tensors by their digests, modules, measures, files and cards."""

from __future__ import annotations

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import InvalidInputError, RepositoryNotFoundError
from steelyard_contracts.jobs import Finish, JobState
from steelyard_contracts.weights import FileReport, InspectionState, Measures, TensorChange, TensorView
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs import services
from steelyard_platform.jobs.comparisons import comparison, other_version
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.differences import Texts, side_by_side
from steelyard_platform.repos.models import Version
from steelyard_platform.weights.comparison import record_changes, unmeasured
from steelyard_platform.weights.differences import Placed, module_changes, pair_tensors, summary_of
from steelyard_platform.weights.inspection import record_report
from steelyard_platform.weights.modules import Outline
from tests.platform.weights.test_inspection import claimed
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db


def placed(file="file", **tensors):
    """`name="F32 2 3 digest"`, `__` for a dot."""
    found = {}
    for key, text in tensors.items():
        name, (dtype, *shape, digest) = key.replace("__", "."), text.split()
        lengths = [int(length) for length in shape]
        found[name] = Placed(Outline(name, dtype, lengths, 8, 0, None if digest == "-" else digest), "w", file)
    return found


def fates(left, right):
    pairs = pair_tensors(left, right)
    return {name: str(fate) for name, fate in pairs.fates.items()}


def test_every_fate_a_tensor_can_have():
    left = placed("1", a="F32 2 x", b="F32 2 x", c="F32 2 x", d="F32 2 x", e="F32 2 x")
    right = placed("2", a="F32 2 x", b="F32 2 y", c="F32 3 z", d="F16 2 z", f="F32 2 x")
    assert fates(left, right) == {
        "a": "unchanged",
        "b": "changed",
        "c": "reshaped",
        "d": "cast",
        "f": "added",
        "e": "removed",
    }


def test_what_nobody_could_read_is_not_said_to_be_the_same_unless_the_file_is():
    tensor = {"a": "F32 2 -"}
    assert fates(placed("1", **tensor), placed("2", **tensor)) == {"a": "changed"}
    assert fates(placed("1", **tensor), placed("1", **tensor)) == {"a": "unchanged"}


BACKBONE = {"backbone__conv__w": "F32 2 x", "backbone__conv__b": "F32 2 x", "backbone__norm__w": "F32 2 x"}


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        (
            {**BACKBONE, "head__w": "F32 2 x", "head__b": "F32 2 x"},
            {**BACKBONE, "head__w": "F32 2 y", "head__b": "F32 2 y"},
            "Only head.* changed; backbone.* is bit-identical.",
        ),
        (
            {**BACKBONE, "head__w": "F32 2 x"},
            {**BACKBONE, "head__w": "F32 5 y"},
            "Only head.* differs; backbone.* is bit-identical.",
        ),
        (
            {**BACKBONE, "head__w": "F32 2 x"},
            {**BACKBONE, "backbone__norm__w": "F32 2 y", "head__w": "F32 2 y"},
            "Only backbone.norm.* and head.* changed; backbone.conv.* is bit-identical.",
        ),
        (BACKBONE, BACKBONE, "All 3 tensors are bit-identical."),
        (
            {"a__w": "F32 2 x", "b__w": "F32 2 x"},
            {"a__w": "F32 2 y", "b__w": "F32 2 y"},
            "2 of 2 tensors differ, in every module.",
        ),
        ({}, {}, "Neither version holds tensors that are known."),
    ],
)
def test_the_whole_difference_in_one_sentence(left, right, sentence):
    pairs = pair_tensors(placed("1", **left), placed("2", **right))
    assert summary_of(module_changes(pairs, {})) == sentence


def test_a_module_is_as_far_as_its_tensor_that_moved_furthest():
    pairs = pair_tensors(placed("1", h__a="F32 2 x", h__b="F32 2 x"), placed("2", h__a="F32 2 y", h__b="F32 2 y"))
    (line,) = module_changes(pairs, {"h.a": Measures(relative_l2=0.1), "h.b": Measures(relative_l2=0.4)})
    assert (line.shown_name, line.changed, line.relative_l2) == ("h.*", 2, 0.4)


def test_thousands_of_modules_that_differ_in_part_are_told_coarsely():
    names = {f"net__m{n}__{part}__w": f"F32 2 {part}" for n in range(200) for part in "ab"}
    after = {name: text.replace(" b", " c") for name, text in names.items()}
    pairs = pair_tensors(placed("1", **names, z__w="F32 2 x"), placed("2", **after, z__w="F32 2 x"))
    assert [line.name for line in module_changes(pairs, {})] == ["net", "z"]


def report_of(content, tensors):
    views = [
        TensorView(name=name, dtype="F32", shape=[4], size=16, start=16 * place, digest=sha256_of(value.encode()))
        for place, (name, value) in enumerate(tensors.items())
    ]
    return FileReport(sha256=sha256_of(content), format="safetensors", tensors=views, parameters=4 * len(tensors))


@pytest.fixture
def repository(team, owner):
    return make_repository(team, owner, "reader")


@pytest.fixture
def versions(repository, owner):
    """Two versions of which the head differs, inspected."""
    found = []
    for content, head, card in ((b"one", "1", b"# A\nsame\n"), (b"two", "2", b"# B\nsame\n")):
        version = commit_files(repository, owner, {"model.safetensors": content, "README.md": card})
        tensors = {"net.w": "0", "net.b": "0", "head.w": head, "head.tied": head}
        record_report(version=version, report=report_of(content, tensors), actor=actor_for_user(owner))
        found.append(Version.objects.select_related("repository__team", "branch").get(pk=version.pk))
    return found


def change_of(pair, **measures):
    return TensorChange(left=pair.left.digest, right=pair.right.digest, dtype=pair.dtype, **measures)


def test_measures_are_asked_for_once_and_kept_by_digests(repository, owner, versions):
    left, right = versions
    views = [comparison(left, right)[0] for _ in range(3)]
    assert {view.state for view in views} == {InspectionState.PENDING}
    assert (views[0].unchanged_count, [one.name for one in views[0].changed]) == (2, ["head.w", "head.tied"])
    assert views[0].summary == "Only head.* changed; net.* is bit-identical."
    (job,) = Job.objects.all()
    claim, actor = claimed(job)
    assert claim.spec.model_dump() == {"kind": "compare", "left": f"{repository}@v1", "right": f"{repository}@v2"}
    assert actor.grants == {(repository.pk, Action.READ), (repository.pk, Action.INSPECT)}
    (pair,) = unmeasured(left, right)
    assert (pair.left.path, pair.left.start, pair.left.size, pair.right.start) == ("model.safetensors", 32, 16, 32)
    measures = {"relative_l2": 0.5, "cosine_similarity": 0.9, "max_abs_change": 2.0, "changed_share": 0.25}
    for _ in range(2):
        record_changes(left=left, right=right, changes=[change_of(pair, **measures)], actor=actor)
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.SUCCEEDED))
    view, _ = comparison(left, right)
    assert view.state is InspectionState.DONE
    assert [one.model_dump() for one in view.changed] == [
        {"name": name, **measures} for name in ("head.w", "head.tied")
    ]
    again = commit_files(repository, owner, {"copy.safetensors": b"two", "model.safetensors": None})
    again = Version.objects.select_related("repository__team", "branch").get(pk=again.pk)
    assert comparison(left, again)[0].state is InspectionState.DONE
    assert Job.objects.count() == 1


def test_measures_of_other_tensors_are_not_taken(owner, versions):
    left, right = versions
    other = TensorChange(left="a" * 64, right="b" * 64, dtype="F32", relative_l2=0)
    with pytest.raises(InvalidInputError, match="These digests are not of a tensor that differs"):
        record_changes(left=left, right=right, changes=[other], actor=actor_for_user(owner))


def test_a_comparison_that_failed_says_so_and_is_asked_for_again_later(versions):
    from datetime import timedelta

    import time_machine
    from django.utils import timezone

    comparison(*versions)
    Job.objects.update(state=JobState.FAILED, finished_at=timezone.now())
    assert comparison(*versions)[0].state is InspectionState.FAILED
    assert Job.objects.count() == 1
    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=False):
        assert comparison(*versions)[0].state is InspectionState.PENDING
    assert Job.objects.count() == 2


def test_before_an_inspection_has_ended_nothing_is_measured(repository, owner, versions):
    new = commit_files(repository, owner, {"model.safetensors": b"three"})
    new = Version.objects.select_related("repository__team", "branch").get(pk=new.pk)
    assert comparison(versions[0], new)[0].state is InspectionState.PENDING
    assert not Job.objects.exists()


def test_another_models_version_may_stand_on_the_right(team, owner, repository, versions):
    other = make_repository(team, owner, "tuned")
    version = commit_files(other, owner, {"model.safetensors": b"two"})
    actor = actor_for_user(owner)
    found = other_version(repository, f"{other}@v1", actor)
    assert found.pk == version.pk
    view, _ = comparison(versions[0], found)
    assert (view.left, view.right) == (f"{repository}@v1", f"{other}@v1")
    granted = claimed(Job.objects.get())[1].grants
    assert granted == {(one.pk, action) for one in (repository, other) for action in (Action.READ, Action.INSPECT)}
    with pytest.raises(RepositoryNotFoundError):
        other_version(repository, f"{other}@v1", actor_for_user(make_user()))


def test_files_and_cards_are_held_against_each_other(versions):
    view, texts = comparison(*versions)
    assert view.files.changed == ["README.md", "model.safetensors"]
    assert view.texts[0].path == "README.md"
    assert "-# A\n+# B\n same" in view.texts[0].diff
    rows = side_by_side(texts[0])
    assert [(row.kind, row.left, row.right) for row in rows] == [("replace", "# A", "# B"), ("equal", "same", "same")]


def test_texts_side_by_side_leave_out_what_is_the_same():
    lines = [str(number) for number in range(40)]
    rows = side_by_side(Texts("a.txt", lines, [*lines[:20], "new", *lines[20:38]]))
    assert [row.kind for row in rows if row.kind != "equal"] == ["insert", "gap", "delete", "delete"]
    assert next(row for row in rows if row.kind == "insert").right == "new"


def test_a_comparison_costs_a_constant_number_of_queries(versions, django_assert_max_num_queries):
    comparison(*versions)
    with django_assert_max_num_queries(16):
        comparison(*versions)


class TestOverHTTP:
    def test_pending_is_202_and_done_is_200(self, client, repository, owner, versions):
        headers = {"Authorization": f"Bearer {token_for(owner)}"}
        address = f"/api/v1/models/{repository}/compare/v1...v2"
        first = client.get(address, headers=headers)
        assert (first.status_code, first.json()["state"]) == (202, "pending")
        job = Job.objects.get()
        claim, _ = claimed(job)
        worker = {"Authorization": f"Bearer {claim.token}"}
        (pair,) = client.get(f"/api/v1/jobs/{job.pk}/changed-tensors", headers=worker).json()
        change = {"left": pair["left"]["digest"], "right": pair["right"]["digest"], "dtype": "F32", "relative_l2": 0.5}
        body = {"changes": [change]}
        answer = client.post(f"/api/v1/jobs/{job.pk}/tensor-changes", body, "application/json", headers=worker)
        assert answer.status_code == 204
        second = client.get(address, headers=headers)
        assert (second.status_code, second.json()["changed"][0]["relative_l2"]) == (200, 0.5)

    def test_strangers_learn_nothing(self, client, repository, versions):
        headers = {"Authorization": f"Bearer {token_for(make_user())}"}
        assert client.get(f"/api/v1/models/{repository}/compare/v1...v2", headers=headers).status_code == 404

    def test_the_page_says_it_at_a_glance(self, client, repository, owner, versions):
        client.force_login(owner)
        text = client.get(f"/{repository}/compare/v1...v2").content.decode()
        assert "Only head.* changed; net.* is bit-identical." in text
        assert "bit-identical</span>" in text
        assert 'hx-trigger="every 2s"' in text
        assert "# A" in text
        assert "# B" in text

    def test_datasets_are_compared_by_their_files(self, client, team, owner):
        from steelyard_contracts.refs import RepositoryKind

        data = make_repository(team, owner, "digits", RepositoryKind.DATASET)
        commit_files(data, owner, {"train/a.png": b"1"})
        commit_files(data, owner, {"train/b.png": b"2"})
        client.force_login(owner)
        answer = client.get(f"/datasets/{data}/compare/v1...v2")
        assert "train/b.png" in answer.content.decode()
