"""The trash: what was deleted is out of everybody's sight, held, and comes back as it was."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as some
import pytest
from django.core.management import call_command

from steelyard_contracts.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RepositoryNotFoundError,
)
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import AuditRow, Membership
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.fleet.services import variant_of
from steelyard_platform.repos import commits, services, tree
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.history import forget_large_files, squash
from steelyard_platform.repos.models import Branch, Entry, Repository, TrashItem, Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.restoring import empty, empty_due, restore
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.repos.trash import held_by_trash, visible_items
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader, content
from tests.platform.repos.test_garbage import GRACE, later, objects
from tests.support.factories import commit_files, empty_trash, make_repository, make_team, make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    return Uploader(client)


@pytest.fixture
def repository(owner, team):
    return make_repository(team, owner, "reader")


def at(repository, revision):
    version = resolve(repository, revision).version
    assert version is not None
    return version


def files_at(repository, revision="main"):
    return dict(tree.entries_at(resolve(repository, revision).version).values_list("path", "blob"))


def delete(repository, owner, label):
    services.delete_version(version=at(repository, label), actor=actor_for_user(owner))


def only_item():
    return TrashItem.objects.select_related("repository__team").get()


def bring_back(owner, item=None, **options):
    return restore(item=item or only_item(), actor=actor_for_user(owner), **options)


def item_of(label):
    return TrashItem.objects.select_related("repository__team").get(version__number=int(label[1:]))


PATHS = ("a", "b", "c")
COMMIT = some.dictionaries(some.sampled_from(PATHS), some.sampled_from([None, b"1", b"2", b"3"]), min_size=1)
MOVES = some.lists(some.tuples(some.booleans(), some.integers(0, 20)), max_size=14)


@hypothesis.settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    history=some.lists(COMMIT, min_size=2, max_size=7), moves=MOVES, side=some.booleans(), again=some.booleans()
)
def test_whatever_is_deleted_and_restored_every_version_has_its_files(history, moves, side, again):
    """In any order, on main and on a branch that sees main's files, with commits in between."""
    owner = make_user()
    repository = make_repository(make_team(owner), owner)
    branch = "main"
    if side:
        start = commit_files(repository, owner, {"a": b"0", "b": b"0"})
        actor = actor_for_user(owner)
        snapshot = resolve(repository)
        assert snapshot.version == start
        services.create_branch(repository=repository, name="side", start=snapshot, actor=actor)
        branch = "side"
    known: dict[str, dict[str, str]] = {}
    for number, files in enumerate(history):
        _commit(repository, owner, branch, {**files, "always": b"%d" % number}, known)
    gone: list[str] = []
    there = list(known)
    for is_back, which in moves:
        if is_back and gone:
            label = gone.pop(which % len(gone))
            bring_back(owner, item_of(label))
            there.append(label)
        elif not is_back and there:
            label = there.pop(which % len(there))
            delete(repository, owner, label)
            gone.append(label)
        if again and len(known) < len(history) + 2:
            _commit(repository, owner, branch, {"a": b"%d" % which, "new": b"%d" % len(known)}, known)
            there = [label for label in known if label not in gone]
        assert {label: files_at(repository, label) for label in there} == {label: known[label] for label in there}
    for label in gone:
        bring_back(owner, item_of(label))
    assert {label: files_at(repository, label) for label in known} == known
    assert at(repository, branch).label == max(known, key=lambda label: int(label[1:]))
    parents = list(Version.objects.filter(repository=repository, branch__name=branch).order_by("number"))
    assert [version.parent for version in parents[1:]] == parents[:-1]
    assert not Entry.objects.filter(branch__repository__is_trashed=True).exists()


def _commit(repository, owner, branch, files, known):
    present = files_at(repository, branch)
    changes = {path: data for path, data in files.items() if data is not None or path in present}
    version = commit_files(repository, owner, changes, branch=branch)
    known[version.label] = files_at(repository, version.label)


def test_a_version_comes_back_to_its_place_with_its_number_and_id(repository, owner):
    for data in (b"1", b"2", b"3"):
        commit_files(repository, owner, {"w": data})
    before = at(repository, "v2")
    delete(repository, owner, "v2")
    assert at(repository, "v3").parent == at(repository, "v1")
    assert bring_back(owner) == f"{repository}@v2"
    after = at(repository, "v2")
    assert (after.pk, after.commit_id, after.branch, after.parent) == (
        before.pk,
        before.commit_id,
        before.branch,
        at(repository, "v1"),
    )
    assert at(repository, "v3").parent == after
    assert not TrashItem.objects.exists()
    assert [row.action for row in AuditRow.objects.order_by("-pk")[:2]] == ["restore", "delete version"]


