"""A name stands for its version wherever a reference is taken: the SDK, the command, the Hub's own clients."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from steelyard.cli import main
from steelyard_contracts.refs import parse_ref

pytestmark = pytest.mark.end_to_end

WAYS = [
    "lab/named@production",
    "models:/lab/named@production",
    "lab/named@refs/aliases/production",
    "lab/named@paper",
    "lab/named@v1",
    "models:/lab/named@{commit}",
]


@pytest.fixture(scope="session")
def named(installation, tmp_path_factory):
    """`lab/named`: production and paper are v1, and main has gone on to v2. The id of v1's commit."""
    import steelyard

    folder = tmp_path_factory.mktemp("named")
    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        (folder / "config.json").write_text('{"which": "first"}')
        first = hub.push(folder, "lab/named")
        hub.promote("lab/named@v1", "production", reason="the first")
        hub.tag("lab/named@production", "paper")
        (folder / "config.json").write_text('{"which": "second"}')
        hub.push(folder, "lab/named")
    return first.commit


@pytest.fixture(params=WAYS)
def ref(request, named):
    return request.param.format(commit=named)


@pytest.fixture
def command(installation):
    """Runs `steelyard …` in this process; what it printed, or with `check=False` what it complained."""

    def run(*arguments, check=True):
        done = CliRunner().invoke(main, arguments, env=installation.environment)
        assert (done.exit_code == 0) is check, done.output
        return done.stdout if check else done.stderr

    return run


def test_the_sdk_takes_every_way_to_name_a_version(hub, ref, tmp_path):
    for one in (ref, parse_ref(ref)):
        assert hub.version(one).version == "v1"
        assert "first" in (hub.pull(one, tmp_path / "pulled") / "config.json").read_text()
        assert hub.verdicts(one) == []
        hub.promote(one, "staging")
    assert {alias.name: alias.version for alias in hub.aliases(ref)}["staging"] == "v1"
    assert hub.tag(ref, "again").version == "v1"
    hub.delete_tag(ref, "again")
    asked = hub.request_promotion(ref, "nightly")
    assert asked.version == "v1"
    hub.withdraw_promotion(ref, asked.number)


# What each command says of v1. `{fresh}`: a name that nothing has yet.
SAYS = [
    (["show", "{ref}"], "v1 "),
    (["versions", "{ref}"], "v1"),
    (["pull", "{ref}", "{folder}"], "{folder}"),
    (["inspect", "--no-wait", "{ref}"], ""),
    (["diff", "--no-wait", "{ref}", "{ref}"], ""),
    (["lineage", "{ref}"], ""),
    (["devices", "running", "{ref}"], ""),
    (["bom", "{ref}"], "CycloneDX"),
    (["quarantine", "show", "{ref}"], ""),
    (["evaluations", "list", "{ref}"], "interval"),
    (["evaluations", "compare", "{ref}", "{ref}"], "No two of them were measured"),
    (["promote", "{ref}", "staging"], "staging is now v1."),
    (["promote", "--request", "{ref}", "{fresh}"], "v1 as {fresh} waits for a maintainer."),
    (["gates", "check", "{ref}"], ""),
    (["gates", "list", "{ref}"], ""),
    (["tag", "add", "{ref}", "{fresh}"], "{fresh} is v1."),
    (["tag", "list", "{ref}"], "paper: v1"),
    (["alias", "list", "{ref}"], "production: v1"),
    (["alias", "history", "{ref}", "production"], "the first"),
    (["promotions", "list", "{ref}"], "in place of"),
    (["expiry", "set", "{ref}", "--keep-last", "1", "--preview"], ""),
]
# `lab/named` is no network, no dataset and no danger: each sentence shows that the reference was followed.
REFUSALS = [
    (["train", "lab/named-data@production", "lab/out", "--base", "{ref}"], "lab/named-data"),
    (["tune", "start", "lab/named-data", "lab/out", "--base", "{ref}", "--vary", "epochs=1..2"], "lab/named-data"),
    (["evaluate", "{ref}", "lab/named-data"], "lab/named-data"),
    (["optimise", "{ref}", "lab/named-data"], "lab/named-data"),
    (["predict", "{ref}", "{file}"], "Picture 1 is no PNG"),
    (["evaluations", "show", "{ref}", "999999"], "lab/named@v1 has no evaluation 999999"),
    (["convert", "{ref}"], "v1"),
    (["release", "{ref}"], "lab/named@v1 cannot run on a device"),
    (["delete", "--yes", "{ref}"], "the alias 'production' stands on v1"),
    (["push", "{file}", "{ref}"], "lab/named has no branch"),
    (["quarantine", "lift", "{ref}", "--reason", "x"], "lab/named@v1 is not in quarantine"),
    (["quarantine", "restore", "{ref}", "--reason", "x"], "lab/named@v1"),
    (["approve", "{ref}", "9999"], "lab/named has no promotion 9999"),
    (["reject", "{ref}", "9999"], "lab/named has no promotion 9999"),
    (["promotions", "show", "{ref}", "9999"], "lab/named has no promotion 9999"),
    (["promotions", "comment", "{ref}", "9999", "x"], "lab/named has no promotion 9999"),
    (["promotions", "change", "{ref}", "9999"], "lab/named has no promotion 9999"),
    (["promotions", "withdraw", "{ref}", "9999"], "lab/named has no promotion 9999"),
    (["promotions", "carry-out", "{ref}", "9999"], "lab/named has no promotion 9999"),
    (["alias", "protect", "{ref}", "nothing"], "lab/named has no alias 'nothing'"),
    (["alias", "unprotect", "{ref}", "nothing"], "lab/named has no alias 'nothing'"),
    (["alias", "delete", "{ref}", "nothing"], "lab/named has no alias 'nothing'"),
    (["tag", "delete", "{ref}", "nothing"], "lab/named has no tag 'nothing'"),
    (["gates", "add", "{ref}", "nonsense"], "The rule 'nonsense' does not parse"),
    (["gates", "remove", "{ref}", "999999"], "lab/named has no gate 999999"),
    (["expiry", "show", "{ref}"], "lab/named has no expiry rule"),
    (["expiry", "remove", "{ref}"], "lab/named has no expiry rule"),
]


