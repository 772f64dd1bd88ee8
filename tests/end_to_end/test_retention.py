"""Deleting, restoring and expiring with real clients: what comes back is what was there, byte by byte."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from steelyard_contracts.errors import ConflictError, NotFoundError, SteelyardError
from steelyard_contracts.refs import RepositoryKind

pytestmark = pytest.mark.end_to_end


def collect(installation):
    return installation.manage("collect_garbage", "--grace-hours", "0")


@pytest.fixture
def weights(tmp_path):
    """A folder whose file is large enough to come by chunks."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "w.bin").write_bytes(os.urandom(3_000_000))
    (folder / "README.md").write_text("# Weights")
    return folder


def download(installation, target, repository, revision="main", *, check=True):
    fresh = {"HF_HOME": str(target / "cache")}
    command = ("hf", "download", repository, "--revision", revision, "--local-dir", str(target))
    return installation.run(*command, check=check, environment=fresh)


def same(folder, other):
    return all((folder / name).read_bytes() == (other / name).read_bytes() for name in ("w.bin", "README.md"))


def test_a_deleted_version_comes_back_byte_by_byte_after_garbage_was_collected(installation, hub, weights, tmp_path):
    hub.push(weights, "lab/kept")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w.bin").write_bytes(os.urandom(2_000_000))
    hub.push(tmp_path / "other", "lab/kept")
    said = installation.run("steelyard", "delete", "lab/kept@v1", "--yes").stdout
    assert said.startswith("lab/kept@v1 (1 version) goes to the trash, and can be restored until 20")
    assert "in the trash: " in collect(installation)
    gone = download(installation, tmp_path / "gone", "lab/kept", "v1", check=False)
    assert gone.returncode != 0
    assert "lab/kept@v1" in installation.run("steelyard", "trash", "list", "lab").stdout
    assert installation.run("steelyard", "trash", "restore", "lab/kept@v1").stdout == "lab/kept@v1 is back.\n"
    collect(installation)
    download(installation, tmp_path / "back", "lab/kept", "v1")
    assert same(weights, tmp_path / "back")
    assert [version.version for version in hub.versions("lab/kept")] == ["v2", "v1"]


DELETE_AND_MAKE_AGAIN = """
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
api = HfApi()
api.delete_repo("lab/anew")
try: api.model_info("lab/anew")
except RepositoryNotFoundError: print("gone")
assert "lab/anew" not in [model.id for model in api.list_models(author="lab")]
api.create_repo("lab/anew")
api.upload_file(path_or_fileobj=b"new", path_in_repo="new.txt", repo_id="lab/anew")
print(sorted(api.list_repo_files("lab/anew")))
"""


def test_a_hub_client_makes_the_same_name_again_and_the_old_one_comes_back_beside_it(
    installation, hub, weights, tmp_path
):
    installation.run("hf", "upload", "lab/anew", str(weights))
    assert installation.python(DELETE_AND_MAKE_AGAIN).splitlines() == ["gone", "['new.txt']"]
    collect(installation)
    refused = installation.run("steelyard", "trash", "restore", "lab/anew", check=False)
    assert "say under which other name" in refused.stderr
    installation.run("steelyard", "trash", "restore", "lab/anew", "--name", "anew-old")
    download(installation, tmp_path / "back", "lab/anew-old")
    assert same(weights, tmp_path / "back")


def test_the_command_asks_with_what_the_page_says_and_takes_no_for_an_answer(installation, hub, weights):
    hub.push(weights, "lab/unwanted")
    hub.promote("lab/unwanted@v1", "production")
    refused = installation.run("steelyard", "delete", "lab/unwanted@v1", "--yes", check=False)
    assert refused.returncode == 1
    assert "lab/unwanted@v1 cannot be deleted: the alias 'production' stands on v1." in refused.stderr
    outlook = hub.foresee_deletion("lab/unwanted")
    assert (outlook.possible, outlook.versions, outlook.freed >= 3_000_000) == (True, 1, True)
    declined = installation.run("steelyard", "delete", "lab/unwanted", check=False)  # nobody is there to answer
    assert declined.returncode == 1
    assert "\n".join(outlook.lines) in declined.stdout
    hub.version("lab/unwanted@v1")
    hub.delete_repository("lab/unwanted")
    with pytest.raises(NotFoundError):
        hub.version("lab/unwanted@v1")


