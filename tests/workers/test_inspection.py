"""What is inside a weight file, and what is said of one that is not what it claims."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save as save_safetensors
from safetensors.torch import save_file

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.weights import Severity
from steelyard_workers.inspection.dtypes import table_of
from steelyard_workers.inspection.files import inspect_file

GENERATOR = np.random.default_rng(0)


def by_name(report):
    return {tensor.name: tensor for tensor in report.tensors}


def statistics_of(tensor):
    assert tensor.statistics is not None
    return tensor.statistics


def codes(report):
    return [finding.code for finding in report.findings]


@pytest.fixture
def inspect(tmp_path):
    def inspect(data, name="model.safetensors"):
        path = tmp_path / name
        path.write_bytes(data)
        report = inspect_file(path)
        assert report.sha256 == sha256_of(data)
        return report

    return inspect


def raw_safetensors(header, data=b"", length=None):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_every_tensor_of_safetensors_with_its_statistics_and_digest(inspect):
    head = GENERATOR.normal(3, 2, (700, 900)).astype(np.float32)
    head[0, :90] = 0
    data = save_safetensors({"backbone.conv": np.arange(12, dtype=np.int64).reshape(3, 4), "head": head})
    report = inspect(data)
    assert (report.format, report.parameters, report.findings) == ("safetensors", 12 + 630_000, [])
    found = by_name(report)["head"]
    assert (found.dtype, found.shape, found.size) == ("F32", [700, 900], head.nbytes)
    assert found.digest == sha256_of(head.tobytes())
    assert data[found.start : found.start + found.size] == head.tobytes()
    one = found.statistics
    assert (one.min, one.max) == (head.min(), head.max())
    assert one.mean == pytest.approx(head.mean(dtype=np.float64), rel=1e-12)
    assert one.std == pytest.approx(head.std(dtype=np.float64), rel=1e-12)
    assert one.zeros == 90 / head.size
    expected, _ = np.histogram(head.astype(np.float64), bins=32)
    assert sum(one.histogram.counts) == head.size
    assert np.abs(expected - one.histogram.counts).max() <= 2
    integers = by_name(report)["backbone.conv"].statistics
    assert (integers.min, integers.max, integers.mean) == (0, 11, 5.5)


def test_statistics_stay_right_where_sums_of_squares_would_cancel(inspect):
    values = (1e8 + GENERATOR.normal(0, 1, 300_000)).astype(np.float64)
    found = by_name(inspect(save_safetensors({"w": values})))["w"].statistics
    assert found.std == pytest.approx(values.std(), rel=1e-9)


@pytest.mark.parametrize("count", [1_000, 300_000])
@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        ("BF16", torch.bfloat16),
        ("F16", torch.float16),
        ("F8_E4M3", torch.float8_e4m3fn),
        ("F8_E5M2", torch.float8_e5m2),
        ("I8", torch.int8),
        ("U8", torch.uint8),
        ("BOOL", torch.bool),
    ],
)
def test_small_kinds_of_numbers_are_read_as_torch_reads_them(tmp_path, word, dtype, count):
    values = (torch.randn(count, generator=torch.Generator().manual_seed(1)) * 3).to(dtype)
    save_file({"w": values}, tmp_path / "w.safetensors")
    (found,) = inspect_file(tmp_path / "w.safetensors").tensors
    one = statistics_of(found)
    exact = values.to(torch.float64).numpy()
    assert found.dtype == word
    assert (one.min, one.max) == (exact.min(), exact.max())
    assert one.mean == pytest.approx(exact.mean(), rel=1e-9, abs=1e-12)
    assert one.std == pytest.approx(exact.std(), rel=1e-9)
    assert one.zeros == pytest.approx((exact == 0).mean())
    assert one.histogram is not None
    assert sum(one.histogram.counts) == count


@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        ("F8_E4M3", torch.float8_e4m3fn),
        ("F8_E5M2", torch.float8_e5m2),
        ("F8_E4M3FNUZ", torch.float8_e4m3fnuz),
        ("F8_E5M2FNUZ", torch.float8_e5m2fnuz),
        ("F8_E8M0", torch.float8_e8m0fnu),
        ("BF16", torch.bfloat16),
    ],
)
def test_every_pattern_of_bits_has_the_value_that_torch_gives_it(word, dtype):
    bits = np.arange(256, dtype=np.uint8) if word != "BF16" else np.arange(65_536, dtype=np.uint16)
    theirs = torch.from_numpy(bits.copy()).view(dtype).to(torch.float32).numpy()
    np.testing.assert_array_equal(table_of(word), theirs)


def test_numbers_that_are_none_are_counted_and_found(inspect):
    values = np.array([1, np.nan, np.inf, -np.inf, 3, np.nan], dtype=np.float32)
    report = inspect(save_safetensors({"w": values, "fine": np.ones(3, np.float32)}))
    found = by_name(report)["w"].statistics
    assert (found.nan, found.inf, found.min, found.max, found.mean) == (2, 2, 1, 3, 2)
    (finding,) = report.findings
    assert (finding.severity, finding.code, finding.tensor) == (Severity.WARNING, "not-finite", "w")
    assert finding.sentence == "'w' holds values that are no numbers: 2 NaN and 2 infinite."


@pytest.mark.parametrize(
    "values",
    [
        np.array([-3e38, 0, 3e38], np.float32),
        np.array([-1.7e308, 0, 1.7e308], np.float64),
        np.array([0, 1e-45, 1e-44], np.float32),
        np.array([0, 5e-324], np.float64),
        np.array([7, 7, 7], np.int64),
        np.array([-(2**63), 2**63 - 1], np.int64),
    ],
)
def test_the_largest_and_smallest_numbers_there_are(inspect, values):
    found = statistics_of(by_name(inspect(save_safetensors({"w": values})))["w"])
    assert (found.min, found.max) == (float(values.min()), float(values.max()))
    assert found.histogram is not None
    assert sum(found.histogram.counts) == values.size


def test_nothing_but_numbers_that_are_none(inspect):
    found = by_name(inspect(save_safetensors({"w": np.full(5, np.nan, np.float32)})))["w"].statistics
    assert (found.min, found.mean, found.nan, found.histogram) == (None, None, 5, None)


def test_a_file_of_torch_says_the_same_of_its_tensors_as_safetensors(tmp_path):
    weights = {"layer.weight": torch.randn(30, 40), "layer.bias": torch.randn(30).half(), "count": torch.tensor(3)}
    save_file(weights, tmp_path / "w.safetensors")
    torch.save(weights, tmp_path / "w.pt")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    ours = {one.name: (one.dtype, one.shape, one.digest) for one in inspect_file(tmp_path / "w.safetensors").tensors}
    for name in ("w.pt", "old.pt"):
        report = inspect_file(tmp_path / name)
        assert (report.format, report.framework, report.findings) == ("torch", "pytorch", [])
        assert {one.name: (one.dtype, one.shape, one.digest) for one in report.tensors} == ours


def test_names_in_checkpoints_and_modules_of_torch(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save({"model": module.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pt")
    torch.save(module, tmp_path / "module.pt")
    names = {f"{index}.{name}" for index, name in ((0, "weight"), (0, "bias"), (1, "weight"), (1, "running_mean"))}
    assert {f"model.{name}" for name in names} <= by_name(inspect_file(tmp_path / "checkpoint.pt")).keys()
    assert names <= by_name(inspect_file(tmp_path / "module.pt")).keys()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_read_like_any_other(tmp_path):
    torch.jit.script(torch.nn.Linear(3, 4)).save(str(tmp_path / "script.pt"))
    report = inspect_file(tmp_path / "script.pt")
    assert by_name(report)["weight"].shape == [4, 3]
    assert report.metadata["torchscript"] == "true"


def test_a_transposed_tensor_is_not_taken_for_the_one_it_is_a_view_of(tmp_path):
    square = torch.randn(8, 8)
    torch.save({"a": square, "b": square.T}, tmp_path / "w.pt")
    found = by_name(inspect_file(tmp_path / "w.pt"))
    assert found["b"].digest == sha256_of(square.T.contiguous().numpy().tobytes())
    assert found["a"].digest != found["b"].digest


def test_the_weights_of_an_onnx_graph_however_they_are_written(inspect):
    raw = GENERATOR.normal(0, 1, (3, 5)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(raw, "raw"),
        helper.make_tensor("floats", TensorProto.FLOAT, [4], [1, 2, 3, 4]),
        helper.make_tensor("longs", TensorProto.INT64, [2], [-1, 7]),
        helper.make_tensor("halves", TensorProto.FLOAT16, [2], [0.5, 2]),
    ]
    constant = helper.make_node("Constant", [], ["fixed"], value=numpy_helper.from_array(np.ones(2, np.float32)))
    graph = helper.make_graph([constant], "g", [], [], tensors)
    model = helper.make_model(graph, producer_name="a tool", opset_imports=[helper.make_opsetid("", 20)])
    report = inspect(model.SerializeToString(), "model.onnx")
    found = by_name(report)
    assert (report.format, report.findings, report.metadata["opset ai.onnx"]) == ("onnx", [], "20")
    assert found["raw"].digest == sha256_of(raw.tobytes())
    assert found["floats"].statistics.mean == 2.5
    assert (found["longs"].statistics.min, found["longs"].statistics.max) == (-1, 7)
    assert found["halves"].digest == sha256_of(np.array([0.5, 2], np.float16).tobytes())
    assert found["fixed"].shape == [2]


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "C:\\secret", "a/../../b", "..\\up"])
def test_onnx_with_data_outside_its_folder_is_a_danger(inspect, location):
    report = inspect(external_onnx(location), "model.onnx")
    (finding,) = report.findings
    assert (finding.severity, finding.code) == (Severity.DANGER, "external-data-outside")
    assert repr(location) in finding.sentence


def test_onnx_with_data_beside_it_is_fine(inspect):
    report = inspect(external_onnx("weights/model.onnx.data"), "model.onnx")
    assert report.findings == []
    assert (by_name(report)["w"].shape, by_name(report)["w"].digest) == ([4], None)


def external_onnx(location):
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()


def test_gguf(inspect):
    values = np.arange(64, dtype=np.float32)
    data = gguf([("blk.0.w", (2, 32), 0, values.tobytes()), ("blk.0.q", (64,), 8, bytes(68))])
    report = inspect(data, "model.gguf")
    found = by_name(report)
    assert (report.format, report.parameters, report.findings) == ("gguf", 128, [])
    assert report.metadata["general.architecture"] == "llama"
    assert (found["blk.0.w"].shape, found["blk.0.w"].statistics.max) == ([2, 32], 63)
    assert found["blk.0.w"].digest == sha256_of(values.tobytes())
    assert (found["blk.0.q"].dtype, found["blk.0.q"].size, found["blk.0.q"].statistics) == ("Q8_0", 68, None)


def gguf(tensors):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 2)
    head += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    head += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    data = b""
    for name, shape, kind, content in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % 32)
    return head + bytes(-len(head) % 32) + data


def test_tflite(inspect):
    values = np.arange(6, dtype=np.float32)
    report = inspect(tflite("dense/kernel", (2, 3), values.tobytes()), "model.tflite")
    (found,) = report.tensors
    assert (report.format, found.name, found.dtype, found.shape) == ("tflite", "dense/kernel", "F32", [2, 3])
    assert found.digest == sha256_of(values.tobytes())
    assert report.findings == []


def tflite(name, shape, data):
    import flatbuffers

    builder = flatbuffers.Builder(1024)

    def table(**fields):
        builder.StartObject(8)
        for slot, (kind, value) in sorted(fields.items()):
            index = int(slot[1:])
            if kind == "offset":
                builder.PrependUOffsetTRelativeSlot(index, value, 0)
            elif kind == "uint32":
                builder.PrependUint32Slot(index, value, 0)
        return builder.EndObject()

    def vector(offsets):
        builder.StartVector(4, len(offsets), 4)
        for one in reversed(offsets):
            builder.PrependUOffsetTRelative(one)
        return builder.EndVector()

    content, text = builder.CreateByteVector(data), builder.CreateString(name)
    builder.StartVector(4, len(shape), 4)
    for length in reversed(shape):
        builder.PrependInt32(length)
    dimensions = builder.EndVector()
    empty, full = table(), table(_0=("offset", content))
    weight = table(_0=("offset", dimensions), _2=("uint32", 1), _3=("offset", text))
    computed = table(_0=("offset", dimensions), _2=("uint32", 0))
    graph = table(_0=("offset", vector([weight, computed])))
    model = table(_0=("uint32", 3), _2=("offset", vector([graph])), _4=("offset", vector([empty, full])))
    builder.Finish(model, file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_arrays_of_numpy(inspect, tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(6, dtype=np.float32), b=np.ones((2, 2), np.int16))
    found = by_name(inspect(buffer.getvalue(), "w.npz"))
    assert found["a"].digest == sha256_of(np.arange(6, dtype=np.float32).tobytes())
    assert (found["b"].dtype, found["b"].shape) == ("I16", [2, 2])
    np.save(tmp_path / "one.npy", np.arange(3, dtype=np.float64))
    assert statistics_of(inspect_file(tmp_path / "one.npy").tensors[0]).max == 2


def test_an_index_names_its_shards_and_no_file_elsewhere(inspect):
    places = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors", "c": "../outside"}
    report = inspect(json.dumps({"weight_map": places}).encode(), "model.safetensors.index.json")
    assert (report.format, report.shards) == ("index", ["model-1-of-2.safetensors", "model-2-of-2.safetensors"])
    assert codes(report) == ["odd-name"]


BAD = {
    "a file cut off": (
        save_safetensors({"w": np.ones(100, np.float32)})[:-40],
        "truncated",
        "1 tensor ends beyond the file's",
    ),
    "a file cut off in its header": (b"\x40\0\0\0\0\0\0\0{", "truncated", "it is cut off"),
    "a header of 2 GB": (raw_safetensors({}, length=2**31), "header-too-large", "2,147,483,648 bytes long"),
    "a header that is no JSON": (raw_safetensors(b"{" + b"[" * 100_000), "header-broken", "no JSON that can be read"),
    "overlapping offsets": (
        raw_safetensors({"a": entry([4], 0, 16), "b": entry([4], 8, 24)}, bytes(24)),
        "overlapping-tensors",
        "'b' with 'a'",
    ),
    "an unknown dtype": (
        raw_safetensors({"a": entry([4], 0, 16, "F99")}, bytes(16)),
        "unknown-dtype",
        "'F99' is no kind of number",
    ),
    "another size than the shape's": (
        raw_safetensors({"a": entry([5], 0, 16)}, bytes(16)),
        "size-mismatch",
        "takes 20 bytes, not 16",
    ),
    "negative offsets": (raw_safetensors({"a": entry([4], -8, 8)}, bytes(16)), "header-broken", "describes no tensor"),
    "a shape of text": (raw_safetensors({"a": entry(["x"], 0, 4)}, bytes(4)), "header-broken", "describes no tensor"),
    "no values": (save_safetensors({"w": np.ones((0, 4), np.float32)}), "zero-size", "holds no values, such as 'w'"),
    "a way out": (save_safetensors({"../../x": np.ones(1, np.float32)}), "odd-name", "where it should not"),
    "control characters": (save_safetensors({"a\x1b[2J\nb": np.ones(1, np.float32)}), "odd-name", r"a\x1b[2J\nb"),
    "an empty file": (b"", "truncated", "The file has 0 bytes"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_a_finding_with_a_sentence(inspect, what):
    data, code, sentence = BAD[what]
    report = inspect(data)
    assert code in codes(report)
    assert any(sentence in finding.sentence for finding in report.findings)
    assert all(finding.severity is Severity.WARNING for finding in report.findings)


def test_names_are_shown_so_that_no_terminal_obeys_them(inspect):
    report = inspect(save_safetensors({"a\x1b[2J": np.ones(1, np.float32), "n" * 5000: np.ones(1, np.float32)}))
    assert sorted(by_name(report)) == [r"a\x1b[2J", "n" * 499 + "…"]


def test_a_hundred_thousand_tensors_are_counted_and_the_first_described(inspect):
    header = {f"t{n}": entry([2], 8 * n, 8 * n + 8) for n in range(100_000)}
    report = inspect(raw_safetensors(header, bytes(800_000)))
    assert (len(report.tensors), report.parameters) == (50_000, 200_000)
    assert "100,000 tensors; the first 50,000 are described" in report.findings[0].sentence


def test_many_tensors_that_all_claim_the_whole_file_are_not_read_again_and_again(inspect):
    header = {f"t{n}": entry([250_000 - n], 0, 4 * (250_000 - n)) for n in range(3_000)}
    report = inspect(raw_safetensors(header, bytes(1_000_000)))
    assert "overlapping-tensors" in codes(report)
    assert sum(tensor.digest is not None for tensor in report.tensors) <= 1


def test_storages_of_torch_that_overlap_are_read_so_often_and_no_more(tmp_path):
    storage = torch.randn(100_000)
    torch.save({f"t{n}": storage[n:] for n in range(1_000)}, tmp_path / "w.pt")
    report = inspect_file(tmp_path / "w.pt")
    assert len(report.tensors) == 1_000
    assert 1 <= sum(tensor.digest is not None for tensor in report.tensors) <= 10
    assert "overlapping-tensors" in codes(report)


def zip_of(files, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_a_zip_bomb_named_pt_is_not_unpacked(inspect):
    report = inspect(zip_of({"archive/data.pkl": bytes(200_000_000)}, zipfile.ZIP_DEFLATED), "model.pt")
    assert codes(report) == ["pickle-too-long"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (zip_of({"archive/data.pkl": b"\x80\x02]q\x00"}), "pickle-broken"),
        (zip_of({"archive/data.pkl": b"garbage"}), "pickle-broken"),
        (zip_of({"archive/data.pkl": b"\x80\x02.", "archive/data/0": b""})[:-30], "truncated"),
        (b"PK\x03\x04" + bytes(100), "truncated"),
    ],
)
def test_a_broken_file_of_torch_is_a_finding(inspect, data, code):
    assert codes(inspect(data, "model.pt")) == [code]


def test_a_pickle_that_would_run_a_program_runs_none(inspect, tmp_path):
    witness = tmp_path / "witness"
    code = f"cposix\nsystem\n(S'touch {witness}'\ntR.".encode()
    inspect(zip_of({"archive/data.pkl": b"\x80\x02" + code}), "model.pt")
    assert not witness.exists()


@pytest.mark.parametrize("size", [1, 5, 9, 20, 60, 200, 1000])
def test_whatever_is_cut_off_is_a_finding_or_nothing_known(tmp_path, size):
    module = torch.nn.Linear(20, 30)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(np.ones((30, 30), np.float32), "w")])
    onnx.save(helper.make_model(graph), tmp_path / "w.onnx")
    (tmp_path / "w.gguf").write_bytes(gguf([("w", (8, 32), 0, bytes(1024))]))
    (tmp_path / "w.tflite").write_bytes(tflite("w", (16, 16), bytes(1024)))
    for name in ("w.pt", "w.onnx", "w.gguf", "w.tflite"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:size])
        report = inspect_file(path)
        assert report.format == "unknown" or report.findings, name


def test_any_bytes_get_a_report(tmp_path):
    generator = np.random.default_rng(3)
    samples = [gguf([("w", (8, 32), 0, bytes(1024))]), tflite("w", (16, 16), bytes(1024))]
    samples += [external_onnx("x"), save_safetensors({"w": np.ones(9, np.float32)})]
    for number in range(300):
        data = bytearray(samples[number % len(samples)])
        for place in generator.integers(0, min(len(data), 200), 4):
            data[place] = generator.integers(0, 256)
        path = tmp_path / "model.safetensors"
        path.write_bytes(data)
        assert inspect_file(path).sha256 == sha256_of(bytes(data))