def words_of(value):
    return "-".join(word for word in value if word.isalpha()) if isinstance(value, list) else ""


def filled(arguments, said, ref, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    fresh = re.sub(r"[^a-z0-9]+", "-", f"{words_of(arguments)}-{ref}").strip("-")[-60:].strip("-")
    fill = {"ref": ref, "folder": tmp_path / "pulled", "file": tmp_path / "a.txt", "fresh": fresh}
    return [one.format(**fill) for one in arguments], said.format(**fill)


@pytest.mark.parametrize(("arguments", "said"), SAYS, ids=words_of)
def test_every_command_that_takes_a_reference_takes_them_all(command, ref, arguments, said, tmp_path):
    arguments, said = filled(arguments, said, ref, tmp_path)
    assert said in command(*arguments)


@pytest.mark.parametrize(("arguments", "said"), REFUSALS, ids=words_of)
def test_commands_that_refuse_what_is_named_have_understood_the_name(command, ref, arguments, said, tmp_path):
    arguments, said = filled(arguments, said, ref, tmp_path)
    assert said in command(*arguments, check=False)


def names_of_values(command):
    return [one.name for one in command.params if not getattr(one, "is_flag", False)]


def commands_below(group, path=()):
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands_below(one, (*path, name))
        elif {"ref", "model", "dataset", "left"} & set(names_of_values(one)):
            yield (*path, name)


def test_no_command_that_takes_a_reference_is_left_out():
    tested = [tuple(arguments) for arguments, _ in [*SAYS, *REFUSALS]]
    missing = [path for path in commands_below(main) if not any(one[: len(path)] == path for one in tested)]
    assert missing == [("verify",)]  # see tests/end_to_end/test_signatures.py


def test_jobs_take_every_way_to_name_a_version(hub, named, dataset, quick):
    """Queued with names, they run with the versions that the names stood for."""
    hub.promote(f"datasets:/{dataset}@v1", "gold")
    made = hub.wait(hub.train(dataset=f"datasets:/{dataset}@gold", output="lab/by-name", **quick).id)
    assert made.spec.dataset == f"{dataset}@v1"
    hub.promote("lab/by-name@v1", "production")
    for name in ("models:/lab/by-name@production", parse_ref("lab/by-name@refs/aliases/production")):
        measured = hub.wait(hub.evaluate(name, f"{dataset}@gold").id)
        assert (measured.spec.model, measured.spec.dataset) == ("lab/by-name@v1", f"{dataset}@v1")
    hub.add_gate("lab/by-name", f"accuracy >= 0 on {dataset}@gold", applies_to="staging")
    hub.promote("lab/by-name@production", "staging")


@pytest.mark.parametrize("revision", ["production", "refs/aliases/production", "paper", "v1"])
def test_the_hubs_clients_take_the_names_as_revisions(installation, named, tmp_path, revision):
    from huggingface_hub import HfApi, HfFileSystem

    api = HfApi(endpoint=installation.url, token=installation.token)
    file = api.hf_hub_download("lab/named", "config.json", revision=revision, cache_dir=tmp_path / "cache")
    assert "first" in Path(file).read_text()
    assert named in file  # the cache knows it by the commit, so that a name that moves is fetched anew
    folder = api.snapshot_download("lab/named", revision=revision, cache_dir=tmp_path / "cache")
    assert "first" in (Path(folder) / "config.json").read_text()
    assert api.model_info("lab/named", revision=revision).sha == named
    assert api.list_repo_files("lab/named", revision=revision) == ["config.json"]
    assert api.revision_exists("lab/named", revision)
    if "/" not in revision:
        files = HfFileSystem(endpoint=installation.url, token=installation.token)
        assert "first" in files.read_text(f"lab/named@{revision}/config.json")


def test_the_hubs_clients_see_the_names_among_the_references(installation, named):
    from huggingface_hub import HfApi

    refs = HfApi(endpoint=installation.url, token=installation.token).list_repo_refs("lab/named")
    found = {one.name: (one.ref, one.target_commit) for one in refs.tags}
    assert found["paper"] == ("refs/tags/paper", named)
    assert found["production"] == ("refs/aliases/production", named)
    assert [one.name for one in refs.branches] == ["main"]


def test_a_name_that_moves_is_fetched_anew(hub, installation, tmp_path):
    from huggingface_hub import HfApi

    api = HfApi(endpoint=installation.url, token=installation.token)
    for number in (1, 2):
        (tmp_path / "w.txt").write_text(f"number {number}")
        hub.push(tmp_path / "w.txt", "lab/moving")
        hub.promote("lab/moving", "production")
        file = api.hf_hub_download("lab/moving", "w.txt", revision="production", cache_dir=tmp_path / "cache")
        assert Path(file).read_text() == f"number {number}"
    hub.delete_alias("lab/moving", "production", reason="enough")
    assert not api.revision_exists("lab/moving", "production")
    assert [move.to_version for move in hub.alias_history("lab/moving")] == [None, "v2", "v1"]