def test_the_newest_version_comes_back_as_the_newest_unless_others_came_after_it(repository, owner):
    commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    delete(repository, owner, "v2")
    bring_back(owner)
    assert at(repository, "main").label == "v2"
    delete(repository, owner, "v2")
    commit_files(repository, owner, {"w": b"3"})
    bring_back(owner)
    assert (at(repository, "main").label, at(repository, "v3").parent) == ("v3", at(repository, "v2"))


def test_a_version_whose_branch_is_gone_gets_one_of_its_own(repository, owner):
    actor = actor_for_user(owner)
    services.create_branch(repository=repository, name="side", start=None, actor=actor, sees_base=False)
    commit_files(repository, owner, {"w": b"1"}, branch="side")
    delete(repository, owner, "v1")
    services.delete_branch(repository=repository, name="side", actor=actor)
    bring_back(owner)
    assert at(repository, "v1").branch.name == "restored/v1"
    assert at(repository, "restored/v1").label == "v1"


def test_a_version_of_a_squashed_branch_comes_back_beside_it(repository, owner):
    for data in (b"1", b"2"):
        commit_files(repository, owner, {"w": data})
    files = files_at(repository, "v1")
    delete(repository, owner, "v1")
    squash(repository=repository, branch_name="main", message=commits.Message("one"), actor=actor_for_user(owner))
    bring_back(owner)
    assert (files_at(repository, "v1"), at(repository, "main").label) == (files, "v3")
    assert at(repository, "v1").branch.name == "restored/v1"


def test_a_branch_comes_back_to_what_it_stood_on_though_that_was_squashed(repository, owner):
    actor = actor_for_user(owner)
    commit_files(repository, owner, {"w": b"1", "shown": b"1"})
    services.create_branch(repository=repository, name="side", start=resolve(repository), actor=actor)
    commit_files(repository, owner, {"w": b"2"}, branch="side")
    files = files_at(repository, "side")
    services.delete_branch(repository=repository, name="side", actor=actor)
    squash(repository=repository, branch_name="main", message=commits.Message("one"), actor=actor)
    bring_back(owner)
    assert files_at(repository, "side") == files


def test_a_branch_comes_back_with_its_versions(repository, owner):
    actor = actor_for_user(owner)
    commit_files(repository, owner, {"w": b"1", "shown": b"1"})
    services.create_branch(repository=repository, name="side", start=resolve(repository), actor=actor)
    commit_files(repository, owner, {"w": b"2"}, branch="side")
    files = files_at(repository, "side")
    services.delete_branch(repository=repository, name="side", actor=actor)
    assert not Version.objects.filter(repository=repository, number=2).exists()
    # The version below may go now, and the branch cannot come back without it, nor lose it for good.
    delete(repository, owner, "v1")
    branch, version = TrashItem.objects.get(what="branch"), TrashItem.objects.get(what="version")
    with pytest.raises(ConflictError, match="v1, which .* stands on, is in the trash; restore that first"):
        bring_back(owner, branch)
    with pytest.raises(ConflictError, match="shows the files of .*@v1; empty that first"):
        empty(item=version, actor=actor)
    bring_back(owner, version)
    services.create_branch(repository=repository, name="side", start=None, actor=actor, sees_base=False)
    with pytest.raises(AlreadyExistsError, match="has 'side' again"):
        bring_back(owner, branch)
    assert bring_back(owner, branch, name="side-2") == f"{repository}@side-2"
    assert files_at(repository, "side-2") == files == files_at(repository, "v2")


