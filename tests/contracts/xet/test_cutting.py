"""Where weights are cut: at their tensors, whatever stands around them, and never in a way that loses a byte."""

from __future__ import annotations

import io
import json
import random
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steelyard_contracts.xet.cutting import VERSION, cut_evenly, cut_weights
from steelyard_contracts.xet.xorbs import MAX_CHUNK

SIZES = {"stem": 300_000, "bias": 400, "scale": 128, "body": 700_000, "norm": 20_000, "head": 40_000}


def chunk_of(seed, size):
    return random.Random(seed).randbytes(size)  # noqa: S311 - contents of a test


def tensors(seed=0, **changed):
    return {name: chunk_of(changed.get(name, f"{seed}{name}"), size) for name, size in SIZES.items()}


def safetensors(contents, **metadata):
    header, position = {"__metadata__": metadata} if metadata else {}, 0
    for name, data in contents.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [position, position + len(data)]}
        position += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(contents.values())


def checkpoint(contents, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("model/data.pkl", b"names of tensors")
        for number, data in enumerate(contents.values()):
            archive.writestr(f"model/data/{number}", data)
    return file.getvalue()


def cut(data):
    return cut_weights(lambda start, end: data[start:end], len(data))


def pieces(data):
    found = cut(data)
    assert found is not None
    return {data[start:end] for start, end in found.spans()}


def new_bytes(data, before):
    return sum(map(len, pieces(data) - pieces(before)))


@pytest.mark.parametrize("kind", [safetensors, checkpoint])
def test_only_the_tensors_that_changed_are_new(kind):
    assert new_bytes(kind(tensors(head="other")), kind(tensors())) < SIZES["head"] + 2000


def test_tensors_in_another_order_under_another_header_are_found_again():
    contents = tensors()
    turned = dict(reversed(contents.items()))
    assert new_bytes(safetensors(turned, epoch="7", note="a longer header"), safetensors(contents)) < 2000


def test_a_checkpoint_finds_the_tensors_of_its_safetensors_twin():
    contents = tensors()
    assert new_bytes(checkpoint(contents), safetensors(contents)) < 2000


def test_the_cut_of_a_version_does_not_change():
    assert VERSION == 1
    found = cut(safetensors(tensors()))
    assert found is not None
    header = 8 + len(safetensors(tensors())) - 8 - sum(SIZES.values())
    stem = [header + 131072, header + 262144, header + 300000]
    body = [stem[-1] + 528 + end for end in (131072, 262144, 393216, 524288, 655360, 700000)]
    assert found.ends == (header, *stem, stem[-1] + 528, *body, body[-1] + 20000, body[-1] + 60000)
    assert found.heads == (1, 5, 11, 12)  # stem, body, norm and head; the header, the bias and the scale are tiny


def test_compressed_entries_and_other_files_are_not_weights():
    assert cut(b"") is None
    assert cut(b"words" * 100) is None
    assert cut(b"PK\x03\x04" + b"no archive" * 100) is None
    assert cut(checkpoint({"zeros": bytes(1_000_000)}, zipfile.ZIP_DEFLATED)) is None


def is_a_cut(found, size):
    lengths = [end - start for start, end in found.spans()]
    assert all(0 <= head < len(lengths) for head in found.heads)
    return sum(lengths) == size and all(0 < length <= MAX_CHUNK for length in lengths)


@given(size=st.integers(0, 5 * MAX_CHUNK))
def test_an_even_cut_covers_the_file(size):
    assert is_a_cut(cut_evenly(size), size)


@given(
    offsets=st.lists(
        st.lists(st.integers(-10, 2_000_000) | st.none() | st.floats() | st.text(), max_size=3), max_size=9
    ),
    tail=st.integers(0, 600_000),
)
@example(offsets=[[0, 2**70]], tail=10)
def test_a_header_that_lies_still_gives_a_cut(offsets, tail):
    header = json.dumps({str(number): {"data_offsets": one} for number, one in enumerate(offsets)}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(tail)
    found = cut(data)
    assert found is None or is_a_cut(found, len(data))


WHOLE = (checkpoint(tensors()), safetensors(tensors()))


@settings(deadline=None)
@given(data=st.binary(max_size=2000), at=st.integers(0, 1_000_000), new=st.binary(max_size=40))
@example(data=b"\xff" * 8 + b"{", at=0, new=b"")
def test_damaged_files_are_cut_or_left_alone(data, at, new):
    for whole in WHOLE:
        broken = whole[: at % len(whole)] + new + whole[at % len(whole) + len(new) :]
        for one in (broken, whole[: at % len(whole)], data):
            found = cut(one)
            assert found is None or is_a_cut(found, len(one))