def test_a_rule_is_tried_set_and_applied(installation, hub, weights):
    for number in range(4):
        (weights / "number").write_text(str(number))
        hub.push(weights, "datasets:/lab/nightly")
    ref, options = "datasets:/lab/nightly", ("--keep-last", "2")
    tried = installation.run("steelyard", "expiry", "set", ref, *options, "--preview").stdout
    assert tried.startswith("The rule would expire 2 versions, ")
    installation.run("steelyard", "expiry", "set", ref, *options, "--yes")
    assert "The newest 2 versions of each branch stay." in installation.run("steelyard", "expiry", "show", ref).stdout
    installation.manage("shell", "-c", "from steelyard_platform.repos.tasks import look_after_trash as task; task()")
    assert [version.version for version in hub.versions(ref)] == ["v4", "v3"]
    assert {item.deleted_by for item in hub.trash.items("lab") if item.label.startswith("lab/nightly")} == {"steelyard"}
    installation.run("steelyard", "trash", "restore", f"{ref}@v1")
    installation.run("steelyard", "expiry", "remove", ref)
    assert [version.version for version in hub.versions(ref)] == ["v4", "v3", "v1"]
    installation.run("steelyard", "trash", "empty", f"{ref}@v2", "--yes")
    assert not [item for item in hub.trash.items("lab") if item.label == "lab/nightly@v2"]


def test_of_restoring_and_emptying_at_once_one_wins_and_nothing_is_half_done(racing, tmp_path):
    import steelyard

    (tmp_path / "w").write_text("weights")
    with steelyard.connect(racing.url, racing.token, quiet=True) as hub:
        for number in range(6):
            (tmp_path / "w").write_text(f"weights {number}")
            hub.push(tmp_path / "w", "lab/raced")
        for label in ("v1", "v3", "v4", "v5"):
            hub.delete_version(f"lab/raced@{label}")
        hub.push(tmp_path / "w", "lab/raced-too")
        hub.delete_repository("lab/raced-too")
        items = list(hub.trash.items())

        def attempt(verb, item):
            try:
                (hub.trash.restore if verb == "restore" else hub.trash.empty)(item.id)
            except NotFoundError:
                return None
            except ConflictError as error:  # nobody else wants its name
                raise AssertionError from error
            return verb

        with ThreadPoolExecutor(8) as pool:
            tries = [(item, pool.submit(attempt, verb, item)) for item in items for verb in ("restore", "empty") * 3]
            won: dict[str, list[str]] = {item.label: [] for item in items}
            for item, one in tries:
                if (verb := one.result()) is not None:
                    won[item.label].append(verb)
        assert all(len(verbs) == 1 for verbs in won.values()), won
        restored = {label for label, verbs in won.items() if verbs == ["restore"]}
        there = {f"lab/raced@{version.version}" for version in hub.versions("lab/raced")}
        assert there == {"lab/raced@v2", "lab/raced@v6", *(label for label in restored if "@" in label)}
        for number in (int(label[-1]) for label in there):
            assert (hub.pull(f"lab/raced@v{number}") / "w").read_text() == f"weights {number - 1}"
        names = {one["name"] for one in hub.repositories(RepositoryKind.MODEL)}
        assert ("lab/raced-too" in names) == ("lab/raced-too" in restored)
        assert not list(hub.trash.items())


def test_commits_deletions_and_restorations_at_once_leave_every_version_with_its_files(racing, tmp_path):
    import steelyard

    with steelyard.connect(racing.url, racing.token, quiet=True) as hub:
        for number in range(1, 9):
            (tmp_path / "w").write_text(str(number))
            hub.push(tmp_path / "w", "lab/busy")

        def push(number):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            (folder / f"new-{number}").write_text(str(number))
            hub.push(folder, "lab/busy")

        def delete_and_restore(label):
            hub.delete_version(f"lab/busy@{label}")
            (item,) = [one for one in hub.trash.items() if one.label == f"lab/busy@{label}"]
            hub.trash.restore(item.id)

        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(push, number) for number in range(4)]
            work += [pool.submit(delete_and_restore, f"v{number}") for number in range(1, 8)]
            for one in work:
                try:
                    one.result()
                except SteelyardError as error:  # a push that names a parent may have to be made again
                    assert error.code == "stale_parent", json.dumps(error.details)
        for number in range(1, 9):
            assert (hub.pull(f"lab/busy@v{number}", patterns=["w"]) / "w").read_text() == str(number)