def test_a_variant_in_the_trash_is_none_that_anybody_finds(client, repository, owner, team):
    actor = actor_for_user(owner)
    base = commit_files(repository, owner, {"w": b"1"})
    name = "v1-onnx-int8"
    start = resolve(repository)
    services.create_branch(repository=repository, name=name, start=start, actor=actor, sees_base=False)
    commit_files(repository, owner, {"model.onnx": b"2"}, branch=name)
    headers = {"Authorization": f"Bearer {token_for(owner)}"}
    address = f"/api/v1/models/{repository}/versions/v1"
    client.force_login(owner)
    assert client.get(address, headers=headers).json()["variants"] == {name: "v2"}
    services.delete_branch(repository=repository, name=name, actor=actor)
    assert client.get(address, headers=headers).json()["variants"] == {}
    assert name not in client.get(f"/{repository}/versions/v1").content.decode()
    base.repository = repository
    with pytest.raises(NotFoundError, match="There are: none"):
        variant_of(base, "onnx-int8")
    bring_back(owner)
    assert client.get(address, headers=headers).json()["variants"] == {name: "v2"}
    assert variant_of(base, "onnx-int8").label == "v2"


def test_a_repository_comes_back_whole_and_its_name_was_free_meanwhile(repository, owner, team):
    actor = actor_for_user(owner)
    version = commit_files(repository, owner, {"w": b"1"})
    services.move_alias(version=version, name="production", reason="", verdicts=[], actor=actor)
    services.delete_repository(repository=repository, actor=actor)
    with pytest.raises(RepositoryNotFoundError):
        find_repository(actor, RepositoryKind.MODEL, f"{team}/reader")
    again = make_repository(team, owner, "reader")
    commit_files(again, owner, {"w": b"another"})
    with pytest.raises(AlreadyExistsError, match="say under which other name"):
        bring_back(owner)
    assert bring_back(owner, name="reader-old") == f"{team}/reader-old"
    back = find_repository(actor, RepositoryKind.MODEL, f"{team}/reader-old")
    assert (back.pk, at(back, "production")) == (repository.pk, version)
    assert files_at(again) != files_at(back)


def test_a_former_name_of_what_is_in_the_trash_leads_nowhere(repository, owner, team):
    actor = actor_for_user(owner)
    moved = services.move_repository(repository=repository, team=team, name="moved", actor=actor)
    services.delete_repository(repository=moved, actor=actor)
    with pytest.raises(RepositoryNotFoundError):
        find_repository(actor, RepositoryKind.MODEL, f"{team}/reader")
    bring_back(owner)
    assert find_repository(actor, RepositoryKind.MODEL, f"{team}/reader").name == "moved"


def test_what_was_deleted_moves_along_with_its_repository(repository, owner):
    commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    delete(repository, owner, "v1")
    other = make_team(owner)
    moved = services.move_repository(repository=repository, team=other, name="elsewhere", actor=actor_for_user(owner))
    assert only_item().label == f"{other}/elsewhere@v1"
    assert Repository.everything.get(trash_of=moved).full_name == f"{other}/elsewhere"


def test_a_part_does_not_come_back_before_its_repository(repository, owner):
    commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    delete(repository, owner, "v1")
    services.delete_repository(repository=repository, actor=actor_for_user(owner))
    with pytest.raises(ConflictError, match="is in the trash itself; restore that first"):
        bring_back(owner, TrashItem.objects.get(what="version"))
    bring_back(owner, TrashItem.objects.get(what="repository"))
    bring_back(owner)
    assert at(repository, "v1").parent is None


def test_bytes_are_held_while_it_is_in_the_trash_and_go_when_its_time_is_over(ada):
    ada.push("w.bin", *CHUNKS)
    ada.push("w.bin", CHUNKS[0], b"another end" * 1000)
    services.delete_version(version=at(ada.repository, "v1"), actor=actor_for_user(ada.owner))
    assert held_by_trash(Repository.everything.filter(is_trashed=True)) > len(CHUNKS[2])
    with later(29 * 24):
        assert empty_due() == 0
        assert collect_garbage(GRACE).objects.objects == 0
    bring_back(ada.owner)
    answer = ada.client.get(f"/{ada.repository}/resolve/v1/w.bin", HTTP_AUTHORIZATION=f"Bearer {ada.hub_token}")
    assert content(answer) == WHOLE
    services.delete_version(version=at(ada.repository, "v1"), actor=actor_for_user(ada.owner))
    with later(30 * 24 + 1):
        assert empty_due() == 1
        assert collect_garbage(GRACE).objects.objects == 1
    assert objects() == ["xorbs"]
    assert AuditRow.objects.filter(action="empty trash", actor="steelyard").count() == 1


