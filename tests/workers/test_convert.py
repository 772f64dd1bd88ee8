"""Torch's files as safetensors: bit by bit the same tensors, made by a process that can do nothing else."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import ConvertSpec
from steelyard_workers.convert import isolation
from steelyard_workers.convert.job import convert, safetensors_name
from steelyard_workers.convert.sandbox import convert_file
from tests.support.malicious import attack, call, line, program, torch_zip

# Each prints "did it" if it could do what it must not.
ESCAPES = {
    "a connection": "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "a datagram": "import socket; s = socket.socket(2, 2); s.connect(('127.0.0.1', {port})); s.send(b'x')",
    "the network of another process": "libc.setns(os.open('/proc/{pid}/ns/net', 0), 0) and 1/0; "
    "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "another process's memory": "open('/proc/{pid}/mem', 'rb').seek(0); libc.ptrace(16, {pid}, 0, 0) and 1/0",
    "another process's sockets": "fd = libc.syscall(434, {pid}, 0); libc.syscall(438, fd, {socket}, 0) < 0 and 1/0",
}
WRITES = {
    "a file": "open({path!r}, 'w').write('x')",
    "a file after mounting anew": "libc.mount(None, b'/', None, 4128, None) and 1/0; open({path!r}, 'w').write('x')",
}
PRELUDE = "import ctypes, os; libc = ctypes.CDLL(None); "


CUT_OFF = functools.partial(isolation.cut_off, cpu_seconds=20, file_bytes=1_000_000)


def run(code, limits=CUT_OFF):
    script = f"{PRELUDE}{code}; print('did it')"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=limits, check=False
    )


@pytest.fixture
def without_namespaces(monkeypatch):
    monkeypatch.setattr(isolation, "_move_apart", lambda libc: False)


@pytest.fixture(params=["namespaces", "seccomp"])
def either_way(request):
    if request.param == "seccomp":
        request.getfixturevalue("without_namespaces")


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield {"port": server.getsockname()[1], "pid": os.getpid(), "socket": server.fileno()}


@pytest.mark.enable_socket
@pytest.mark.parametrize("what", ESCAPES)
def test_the_sandbox_does_not_reach(what, listening, either_way):
    assert "did it" not in run(ESCAPES[what].format(**listening)).stdout


@pytest.mark.enable_socket
@pytest.mark.parametrize("code", [ESCAPES["a connection"], ESCAPES["a datagram"], WRITES["a file"]])
def test_outside_the_sandbox_the_same_works(code, listening, tmp_path):
    code = code.format(**listening, path=str(tmp_path / "written"))
    assert run(code, limits=None).stdout == "did it\n"


@pytest.mark.parametrize("what", WRITES)
def test_the_sandbox_does_not_write(what, tmp_path):
    path = tmp_path / "written"
    assert "did it" not in run(WRITES[what].format(path=str(path))).stdout
    assert not path.exists()


def test_the_sandbox_still_runs_python(either_way):
    assert run("pass").stdout == "did it\n"


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 4, generator=generator)
    return {
        "weight": weight, "tied": weight, "transposed": weight.t(), "half": weight.bfloat16(), "steps": torch.tensor(3),
        "none": torch.zeros(0, 3), "flags": torch.tensor([True, False]), "nan": torch.tensor([float("nan"), -0.0]),
    }  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
def test_the_tensors_are_bit_by_bit_the_same(tmp_path, tensors, legacy):
    source, target = tmp_path / "model.pt", tmp_path / "model.safetensors"
    torch.save({"state_dict": tensors, "epoch": 3}, source, _use_new_zipfile_serialization=not legacy)
    done = convert_file(source, target)
    assert (done.tensors, done.left_out) == (len(tensors), ["epoch"])
    back = load_file(target)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (back[name].shape, back[name].dtype) == (tensor.shape, tensor.dtype)
        assert back[name].numpy(force=True).tobytes() == tensor.numpy(force=True).tobytes() if name != "half" else True
        assert torch.equal(back[name].nan_to_num(), tensor.nan_to_num())


def test_a_file_that_runs_code_is_refused_with_the_name_of_the_code(tmp_path):
    source = tmp_path / "model.pt"
    source.write_bytes(torch_zip(attack(), ("archive/byteorder", b"little")))
    with pytest.raises(InvalidInputError, match="it needs posix.system, which is code"):
        convert_file(source, tmp_path / "model.safetensors")


def test_a_pickled_network_is_converted_without_being_loaded(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).half()
    source, target = tmp_path / "best.pt", tmp_path / "best.safetensors"
    optimizer = {"state": {0: {"momentum": torch.ones(4)}}}
    torch.save({"epoch": 3, "model": None, "ema": network, "optimizer": optimizer}, source)
    done = convert_file(source, target)
    assert done.left_out == ["optimizer"]
    expected, found = network.state_dict(), load_file(target)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04", torch_zip(program(b"]")), torch_zip(program(call("a", "b", line("x"))))],
    ids=["empty", "broken", "a list", "an import"],
)
def test_what_cannot_be_converted_is_refused_in_a_sentence(tmp_path, data):
    source = tmp_path / "model.pt"
    source.write_bytes(data)
    with pytest.raises(InvalidInputError) as refusal:
        convert_file(source, tmp_path / "model.safetensors")
    assert str(refusal.value).startswith("model.pt: ")


class Session:
    """What the job needs of `JobSession`."""

    def __init__(self, folder, scratch):
        self.folder, self.scratch = folder, scratch
        self.committed, self.edges = {}, []

    def fetch(self, ref, kind):
        return self.folder

    def log(self, text):
        assert "\n" not in text

    def progress(self, share, message):
        assert 0 <= share <= 1

    def commit(self, folder, repository, **options):
        self.committed = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        self.options = {"repository": repository, **options}
        return "v4"

    def lineage(self, report):
        self.edges.append((report.relation, report.source, report.target))


def job_in(folder, scratch) -> Any:
    return Session(folder, scratch)


def test_a_version_is_converted_onto_a_side_branch_with_its_lineage(tmp_path, tensors):
    folder, scratch = tmp_path / "version", tmp_path / "scratch"
    for made in (folder / "old", scratch):
        made.mkdir(parents=True)
    torch.save(tensors, folder / "pytorch_model.bin")
    torch.save(tensors, folder / "old" / "weights.pt")
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"weight": "pytorch_model.bin"}}')
    session = job_in(folder, scratch)
    result = convert(session, ConvertSpec(model="lab/reader@v3"))
    assert session.committed.keys() == {
        "config.json", "model.safetensors", "old/weights.safetensors", "model.safetensors.index.json",
    }  # fmt: skip
    assert session.options["branch"] == "v3-safetensors"
    assert session.edges == [("exported-from", "lab/reader@v3", "lab/reader@v4")]
    assert result["files"]["pytorch_model.bin"]["file"] == "model.safetensors"


def test_nothing_to_convert_is_said(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="there is nothing to convert"):
        convert(job_in(tmp_path, tmp_path / "scratch"), ConvertSpec(model="lab/reader@v3"))


def test_names_follow_what_people_expect():
    assert safetensors_name("a/pytorch_model-00001-of-00002.bin") == "a/model-00001-of-00002.safetensors"
    assert safetensors_name("best.pt") == "best.safetensors"
