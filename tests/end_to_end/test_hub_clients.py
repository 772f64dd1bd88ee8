"""An unmodified huggingface_hub, the `hf` command, HfFileSystem and transformers against a real server."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import urllib.request
from pathlib import Path

import pytest

import steelyard

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="session")
def api(installation):
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    from huggingface_hub import HfApi, constants

    constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_TELEMETRY = True
    return HfApi(endpoint=installation.url, token=installation.token)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "upload"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- demo\n---\n# A model\n")
    (root / "sub" / "small.txt").write_text("small")
    (root / "sub" / "deep" / "large.bin").write_bytes(os.urandom(3_000_000))
    return root


def contents(root):
    root = Path(root)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_a_folder_goes_up_and_comes_down_byte_for_byte(api, folder, tmp_path):
    api.create_repo("lab/whole")
    done = api.upload_folder(repo_id="lab/whole", folder_path=folder)
    assert done.commit_url.endswith(done.oid)
    pulled = api.snapshot_download("lab/whole", local_dir=tmp_path / "down")
    assert contents(pulled) == contents(folder)
    info = api.model_info("lab/whole", files_metadata=True)
    assert (info.sha, info.private, info.card_data.license) == (done.oid, True, "apache-2.0")
    lfs = {file.rfilename: file.lfs for file in info.siblings}
    assert lfs["sub/deep/large.bin"].size == 3_000_000
    assert lfs["sub/small.txt"] is None


def test_a_file_in_several_parts_arrives_whole(api, tmp_path):
    large = tmp_path / "large.safetensors"
    large.write_bytes(os.urandom(1_000_000) * 130)  # three parts
    api.create_repo("lab/parts")
    api.upload_file(path_or_fileobj=large, path_in_repo=large.name, repo_id="lab/parts")
    pulled = api.hf_hub_download("lab/parts", large.name, local_dir=tmp_path / "down")
    assert Path(pulled).read_bytes() == large.read_bytes()


def test_pushing_again_sends_nothing_and_makes_no_version(api, folder):
    api.create_repo("lab/again")
    first = api.upload_folder(repo_id="lab/again", folder_path=folder)
    assert api.upload_folder(repo_id="lab/again", folder_path=folder).oid == first.oid
    assert len(api.list_repo_commits("lab/again")) == 1


def test_copy_delete_and_history(api, folder):
    from huggingface_hub import CommitOperationCopy, CommitOperationDelete

    api.create_repo("lab/edits")
    api.upload_folder(repo_id="lab/edits", folder_path=folder)
    operations = [
        CommitOperationCopy("sub/deep/large.bin", "copy.bin"),
        CommitOperationCopy("sub/small.txt", "copy.txt"),
        CommitOperationDelete("sub/", is_folder=True),
    ]
    api.create_commit("lab/edits", operations, commit_message="Tidy up")
    assert sorted(api.list_repo_files("lab/edits")) == ["README.md", "copy.bin", "copy.txt"]
    assert api.list_repo_commits("lab/edits")[0].title == "Tidy up"
    assert "sub/small.txt" in api.list_repo_files("lab/edits", revision="v1")


def test_branches_tags_and_refs(api, installation):
    api.create_repo("lab/refs")
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="lab/refs")
    api.create_branch("lab/refs", branch="feature/x")
    api.create_branch("lab/refs", branch="feature/x", exist_ok=True)
    api.upload_file(path_or_fileobj=b"2", path_in_repo="b", repo_id="lab/refs", revision="feature/x")
    api.create_tag("lab/refs", tag="paper", revision="main", tag_message="as published")
    refs = api.list_repo_refs("lab/refs")
    assert {one.name for one in refs.branches} == {"main", "feature/x"}
    assert [one.name for one in refs.tags] == ["paper"]
    assert sorted(api.list_repo_files("lab/refs", revision="feature/x")) == ["a", "b"]
    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        assert hub.version("lab/refs@feature/x").files == 2
    assert api.list_repo_files("lab/refs", revision="paper") == ["a"]
    api.delete_tag("lab/refs", tag="paper")
    api.delete_branch("lab/refs", branch="feature/x")
    assert not api.revision_exists("lab/refs", "feature/x")


def test_a_proposal_is_a_branch_of_its_own(api, installation):
    from huggingface_hub import HfFileSystem

    api.create_repo("lab/proposed")
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="lab/proposed")
    numbers = []
    for data in (b"2", os.urandom(300_000)):
        done = api.upload_file(path_or_fileobj=data, path_in_repo="b", repo_id="lab/proposed", create_pr=True)
        assert done.pr_url.endswith(f"/lab/proposed/discussions/{done.pr_num}")
        numbers.append(done.pr_num)
        pulled = api.hf_hub_download("lab/proposed", "b", revision=done.pr_revision)
        assert Path(pulled).read_bytes() == data
    assert numbers == [1, 2]
    assert api.list_repo_files("lab/proposed") == ["a"]
    refs = api.list_repo_refs("lab/proposed", include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1", "refs/pr/2"]
    assert [ref.name for ref in refs.branches] == ["main"]
    files = HfFileSystem(endpoint=installation.url, token=installation.token)
    listed = [str(path) for path in files.ls("lab/proposed@refs/pr/1", detail=False)]
    assert sorted(listed) == ["lab/proposed@refs/pr/1/a", "lab/proposed@refs/pr/1/b"]


def test_a_recursive_list_has_the_folders_too(api):
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.hf_api import RepoFolder

    api.create_repo("lab/folders")
    files = [CommitOperationAdd(path, b"1") for path in ("a/b/c.txt", "a/b/d.txt", "a/e.txt", "a.txt", "f/g.txt")]
    api.create_commit("lab/folders", files, commit_message="Folders")
    found = list(api.list_repo_tree("lab/folders", recursive=True))
    assert [item.path for item in found if isinstance(item, RepoFolder)] == ["a", "a/b", "f"]
    assert len(found) == 8


def test_names_without_a_namespace_are_not_found(api):
    from huggingface_hub.errors import RepositoryNotFoundError

    assert not api.repo_exists("gpt2")
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download("gpt2", "config.json")


def test_a_short_commit_id_is_a_revision(api):
    api.create_repo("lab/short")
    done = api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="lab/short")
    assert api.model_info("lab/short", revision=done.oid[:7]).sha == done.oid


def test_weights_are_large_files_whatever_their_size(api):
    api.create_repo("lab/kinds")
    api.upload_file(path_or_fileobj=b"1234567", path_in_repo="w.safetensors", repo_id="lab/kinds")
    [file] = api.list_repo_tree("lab/kinds")
    assert file.lfs.size == 7


def test_repositories_are_made_listed_moved_and_deleted(api):
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    api.create_repo("lab/first", repo_type="dataset", private=False)
    api.create_repo("lab/first", repo_type="dataset", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="A dataset repository called lab/first already exists"):
        api.create_repo("lab/first", repo_type="dataset")
    assert [one.id for one in api.list_datasets(search="first")] == ["lab/first"]
    api.move_repo("lab/first", "lab/second", repo_type="dataset")
    assert api.dataset_info("lab/first").id == "lab/second"  # the old address leads to the new one
    api.update_repo_settings("lab/second", repo_type="dataset", private=True)
    assert api.dataset_info("lab/second").private
    api.delete_repo("lab/second", repo_type="dataset")
    assert not api.repo_exists("lab/second", repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("lab/second", repo_type="dataset")
    api.delete_repo("lab/second", repo_type="dataset", missing_ok=True)


def test_errors_are_the_clients_own(api, installation):
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api.create_repo("lab/errors", exist_ok=True)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="lab/errors")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("lab/nothing")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("lab/errors", revision="v99")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("lab/errors", "nothing.bin")
    stranger = HfApi(endpoint=installation.url, token="sy_wrong")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        stranger.model_info("lab/errors")
    assert not HfApi(endpoint=installation.url, token=False).repo_exists("lab/errors")


def test_lists_of_thousands_of_files_come_in_pages(api):
    from huggingface_hub import CommitOperationAdd

    api.create_repo("lab/many", repo_type="dataset")
    files = [CommitOperationAdd(f"data/{number:05}.txt", str(number).encode()) for number in range(2300)]
    api.create_commit("lab/many", files, commit_message="Many", repo_type="dataset")
    assert len(api.list_repo_files("lab/many", repo_type="dataset")) == 2300
    found = list(api.list_repo_tree("lab/many", path_in_repo="data", repo_type="dataset", expand=True))
    assert len(found) == 2300
    assert found[0].last_commit.title == "Many"


def test_the_hf_command(installation, folder, tmp_path):
    assert "ada" in installation.run("hf", "auth", "whoami").stdout
    installation.run("hf", "upload", "lab/by-hf", str(folder))
    installation.run("hf", "download", "lab/by-hf", "--local-dir", str(tmp_path / "down"))
    assert contents(tmp_path / "down") == contents(folder)
    assert "lab/by-hf" in installation.run("hf", "models", "ls", "--search", "by-hf", "--format", "json").stdout


def test_the_hf_cache_knows_what_was_downloaded_and_verifies_it(installation, folder):
    installation.run("hf", "upload", "lab/cached", str(folder))
    where = Path(installation.run("hf", "download", "lab/cached", "--quiet").stdout.strip().splitlines()[-1].strip())
    assert "lab/cached" in installation.run("hf", "cache", "ls").stdout
    installation.run("hf", "cache", "verify", "lab/cached")
    damaged = (where / "sub" / "small.txt").resolve()
    damaged.write_text("SMALL")
    assert installation.run("hf", "cache", "verify", "lab/cached", check=False).returncode != 0
    installation.run("hf", "cache", "rm", "model/lab/cached", "--yes")
    assert "lab/cached" not in installation.run("hf", "cache", "ls").stdout


def test_a_large_folder_goes_up_in_many_commits_and_is_whole_at_the_end(installation, tmp_path):
    """What `upload_large_folder` was, the client's `upload_folder` does by itself now: it cuts large folders."""
    for number in range(300):
        (tmp_path / "up" / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        size = 1_000_000 if number % 100 == 0 else 500
        (tmp_path / "up" / f"{number % 7}" / f"{number}.bin").write_bytes(os.urandom(size))
    installation.run("hf", "upload", "lab/many", str(tmp_path / "up"))
    installation.run("hf", "download", "lab/many", "--local-dir", str(tmp_path / "down"))
    assert contents(tmp_path / "down") == contents(tmp_path / "up")


def test_a_client_of_git_lfs_uploads_by_the_batch_api_alone(installation, api):
    data = os.urandom(300_000)
    oid = hashlib.sha256(data).hexdigest()
    api.create_repo("lab/plain-lfs")

    def call(path, body, content_type="application/vnd.git-lfs+json"):
        headers = {"Authorization": f"Bearer {installation.token}", "Content-Type": content_type}
        address = path if path.startswith("http") else installation.url + path
        request = urllib.request.Request(address, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    wanted = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(data)}]}
    told = call("/lab/plain-lfs.git/info/lfs/objects/batch", json.dumps(wanted).encode())
    actions = told["objects"][0]["actions"]
    put = urllib.request.Request(actions["upload"]["href"], data=data, method="PUT")
    urllib.request.urlopen(put).close()
    call(actions["verify"]["href"], json.dumps({"oid": oid, "size": len(data)}).encode())
    lines = [
        {"key": "header", "value": {"summary": "by git-lfs"}},
        {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(data)}},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    call("/api/models/lab/plain-lfs/commit/main", body, "application/x-ndjson")
    assert Path(api.hf_hub_download("lab/plain-lfs", "w.bin")).read_bytes() == data


