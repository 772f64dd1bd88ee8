"""`verify_storage`: notices any damage, names the files it touches, and a fresh upload puts it right."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.management import call_command

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.xet.xorbs import Scheme
from steelyard_platform.repos.blobs import accept_staged, staging_key
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.verification import Pace
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader, content
from tests.support.factories import commit_files

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    uploader = Uploader(client)
    uploader.push("w.bin", *CHUNKS)
    commit_files(uploader.repository, uploader.owner, {"a.txt": b"first", "b.txt": b"second"})
    return uploader


def damage(prefix):
    [info] = object_store().list_objects(prefix)
    path = settings.ENVIRONMENT.var / "objects" / info.key
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    return info.key


def verify(capsys):
    try:
        call_command("verify_storage", "--mb-per-second", "0")
    except SystemExit as stop:
        return stop.code, capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_a_whole_store_passes(ada, capsys):
    code, said = verify(capsys)
    assert (code, "2 objects" in said, "0 damaged" in said) == (0, True, True)


@pytest.mark.parametrize(("prefix", "file"), [("xorbs/", "w.bin"), ("packs/", "b.txt")])
def test_damage_is_named_and_set_aside(ada, capsys, prefix, file):
    key = damage(prefix)
    code, said = verify(capsys)
    assert (code, "1 damaged" in said) == (1, True)
    assert f"{ada.repository}: {file}" in said
    assert [info.key for info in object_store().list_objects("quarantine/")] == [f"quarantine/{key}"]
    assert ada.resolve(file).status_code in {404, 503} or prefix == "xorbs/"


def test_a_damaged_file_that_came_whole_is_found_too(ada, capsys):
    data = b"whole " * 100
    object_store().put(staging_key(ada.repository, sha256_of(data)), [data])
    accept_staged(ada.repository, sha256=sha256_of(data), size=len(data))
    damage("blobs/")
    assert "1 damaged" in verify(capsys)[1]


def test_what_is_missing_is_named(ada, capsys):
    [info] = object_store().list_objects("xorbs/")
    object_store().delete(info.key)
    code, said = verify(capsys)
    assert (code, "The object is missing." in said) == (1, True)


def test_pushing_the_same_content_again_puts_it_right_however_it_is_compressed(ada, capsys):
    damage("xorbs/")
    verify(capsys)
    ada.push("again.bin", *CHUNKS, scheme=Scheme.LZ4)
    assert verify(capsys)[0] == 0
    assert content(ada.resolve("w.bin")) == WHOLE


def test_the_rate_is_bounded():
    slept: list[float] = []
    pace = Pace(rate=10, sleep=slept.append, clock=lambda: 0.0)
    assert list(pace.pass_on([b"x" * 10, b"y" * 10])) == [b"x" * 10, b"y" * 10]
    assert slept == [1.0, 2.0]
