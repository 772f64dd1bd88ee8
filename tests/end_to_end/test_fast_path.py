"""`steelyard push` and `pull` of weights: they move what changed, and what they send any Hub client reads."""

from __future__ import annotations

import random
import time

import pytest
import torch
from safetensors.torch import save_file

import steelyard
from steelyard.transfer.fetching import fetch_file
from steelyard.transfer.store import ChunkStore
from steelyard.transport import Transport
from steelyard_contracts.errors import SteelyardError
from tests.support.installations import RunningInstallation

pytestmark = pytest.mark.end_to_end
NAME = "model.safetensors"


def make_tensors(seed=0):
    """24 MB: ten layers, their biases, and a head of 2 percent."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {f"layer{n}.weight": 590_000 for n in range(10)} | {f"layer{n}.bias": 700 for n in range(10)}
    return {name: torch.randn(size, generator=generator) for name, size in {**sizes, "head": 120_000}.items()}


TENSORS = make_tensors(int(time.time()))  # of this run: nothing of it is stored already


def saved(folder, tensors, **metadata):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / NAME, metadata)
    return folder / NAME


def stored(hub, repository):
    """Bytes that are stored for a repository. Not the folder's: another test's files may be converted just now."""
    return hub.transport.call("GET", f"/api/v1/models/{repository}/storage")["stored"]


def download(installation, repository, target):
    """By an unmodified client, in a process of its own and with nothing cached."""
    environment = {"HF_HOME": str(target / "home")}
    done = installation.run("hf", "download", repository, NAME, "--local-dir", str(target), environment=environment)
    assert NAME in done.stdout
    return target / NAME


def test_every_kind_of_change_costs_what_is_new(hub, tmp_path):
    base = saved(tmp_path / "base", TENSORS)
    hub.push(base, "lab/fast")
    size = base.stat().st_size
    shuffled = list(TENSORS.items())
    random.Random(1).shuffle(shuffled)  # noqa: S311 - an order
    checkpoint = tmp_path / "model.pt"
    torch.save(TENSORS, checkpoint)
    allowed = {
        saved(tmp_path / "head", {**TENSORS, "head": TENSORS["head"] + 1}): 0.025,
        saved(tmp_path / "described", TENSORS, epoch="12", note="a longer header than before"): 0.005,
        saved(tmp_path / "shuffled", dict(shuffled)): 0.005,
        checkpoint: 0.005,
    }
    for file, share in allowed.items():
        before = stored(hub, "lab/fast")
        version = hub.push(file, "lab/fast")
        assert stored(hub, "lab/fast") - before <= share * size, file
        assert hub.pull(f"lab/fast@{version.version}", tmp_path / "down", patterns=[file.name])
        assert (tmp_path / "down" / file.name).read_bytes() == file.read_bytes()


def test_any_hub_client_reads_what_it_sends_and_the_other_way_round(installation, hub, tmp_path):
    file = saved(tmp_path / "ours", make_tensors(1))
    hub.push(file.parent, "lab/both-ways")
    assert download(installation, "lab/both-ways", tmp_path / "theirs").read_bytes() == file.read_bytes()
    other = saved(tmp_path / "other", make_tensors(2))
    installation.run("hf", "upload", "lab/both-ways", str(other), NAME)
    hub.pull("lab/both-ways", tmp_path / "down")
    assert (tmp_path / "down" / NAME).read_bytes() == other.read_bytes()


def test_a_folder_is_one_version_with_weights_and_everything_else(hub, tmp_path):
    folder = saved(tmp_path / "folder", make_tensors(3)).parent
    (folder / "README.md").write_text("# A model")
    (folder / "logs").mkdir()
    (folder / "logs" / "events.bin").write_bytes(bytes(range(256)) * 4000)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("not pushed")
    version = hub.push(folder, "lab/folder", message="all of it")
    assert (version.version, version.files, version.title) == ("v1", 3, "all of it")
    hub.pull("lab/folder", tmp_path / "down")
    for path in ("README.md", "logs/events.bin", NAME):
        assert (tmp_path / "down" / path).read_bytes() == (folder / path).read_bytes()
    assert hub.push(folder, "lab/folder").version == "v1"  # nothing changed


def test_a_pull_puts_small_files_right_and_leaves_others_alone(hub, tmp_path):
    (tmp_path / "up").mkdir()
    for name, text in {"a.txt": "one", "b.txt": "two"}.items():
        (tmp_path / "up" / name).write_text(text)
    hub.push(tmp_path / "up", "lab/small")
    down = tmp_path / "down"
    down.mkdir()
    (down / "a.txt").write_text("altered")
    (down / "mine.txt").write_text("kept")
    (down / "b.txt").write_text("not asked for")
    hub.pull("lab/small", down, patterns=["a.*"])
    assert {path.name: path.read_text() for path in down.iterdir()} == {
        "a.txt": "one",
        "b.txt": "not asked for",
        "mine.txt": "kept",
    }


@pytest.fixture
def pushed(installation, hub, tmp_path):
    """(fetch, the file) of `lab/fetched`; `fetch` returns how many bytes travelled."""
    file = saved(tmp_path / "source", TENSORS)
    hub.push(file, "lab/fetched")
    transport = Transport(installation.url, installation.token)
    store = ChunkStore(transport, steelyard.parse_ref("lab/fetched"), "read")
    address = "/api/models/lab/fetched/tree/main"
    (listed,) = (one for one in transport.pages(address) if one["path"] == NAME)

    def fetch(target):
        return fetch_file(transport, store, listed["xetHash"], target)

    yield fetch, file
    transport.close()


def test_an_update_fetches_what_changed_and_a_broken_off_fetch_goes_on(pushed, tmp_path):
    fetch, file = pushed
    content, target = file.read_bytes(), tmp_path / "down" / NAME
    assert fetch(target) == len(content)
    assert fetch(target) == 0
    saved(target.parent, {**TENSORS, "head": TENSORS["head"] + 1})
    assert fetch(target) <= 0.025 * len(content)
    target.unlink()
    part = target.with_name(f"{NAME}.part")
    part.write_bytes(content[:10_000_000] + bytes(5_000_000))
    assert fetch(target) < len(content) - 9_000_000
    assert target.read_bytes() == content
    assert not part.exists()


def test_damage_on_the_way_is_refused_and_what_was_there_stays(pushed, installation, tmp_path):
    fetch, file = pushed
    target = tmp_path / "down" / NAME
    target.parent.mkdir()
    target.write_bytes(b"what was there")
    xorbs = sorted((installation.var / "objects" / "xorbs").rglob("*"), key=lambda path: path.stat().st_mtime)
    damaged = [path for path in xorbs if path.is_file()]
    before = {path: path.read_bytes() for path in damaged}
    try:
        for path, data in before.items():
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(SteelyardError, match="damaged"):
            fetch(target)
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    assert target.read_bytes() == b"what was there"
    fetch(target)
    assert target.read_bytes() == file.read_bytes()


def test_a_link_in_the_target_leads_nowhere_else(hub, tmp_path):
    hub.push(saved(tmp_path / "source", make_tensors(4)).parent, "lab/linked")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "down").mkdir()
    (tmp_path / "down" / NAME).symlink_to(tmp_path / "elsewhere" / "victim")
    with pytest.raises(SteelyardError, match="remove the link"):
        hub.pull("lab/linked", tmp_path / "down")
    assert not (tmp_path / "elsewhere" / "victim").exists()


@pytest.mark.service("s3")
def test_weights_travel_through_s3_as_well(tmp_path, s3_server):
    running = RunningInstallation(tmp_path / "hub", s3_server.settings(f"fast-{time.time_ns()}"))
    running.start("--without-compute")
    try:
        with steelyard.connect(running.url, running.token, quiet=True) as client:
            file = saved(tmp_path / "source", TENSORS)
            client.push(file, "lab/far")
            client.pull("lab/far", tmp_path / "down")
            assert (tmp_path / "down" / NAME).read_bytes() == file.read_bytes()
            assert download(running, "lab/far", tmp_path / "theirs").read_bytes() == file.read_bytes()
    finally:
        running.stop()


@pytest.mark.parametrize("client", ["steelyard", "hf", "hf without xet"])
def test_what_was_damaged_in_the_store_is_put_right_by_pushing_it_again(tmp_path, client):
    """As `manage.py verify_storage` says; from another machine, because a Hub client remembers what it has sent."""
    running = RunningInstallation(tmp_path / "hub")
    running.start("--without-compute")
    try:
        file, small = saved(tmp_path / "source", TENSORS), tmp_path / "source" / "note.txt"
        small.write_text("a small file, in a pack")

        def push(home):
            environment = {"HF_HOME": str(tmp_path / home), "HF_HUB_DISABLE_XET": str(int("without" in client))}
            command = ("steelyard", "push") if client == "steelyard" else ("hf", "upload")
            where = ("lab/damaged", str(file.parent))
            running.run(*command, *(where if command[0] == "hf" else where[::-1]), environment=environment)

        push("first")
        objects = running.var / "objects"
        for path in (path for path in objects.rglob("*") if path.is_file() and not path.name.startswith(".")):
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        assert "damaged" in running.manage("verify_storage", check=False)
        push("second")
        assert download(running, "lab/damaged", tmp_path / "down").read_bytes() == file.read_bytes()
        (tmp_path / "down" / NAME).unlink()
        running.run("hf", "download", "lab/damaged", "note.txt", "--local-dir", str(tmp_path / "down"))
        assert (tmp_path / "down" / "note.txt").read_text() == small.read_text()
        assert "lab/damaged" not in running.manage("verify_storage", check=False)
    finally:
        running.stop()