def test_the_file_system(api, installation):
    from huggingface_hub import HfFileSystem

    api.create_repo("lab/files", repo_type="dataset", exist_ok=True)
    files = HfFileSystem(endpoint=installation.url, token=installation.token)
    with files.open("datasets/lab/files/a/b.txt", "w") as file:
        file.write("one line\n" * 1000)
    assert files.ls("datasets/lab/files/a", detail=False) == ["datasets/lab/files/a/b.txt"]
    with files.open("datasets/lab/files/a/b.txt", "rb", block_size=100) as file:
        file.seek(9)
        assert file.read(8) == b"one line"
    assert files.glob("datasets/lab/files/**/*.txt") == ["datasets/lab/files/a/b.txt"]
    files.rm("datasets/lab/files/a/b.txt")
    assert not files.exists("datasets/lab/files/a/b.txt")


def test_transformers_saves_and_loads_by_name_and_by_alias(installation):
    """In a process of its own: the client reads HF_ENDPOINT when it is first imported."""
    printed = installation.python(
        """
import json, torch, steelyard
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification
sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
config = ResNetConfig(num_channels=1, num_labels=2, **sizes)
models = [ResNetForImageClassification(config) for _ in range(2)]
models[0].push_to_hub("lab/tiny")
steelyard.connect().promote("lab/tiny@v1", "production")
models[1].push_to_hub("lab/tiny")

def same(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())

newest = AutoModelForImageClassification.from_pretrained("lab/tiny")
production = AutoModelForImageClassification.from_pretrained("lab/tiny", revision="production")
print(json.dumps([same(newest, models[1]), same(production, models[0]), same(production, newest)]))
"""
    )
    assert json.loads(printed.strip().splitlines()[-1]) == [True, True, False]


