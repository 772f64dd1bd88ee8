"""Archives from anybody: what comes of a good one, and what is refused of the others."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib

import pytest

from steelyard_contracts.errors import InvalidInputError
from steelyard_workers.unpacking import archives


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content, **options)
    return path


def tarred(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpacked(path, folder, **options):
    folder.mkdir()
    return archives.unpack(path, folder, name=path.name, **options)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FILES = {
    "data.yaml": b"names: [disc]\n",
    "images/train/0.png": b"picture" * 1000,
    "labels/train/0.txt": b"0 .5 .5 1 1\n",
}


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a.zip", zipped),
        ("a.ZIP", zipped),
        ("a.tar.gz", tarred),
        ("a.tgz", tarred),
        ("a.tar", lambda path, files: tarred(path, files, "w")),
    ],
)
def test_what_is_in_it_comes_out(tmp_path, name, made):
    shares: list[float] = []
    found = unpacked(made(tmp_path / name, FILES), tmp_path / "out", told=shares.append)
    assert contents(tmp_path / "out") == FILES
    assert (found.files, found.size, found.left_out) == (3, sum(map(len, FILES.values())), 0)
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


def test_folders_around_everything_are_taken_off(tmp_path):
    unpacked(
        zipped(tmp_path / "a.zip", {f"export/shapes/{name}": data for name, data in FILES.items()}), tmp_path / "o"
    )
    assert contents(archives.content_of(tmp_path / "o")) == FILES


def test_a_folder_that_says_something_stays(tmp_path):
    unpacked(zipped(tmp_path / "a.zip", {"train/disc/0.png": b"1", "train/square/0.png": b"2"}), tmp_path / "o")
    assert archives.content_of(tmp_path / "o") == tmp_path / "o"


def test_what_systems_leave_stays_out(tmp_path):
    left = {"__MACOSX/images/._0.png": b"x", "images/.DS_Store": b"x", "Thumbs.db": b"x"}
    found = unpacked(zipped(tmp_path / "a.zip", {**FILES, **left}), tmp_path / "o")
    assert (found.files, found.left_out) == (3, 3)
    assert contents(tmp_path / "o") == FILES


@pytest.mark.parametrize("name", ["../out.txt", "/etc/passwd", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"])
@pytest.mark.parametrize(("ending", "made"), [("zip", zipped), ("tar.gz", tarred)])
def test_what_leads_out_of_the_folder_is_refused(tmp_path, name, ending, made):
    with pytest.raises(InvalidInputError, match="leads out of its folder"):
        unpacked(made(tmp_path / f"a.{ending}", {**FILES, name: b"x"}), tmp_path / "o")
    assert not (tmp_path / "out.txt").exists()


def test_links_and_devices_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"odd-{kind!r}")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        member = tarfile.TarInfo("plain.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    found = unpacked(tmp_path / "a.tar", tmp_path / "o")
    assert (found.files, found.left_out, contents(tmp_path / "o")) == (1, 4, {"plain.txt": b"x"})
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("plain.txt", "x")
    found = unpacked(tmp_path / "b.zip", tmp_path / "p")
    assert (found.files, found.left_out, contents(tmp_path / "p")) == (1, 1, {"plain.txt": b"x"})


@pytest.mark.parametrize(("ending", "made"), [("zip", zipped), ("tar.gz", tarred)])
def test_what_grows_too_much_is_refused_before_it_fills_the_disk(tmp_path, monkeypatch, ending, made):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1000)
    bomb = made(tmp_path / f"a.{ending}", {"zeros": bytes(10_000_000)})
    with pytest.raises(InvalidInputError, match="more than 100 times its size"):
        unpacked(bomb, tmp_path / "o")
    assert (tmp_path / "o" / "zeros").stat().st_size <= bomb.stat().st_size * 100 + 1024 * 1024


def test_more_files_than_a_dataset_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        unpacked(zipped(tmp_path / "a.zip", FILES), tmp_path / "o")


def damaged(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 8] = bytes(8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"no archive at all" * 100)
    with pytest.raises(InvalidInputError, match=rf"a\.{ending} cannot be read as an archive"):
        unpacked(path, tmp_path / "o")


@pytest.mark.parametrize(("ending", "made"), [("zip", zipped), ("tar.gz", tarred)])
def test_one_that_was_damaged_or_cut_is_refused(tmp_path, ending, made):
    noise = {"noise": bytes(zlib.crc32(str(number).encode()) & 0xFF for number in range(50_000))}
    with pytest.raises(InvalidInputError, match="cannot be read"):
        unpacked(damaged(made(tmp_path / f"a.{ending}", noise)), tmp_path / "o")
    cut = made(tmp_path / f"b.{ending}", noise)
    cut.write_bytes(cut.read_bytes()[:-5000])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        unpacked(cut, tmp_path / "p")


def test_an_encrypted_one_is_refused(tmp_path):
    data = bytearray(zipped(tmp_path / "a.zip", {"a": b"x"}).read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InvalidInputError, match="is encrypted; pack it without a password"):
        unpacked(tmp_path / "a.zip", tmp_path / "o")


def test_a_file_where_a_folder_is_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="a file and a folder of one name"):
        unpacked(zipped(tmp_path / "a.zip", {"a": b"x", "a/b": b"y"}), tmp_path / "o")


def test_an_empty_one_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="holds no file"):
        unpacked(zipped(tmp_path / "a.zip", {}), tmp_path / "o")
