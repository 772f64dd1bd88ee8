"""A corpus of our own: files that are a danger to whoever loads or unpacks them, and files that are none.

    python -m tests.support.malicious     # what the scanner catches, misses, and takes for what it is not

Everything is made here, by code, when it is asked for. The dangerous ones would do no harm if somebody did load them:
what they run is `true`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Make = Callable[[], bytes]
# Name of the file -> what makes it. The names lie where the content should tell.
MALICIOUS: dict[str, Make] = {}
BENIGN: dict[str, Make] = {}

_TORCH_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def malicious(name: str) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        MALICIOUS[name] = make
        return make

    return keep


def benign(name: str) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        BENIGN[name] = make
        return make

    return keep


# --- instructions ------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """Protocol 2: GLOBAL, the arguments, REDUCE."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def line(value: str) -> bytes:
    """A text as protocols before 4 have it."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def program(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def attack() -> bytes:
    return program(call("posix", "system", line("true")))


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return target.getvalue()


def torch_zip(pickle: bytes, *more: tuple[str, bytes]) -> bytes:
    return zipped(("archive/data.pkl", pickle), ("archive/version", b"3\n"), *more)


def tarred(*files: tuple[str, bytes], link: str = "") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        if link:
            entry = tarfile.TarInfo("weights")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return target.getvalue()


def npy(header: str, data: bytes) -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + data


def safetensors(header: object, data: bytes = b"", *, announced: int | None = None) -> bytes:
    packed = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(packed) if announced is None else announced) + packed + data


def tensor(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


# --- pickles -----------------------------------------------------------------------------------

malicious("system_protocol_0.pkl")(lambda: b"cposix\nsystem\n(S'true'\ntR.")
malicious("system_protocol_2.pkl")(attack)
malicious("system_protocol_4.pkl")(lambda: program(text("os") + text("system") + b"\x93" + text("true") + b"\x85R", 4))
malicious("system_windows.pkl")(lambda: program(call("nt", "system", line("true"))))
malicious("eval.pkl")(lambda: program(call("builtins", "eval", line("0"))))
malicious("exec_python_2.pkl")(lambda: program(call("__builtin__", "exec", line("0"))))
malicious("import_by_name.pkl")(lambda: program(call("builtins", "__import__", line("os"))))
malicious("importlib.pkl")(lambda: program(call("importlib", "import_module", line("os"))))
malicious("getattr_chain.pkl")(
    lambda: program(
        call("builtins", "getattr", call("builtins", "__import__", line("os")), line("system"))
        + line("true")
        + b"\x85R"
    )
)
malicious("popen.pkl")(lambda: program(call("subprocess", "Popen", line("true"))))
malicious("popen_newobj.pkl")(lambda: program(b"csubprocess\nPopen\n" + line("true") + b"\x85\x81"))
malicious("popen_newobj_ex.pkl")(lambda: program(b"csubprocess\nPopen\n" + line("true") + b"\x85}\x92", 4))
malicious("runpy.pkl")(lambda: program(call("runpy", "_run_code", line("0"), b"}")))
malicious("inst.pkl")(lambda: b"(S'true'\niposix\nsystem\n.")
malicious("obj.pkl")(lambda: b"(cposix\nsystem\nS'true'\no.")
malicious("open_for_writing.pkl")(lambda: program(call("builtins", "open", line("/dev/null"), line("w"))))
malicious("download.pkl")(lambda: program(call("urllib.request", "urlopen", line("http://127.0.0.1:9/"))))
malicious("load_another.pkl")(lambda: program(call("torch.serialization", "load", line("/dev/null"))))
malicious("partial.pkl")(lambda: program(call("functools", "partial", b"cos\nsystem\n", line("true"))))
malicious("somebody_elses_class.pkl")(lambda: program(call("some_module_of_mine", "Loader", line("true"))))
malicious("names_from_memo.pkl")(
    lambda: program(
        text("collections") + b"\x940" + text("os") + b"\x940" + text("system") + b"\x940"
        b"h\x01h\x02\x93" + text("true") + b"\x85R",
        4,
    )
)
malicious("name_made_by_code.pkl")(
    lambda: program(text("os") + call("builtins", "str", line("system")) + b"\x93" + text("true") + b"\x85R", 4)
)
malicious("extension_registry.pkl")(lambda: program(b"\x82\x01" + line("true") + b"\x85R"))
malicious("set_state.pkl")(lambda: program(call("builtins", "object") + b"}" + line("x") + b"cos\nsystem\nsb"))
malicious("without_end.pkl")(lambda: b"cposix\nsystem\n(S'true'\ntR")
malicious("broken_behind_the_call.pkl")(lambda: attack()[:-1] + b"\xff\xff\xff")
malicious("broken_before_the_call.pkl")(lambda: b"\x80\x02K" + b"\x01\xff" + attack()[2:])
malicious("truncated.pkl")(lambda: program(line("a") * 50)[:-20])
malicious("second_of_two.pkl")(lambda: program(b"}") + attack())
malicious("second_of_two_old.pkl")(lambda: b"N." + attack())
malicious("garbage_then_attack.pkl")(lambda: program(b"}") + b"\xff\xff" + attack())
malicious("length_of_an_exabyte.pkl")(lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc.")
malicious("attack_behind_a_long_text.pkl")(
    lambda: program(line("a" * 100_000) + b"0" + call("os", "system", line("true")))
)
malicious("ten_million_instructions.pkl")(lambda: b"\x80\x02" + b"N0" * 5_000_000 + b"N.")

# --- torch -------------------------------------------------------------------------------------

malicious("model.pt")(lambda: torch_zip(attack()))
malicious("hidden_in_a_storage.pt")(lambda: torch_zip(program(b"}"), ("archive/data/0", attack())))
malicious("script_constants.pt")(
    lambda: torch_zip(program(b"}"), ("archive/code/__torch__.py", b""), ("archive/constants.pkl", attack()))
)
malicious("script_module.pt")(lambda: torch_zip(program(b"c__torch__\nNet\n)\x81}b")))
malicious("jit_wrapper.pt")(
    lambda: torch_zip(program(call("torch.jit.unsupported_tensor_ops", "execWrapper", line("0"), b"}", b"}")))
)
malicious("code_cache.pt")(
    lambda: torch_zip(program(call("torch._inductor.codecache", "compile_file", line(""), line(""), b"]")))
)
malicious("torch_package.pt")(
    lambda: torch_zip(program(call("torch.package._package_importer", "import_module", line("evil"))))
)
malicious("legacy.pt")(lambda: _TORCH_MAGIC + program(b"M\xe9\x03") + program(b"}") + attack() + program(b"]"))
malicious("legacy_magic_by_eval.pt")(
    lambda: program(call("builtins", "eval", line("0x1950a86a20f9469cfc6c"))) + program(b"M\xe9\x03") + program(b"}")
)
malicious("legacy_cut_off.pt")(lambda: _TORCH_MAGIC + program(b"M\xe9\x03") + b"\x80\x02}q")
malicious("legacy_tar.pt")(lambda: tarred(("storages", program(b"K\x00")), ("pickle", attack())))
malicious("data_pickle_broken.pt")(lambda: torch_zip(b"\x80\x02}q\x00\xff\xff"))

# --- other pickle-bearing files ----------------------------------------------------------------

_OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
malicious("objects.npy")(lambda: npy(_OBJECTS, attack()))
malicious("structured.npy")(
    lambda: npy("{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,)}", attack())
)
malicious("header_is_code.npy")(lambda: npy("__import__('os').system('true')", b""))
malicious("objects.npz")(lambda: zipped(("x.npy", npy(_OBJECTS, attack()))))
malicious("model.joblib")(
    lambda: zlib.compress(
        program(call("joblib.numpy_pickle", "NumpyArrayWrapper") + b"0" + call("os", "system", line("true")))
    )
)
malicious("array_in_the_middle.joblib")(
    lambda: program(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b")[:-1] + np.arange(64.0).tobytes() + attack()[2:]
)
malicious("model.pkl.gz")(lambda: gzip.compress(attack()))
malicious("model.pkl.bz2")(lambda: bz2.compress(attack()))
malicious("model.pkl.xz")(lambda: lzma.compress(attack()))
malicious("model.pkl.lzma")(lambda: lzma.compress(attack(), format=lzma.FORMAT_ALONE))
malicious("cut_off.pkl.gz")(lambda: gzip.compress(attack() + bytes(range(256)) * 40)[:-30])


@malicious("model.lz4")
def _lz4() -> bytes:
    import lz4.frame

    return bytes(lz4.frame.compress(attack()))


# --- names that lie ----------------------------------------------------------------------------

malicious("README.md")(attack)
malicious("model.safetensors")(attack)
malicious("config.json")(lambda: b"cposix\nsystem\n(S'true'\ntR.")
malicious("model.onnx")(lambda: torch_zip(attack()))
malicious("gguf_and_pickle.gguf")(lambda: b"GGUF\x03\x00\x00\x00\x000" + attack()[2:])
malicious("seven_zip.pt")(lambda: b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(64))
malicious("rar.bin")(lambda: b"Rar!\x1a\x07\x01\x00" + bytes(64))
malicious("zstandard.ckpt")(lambda: b"\x28\xb5\x2f\xfd\x04\x00" + bytes(64))
malicious("pickle_with_zip_behind.pt")(lambda: attack() + torch_zip(program(b"}")))
malicious("zip_behind_numbers.bin")(lambda: bytes(1000) + torch_zip(attack()))

# --- archives ----------------------------------------------------------------------------------

malicious("zip_in_zip.zip")(lambda: zipped(("inner.zip", torch_zip(attack())), method=zipfile.ZIP_DEFLATED))
malicious("zip_in_zip_in_zip.pt")(lambda: zipped(("a", zipped(("b", zipped(("c", attack())))))))
malicious("weights.tar")(lambda: tarred(("model.bin", attack())))
malicious("weights.tar.gz")(lambda: gzip.compress(tarred(("model.bin", attack()))))
malicious("zip_in_tar_in_xz.bin")(lambda: lzma.compress(tarred(("a", torch_zip(attack())))))
malicious("names_lead_out.zip")(lambda: zipped(("../../home/user/.bashrc", b"")))
malicious("names_lead_out_windows.zip")(lambda: zipped(("..\\..\\evil.exe", b"")))
malicious("names_absolute.zip")(lambda: zipped(("/etc/passwd", b"")))
malicious("names_drive.zip")(lambda: zipped(("C:evil", b"")))
malicious("names_control.zip")(lambda: zipped(("weights\x1b[2J", b"")))
malicious("names_lead_out.tar")(lambda: tarred(("../../etc/passwd", b"")))
malicious("link.tar")(lambda: tarred(link="/etc/passwd"))
malicious("nine_deep.zip")(lambda: _nested(9))
malicious("compressed_nine_times.gz")(lambda: _nested_gzip(9))
malicious("cut_off.pt")(lambda: torch_zip(program(b"}"), ("archive/data/0", bytes(4000)))[:-40])
malicious("stored_backwards.zip")(lambda: zipped(("a", b"x" * 100)).replace(b"x" * 100, b"x" * 50))
malicious("method_nobody_knows.zip")(lambda: _with_method(zipped(("a.pkl", attack())), 77))


def _nested(depth: int) -> bytes:
    data = attack()
    for _ in range(depth):
        data = zipped(("inner", data))
    return data


def _nested_gzip(depth: int) -> bytes:
    data = attack()
    for _ in range(depth):
        data = gzip.compress(data)
    return data


def _with_method(archive: bytes, method: int) -> bytes:
    changed = bytearray(archive)
    changed[8:10] = struct.pack("<H", method)
    central = changed.index(b"PK\x01\x02")
    changed[central + 10 : central + 12] = struct.pack("<H", method)
    return bytes(changed)


@malicious("link.zip")
def _zip_link() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("weights")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return target.getvalue()


@malicious("encrypted.zip")
def _encrypted() -> bytes:
    changed = bytearray(zipped(("model.pkl", b"secret" * 10)))
    changed[6] |= 1
    changed[changed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


@malicious("two_names.zip")
def _two_names() -> bytes:
    """The entry calls itself otherwise than the list of contents does."""
    return zipped(("model.pkl", program(b"}"))).replace(b"model.pkl", b"other.pkl", 1)


@malicious("same_name_twice.zip")
def _twice() -> bytes:
    return zipped(("a.pkl", attack()), ("b.pkl", program(b"}"))).replace(b"b.pkl", b"a.pkl")


@malicious("bomb.pt")
def _bomb() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/0", "w") as entry:
        for _ in range(400):
            entry.write(bytes(1024 * 1024))
    return target.getvalue()


@malicious("bomb.pkl.gz")
def _gzip_bomb() -> bytes:
    block = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(block.compress(bytes(1024 * 1024)) for _ in range(300)), block.flush()])


@malicious("bomb_of_overlaps.zip")
def _overlaps() -> bytes:
    """A hundred names for the same bytes."""
    archive = bytearray(zipped(("a", b"x" * 1000)))
    central = archive.index(b"PK\x01\x02")
    entry, end = archive[central:-22], archive[-22:]
    end[8:10] = end[10:12] = struct.pack("<H", 100)
    end[12:16] = struct.pack("<I", 100 * len(entry))
    return bytes(archive[:central] + entry * 100 + end)


@malicious("pickle_bomb_in_zip.pt")
def _pickle_bomb() -> bytes:
    """A small archive of a pickle that would take gigabytes to hold."""
    return zipped(("archive/data.pkl", b"\x80\x02" + b"(" * 20_000_000), method=zipfile.ZIP_DEFLATED)


# --- headers that lie --------------------------------------------------------------------------

malicious("header_of_2_gb.safetensors")(lambda: safetensors(b"{}", announced=2 << 30))
malicious("header_beyond_the_end.safetensors")(lambda: safetensors({"a": tensor(0, 8)}, announced=9_000))
malicious("cut_off.safetensors")(lambda: safetensors({"a": tensor(0, 800)}, bytes(400)))
malicious("overlap.safetensors")(lambda: safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)))
malicious("gap.safetensors")(lambda: safetensors({"a": tensor(0, 8), "b": tensor(12, 20)}, bytes(20)))
malicious("longer_than_said.safetensors")(lambda: safetensors({"a": tensor(0, 8)}, bytes(8) + attack()))
malicious("shape_and_bytes.safetensors")(lambda: safetensors({"a": tensor(0, 8, [1 << 40])}, bytes(8)))
malicious("negative.safetensors")(lambda: safetensors({"a": tensor(-8, 0, [2])}, bytes(8)))
malicious("same_name_twice.safetensors")(
    lambda: safetensors(
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
        bytes(4),
    )
)
malicious("not_json.safetensors")(lambda: safetensors(b"{'a': 1}"))
malicious("deep.safetensors")(lambda: safetensors(b'{"a":' + b"[" * 200_000))

# --- keras -------------------------------------------------------------------------------------

_LAYER = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}
_LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}


def keras(*layers: object) -> bytes:
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}
    return zipped(("metadata.json", b"{}"), ("config.json", json.dumps(config).encode()))


malicious("lambda.keras")(lambda: keras(_LAYER, _LAMBDA))
malicious("foreign_module.keras")(
    lambda: keras({"module": "subprocess", "class_name": "run", "config": {"args": "true"}})
)
malicious("built_in_eval.keras")(lambda: keras({"module": "builtins", "class_name": "eval", "config": "0"}))
malicious("lambda.h5")(lambda: b"\x89HDF\r\n\x1a\n" + bytes(5_000_000) + json.dumps(_LAMBDA).encode() + bytes(1000))

# --- what is no danger -------------------------------------------------------------------------


def _tensors() -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    bytes_that_look_like_pickles = torch.tensor([0x80, 0x02, 0x7D, 0x71, 0xFF], dtype=torch.uint8)
    bytes_that_look_like_zlib = torch.tensor([0x78, 0x9C, 0x01, 0x02, 0x03], dtype=torch.uint8)
    return {
        "weight": torch.randn(64, 64, generator=generator),
        "half": torch.randn(8, generator=generator).bfloat16(),
        "steps": torch.tensor(3),
        "codes": bytes_that_look_like_pickles,
        "packed": bytes_that_look_like_zlib,
    }


def _saved(*, legacy: bool = False) -> bytes:
    import torch

    target = io.BytesIO()
    torch.save(_tensors(), target, _use_new_zipfile_serialization=not legacy)
    return target.getvalue()


benign("state_dict.pt")(_saved)
benign("state_dict_legacy.pth")(lambda: _saved(legacy=True))


@benign("training_state.ckpt")
def _training_state() -> bytes:
    import torch

    network = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    target = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, target)
    return target.getvalue()


@benign("weights.safetensors")
def _safetensors() -> bytes:
    from safetensors.torch import save

    return bytes(save(_tensors(), {"format": "pt"}))


benign("type_unknown.safetensors")(lambda: safetensors({"a": tensor(0, 8, [2], "F31")}, bytes(8)))
benign("empty_tensor.safetensors")(lambda: safetensors({"__metadata__": {"a": "b"}, "a": tensor(0, 0, [0, 3])}))


def _numpy(**arrays: Any) -> bytes:
    target = io.BytesIO()
    if len(arrays) == 1:
        np.save(target, next(iter(arrays.values())), allow_pickle=True)
    else:
        np.savez_compressed(target, **arrays)
    return target.getvalue()


benign("array.npy")(lambda: _numpy(a=np.arange(12.0).reshape(3, 4)))
benign("array_of_texts.npy")(lambda: _numpy(a=np.array(["cat", "dog", None], dtype=object)))
benign("arrays.npz")(lambda: _numpy(a=np.zeros(16_000_000, dtype="float32"), b=np.arange(5)))
benign("plain.pkl")(lambda: program(b"}(" + line("classes") + b"](" + line("cat") + line("dog") + b"eu"))
benign("plain_protocol_0.pkl")(lambda: b"(dp0\nS'classes'\np1\nI3\ns.")
benign("plain.joblib")(lambda: zlib.compress(program(b"}" + text("alpha") + b"K\x01s", 4)))
benign("words.tar.gz")(lambda: gzip.compress(tarred(("vocab.txt", b"cat\ndog\n"), ("merges.txt", b"c a\nd o\n"))))
benign("config.json")(lambda: json.dumps({"architectures": ["ResNet"], "hidden_sizes": [8, 16]}).encode())
benign("README.md")(lambda: b"(c) 2026\ncat\ndog\n\nclass names\nbird\n.\n")
benign("labels.txt")(lambda: b"cat\ndog\nbird\nimport os\nos.system\nposix\nsystem\n")
benign(".gitattributes")(lambda: b"*.pt filter=lfs\n")
benign("model.py")(lambda: b"import os\n\nos.system('true')  # code that is plainly code\n")
benign("empty.bin")(lambda: b"")
benign("raw_floats.bin")(lambda: np.random.default_rng(0).standard_normal(100_000).astype("float32").tobytes())
benign("raw_bytes.bin")(lambda: np.random.default_rng(1).integers(0, 256, 1_000_000, dtype="uint8").tobytes())
benign("dense.keras")(lambda: keras(_LAYER))
benign("weights.h5")(lambda: b"\x89HDF\r\n\x1a\n" + json.dumps(_LAYER).encode() + bytes(1000))
benign("model.gguf")(lambda: b"GGUF\x03\x00\x00\x00" + struct.pack("<QQ", 0, 0))
benign("pictures.zip")(lambda: zipped(("train/cat/1.png", b"\x89PNG\r\n\x1a\n" + bytes(100)), ("a/", b"")))


@benign("weights_that_read_as_an_extension.pt")
def weights_that_read_as_an_extension() -> bytes:
    """Half precision of a real training: its first bytes are EXT4 and STOP."""
    return torch_zip(program(b"}"), ("archive/data/488", b"\x84\x29\xca\x2c\x27\x2e" + bytes(range(122))))


@benign("model.onnx")
def _onnx() -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    return bytes(helper.make_model(graph).SerializeToString())


# --- the table ---------------------------------------------------------------------------------


def main() -> int:
    """Prints what is caught, missed and wrongly accused; the status is 1 unless all is as it should be."""
    from steelyard_workers.scanning import scan_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"

        def found(make: Make) -> list[str]:
            path.write_bytes(make())
            return [one.code for one in scan_file(path)]

        bad = {name: found(make) for name, make in MALICIOUS.items()}
        good = {name: found(make) for name, make in BENIGN.items()}
    for name, codes in bad.items():
        print(f"{'caught' if codes else 'MISSED':8} {name:34} {', '.join(dict.fromkeys(codes))}")
    for name, codes in good.items():
        print(f"{'ACCUSED' if codes else 'passed':8} {name:34} {', '.join(dict.fromkeys(codes))}")
    missed, accused = sum(not codes for codes in bad.values()), sum(map(bool, good.values()))
    print(f"{len(bad) - missed} of {len(bad)} caught, {missed} missed; {accused} of {len(good)} harmless ones accused")
    return 1 if missed or accused else 0


if __name__ == "__main__":
    sys.exit(main())
