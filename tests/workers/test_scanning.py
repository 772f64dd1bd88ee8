"""Every file of the corpus: dangers are found, harmless files are not accused, and nothing takes the worker with it."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from steelyard_contracts.weights import Severity
from steelyard_workers.scanning import scan_file
from steelyard_workers.scanning.limits import Limits
from steelyard_workers.scanning.walk import Walk
from tests.support.malicious import BENIGN, MALICIOUS, attack, program, torch_zip, zipped

SMALL = Limits(entries=20, unpacked_bytes=1_000_000, harmless_bytes=100_000)


@pytest.fixture
def look(tmp_path):
    """Findings in some bytes, in this process."""

    def scan(data, limits=None):
        path = tmp_path / "file"
        path.write_bytes(data)
        return Walk(tmp_path, *([limits] if limits else [])).file(path)

    return scan


@pytest.mark.parametrize("name", MALICIOUS)
def test_what_is_a_danger_is_found(look, name):
    findings = look(MALICIOUS[name]())
    assert findings
    assert {one.severity for one in findings} == {Severity.DANGER}
    assert all(one.sentence.endswith(".") and one.sentence.isprintable() for one in findings)


@pytest.mark.parametrize("name", BENIGN)
def test_what_is_no_danger_is_not_accused(look, name):
    assert look(BENIGN[name]()) == []


def test_the_sentence_names_the_place_and_the_import(look):
    (found,) = look(zipped(("archive/data.pkl", attack())))
    assert found.sentence == (
        "The pickle in archive/data.pkl imports posix.system: loading it may run any code. Weights need no such import."
    )


@pytest.mark.parametrize("name", ["model.pt", "pickle_bomb_in_zip.pt", "bomb.pkl.gz", "header_of_2_gb.safetensors"])
def test_the_scan_is_a_process_of_its_own_with_the_same_answer(tmp_path, look, name):
    path = tmp_path / "somewhere"
    path.write_bytes(MALICIOUS[name]())
    assert scan_file(path) == look(MALICIOUS[name]())


def test_a_file_that_takes_the_scanner_down_is_a_danger(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    path.write_bytes(torch_zip(program(b"}")))
    monkeypatch.setattr("steelyard_workers.scanning.scanner.DEFAULT", Limits(wall_seconds=0))
    (found,) = scan_file(path)
    assert (found.code, found.severity) == ("not-scanned", Severity.DANGER)


def test_a_file_that_is_not_there_is_not_taken_for_a_harmless_one(tmp_path):
    assert [one.code for one in scan_file(tmp_path / "nothing")] == ["not-scanned"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (zipped(*((f"file{number}", b"") for number in range(30))), "more than 20 entries"),
        (gzip.compress(bytes(range(256)) * 10_000), "is a bomb"),
        (zipped(("a.zip", zipped(("a", bytes(2_000_000))))), "unpacks to more than 0 MiB"),
    ],
    ids=["entries", "ratio", "bytes"],
)
def test_limits_end_the_scan_with_a_finding(look, data, said):
    (found,) = look(data, SMALL)
    assert (found.code, said in found.sentence) == ("too-much", True)


def test_more_findings_than_anybody_reads_are_cut_off(look):
    findings = look(zipped(*((f"{number}.pkl", attack()) for number in range(200))))
    assert len(findings) == Limits().findings + 1
    assert findings[-1].code == "too-much"


def test_a_name_from_inside_a_file_is_shown_without_what_it_would_do_to_a_terminal(look):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a\x1b[2J" + "b" * 500, attack())
    assert all("\x1b" not in one.sentence and len(one.sentence) < 400 for one in look(target.getvalue()))