def test_a_branch_and_what_it_stands_on_go_in_the_right_order(repository, owner):
    actor = actor_for_user(owner)
    commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    services.create_branch(repository=repository, name="side", start=resolve(repository, "v1"), actor=actor)
    commit_files(repository, owner, {"x": b"3"}, branch="side")
    services.delete_branch(repository=repository, name="side", actor=actor)
    delete(repository, owner, "v1")
    services.delete_repository(repository=repository, actor=actor)
    with later(31 * 24):
        assert empty_due() == 3
    assert not Repository.everything.exists()
    assert not Branch.objects.exists()
    assert not Entry.objects.exists()


def test_garbage_collection_says_what_is_in_the_trash(ada, capsys):
    ada.push("w.bin", *CHUNKS)
    services.delete_repository(repository=ada.repository, actor=actor_for_user(ada.owner))
    call_command("collect_garbage", "--dry-run")
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("in the trash: 1 thing, 30.0 kB stored for it alone; the first goes on 20")


def test_the_other_words_for_a_deleted_version_lead_nowhere(repository, owner):
    first = commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    delete(repository, owner, "v1")
    for revision in ("v1", first.commit_id, first.commit_id[:10]):
        with pytest.raises(NotFoundError):
            resolve(repository, revision)


def test_what_must_be_forgotten_is_forgotten_in_the_trash_too(ada):
    record = ada.push("secret.bin", *CHUNKS)
    commit_files(ada.repository, ada.owner, {"secret.bin": None, "a": b"1"})
    services.delete_version(version=at(ada.repository, "v1"), actor=actor_for_user(ada.owner))
    actor = actor_for_user(ada.owner)
    assert forget_large_files(repository=ada.repository, digests={record.sha256}, actor=actor) == 1
    bring_back(ada.owner)
    assert (files_at(ada.repository, "v1"), at(ada.repository, "v1").total_size) == ({}, 0)


def test_who_may_delete_may_restore_and_maintainers_alone_may_empty(repository, owner, team):
    reader, writer, maintainer = make_user(), make_user(), make_user()
    for user, role in ((reader, Role.READER), (writer, Role.CONTRIBUTOR), (maintainer, Role.MAINTAINER)):
        Membership.objects.create(team=team, user=user, role=role)
    commit_files(repository, owner, {"w": b"1"})
    commit_files(repository, owner, {"w": b"2"})
    services.create_branch(repository=repository, name="side", start=None, actor=actor_for_user(owner), sees_base=False)
    commit_files(repository, owner, {"w": b"3"}, branch="side")
    services.delete_branch(repository=repository, name="side", actor=actor_for_user(writer))
    delete(repository, maintainer, "v1")
    branch, version = TrashItem.objects.get(what="branch"), TrashItem.objects.get(what="version")
    for user, sees in ((reader, 0), (make_user(), 0), (writer, 2), (maintainer, 2)):
        assert visible_items(actor_for_user(user)).count() == sees
    for item in (branch, version):
        with pytest.raises(ForbiddenError):
            empty(item=item, actor=actor_for_user(writer))
    with pytest.raises(ForbiddenError):
        bring_back(writer, version)
    bring_back(writer, branch)
    empty(item=version, actor=actor_for_user(maintainer))
    with pytest.raises(NotFoundError, match="is not in the trash any more"):
        bring_back(maintainer, version)


def test_nothing_of_another_team_can_be_found_in_the_trash(repository, owner):
    services.delete_repository(repository=repository, actor=actor_for_user(owner))
    stranger = make_user()
    make_team(stranger)
    assert not visible_items(actor_for_user(stranger)).exists()
    with pytest.raises(ForbiddenError):
        bring_back(stranger)
    empty_trash(stranger)
    assert TrashItem.objects.exists()


def test_the_newest_version_comes_back_with_what_its_card_says(repository, owner, django_capture_on_commit_callbacks):
    actor = actor_for_user(owner)
    for tag in ("day", "night"):
        with django_capture_on_commit_callbacks(execute=True):
            version = commit_files(repository, owner, {"README.md": f"---\ntags: [{tag}]\n---\n# Reader".encode()})
    with django_capture_on_commit_callbacks(execute=True):
        services.delete_version(version=version, actor=actor)
    assert Repository.objects.get(pk=repository.pk).tags == ["day"]
    with django_capture_on_commit_callbacks(execute=True):
        restore(item=TrashItem.objects.get(), actor=actor)
    assert Repository.objects.get(pk=repository.pk).tags == ["night"]