def test_safetensors_metadata_is_read_by_range(api, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros((300, 1000), dtype=np.float32)}, tmp_path / "model.safetensors")
    api.create_repo("lab/metadata")
    api.upload_file(
        path_or_fileobj=tmp_path / "model.safetensors", path_in_repo="model.safetensors", repo_id="lab/metadata"
    )
    found = api.get_safetensors_metadata("lab/metadata")
    assert found.parameter_count == {"F32": 300_000}


def test_an_upload_that_stops_half_way_says_so_and_leaves_nothing(api, installation):
    """A raw socket: the client dies after a third of the body."""
    import hashlib

    from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

    data = os.urandom(700_000)
    api.create_repo("lab/broken")
    upload = UploadInfo(sha256=hashlib.sha256(data).digest(), size=len(data), sample=data[:512])
    batch, *_ = post_lfs_batch_info(
        [upload], token=installation.token, repo_type="model", repo_id="lab/broken", endpoint=installation.url
    )
    path = batch[0]["actions"]["upload"]["href"].removeprefix(installation.url)
    with socket.create_connection(("127.0.0.1", installation.port)) as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + data[:200_000])
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert " 400 " in answer.splitlines()[0]
    assert "The upload broke off after 200000 of 700000 bytes; send it again." in answer
    assert not list((installation.var / "objects" / "staging").rglob("*.bin"))
    assert not list((installation.var / "objects" / ".temporary").iterdir())
    api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id="lab/broken")
    assert Path(api.hf_hub_download("lab/broken", "w.bin")).read_bytes() == data


def test_what_is_damaged_on_disk_is_noticed_and_fetched_again(installation, api, tmp_path):
    api.create_repo("lab/damaged")
    api.upload_file(path_or_fileobj=b"damaged" * 100_000, path_in_repo="w.bin", repo_id="lab/damaged")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="lab/damaged")
    with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
        for name in ("w.bin", "config.json"):
            folder = hub.files.pull(steelyard.parse_ref("lab/damaged"), cache=tmp_path)
            data = (folder / name).read_bytes()
            (folder / name).resolve().write_bytes(b"x" * len(data))
            with pytest.raises(steelyard.SteelyardError, match=f"{name} was damaged on its way or on disk; pull again"):
                hub.files.pull(steelyard.parse_ref("lab/damaged"), cache=tmp_path)
            assert (hub.files.pull(steelyard.parse_ref("lab/damaged"), cache=tmp_path) / name).read_bytes() == data


def test_two_clients_at_once_tear_nothing(api):
    from concurrent.futures import ThreadPoolExecutor

    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError

    api.create_repo("lab/race")
    parent = api.upload_file(path_or_fileobj=b"0", path_in_repo="a", repo_id="lab/race").oid

    def commit(number):
        files = [CommitOperationAdd(name, str(number).encode()) for name in ("a", "b", "c")]
        try:
            api.create_commit("lab/race", files, commit_message=str(number), parent_commit=parent)
        except HfHubHTTPError as error:
            assert error.response.status_code == 412
            assert "has moved on" in str(error)
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        won = [number for number in pool.map(commit, range(1, 5)) if number is not None]
    assert len(won) == 1
    for name in ("a", "b", "c"):
        assert Path(api.hf_hub_download("lab/race", name)).read_text() == str(won[0])
