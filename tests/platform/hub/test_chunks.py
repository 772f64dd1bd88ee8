"""What our own SDK asks of the store: answers only for whom they are meant, and clear refusals."""

from __future__ import annotations

import json

import pytest

from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import chunk_hash, from_text, keyed, to_text
from steelyard_contracts.xet.recipes import unpack_chunks
from steelyard_contracts.xet.xorbs import read_chunks
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader, content, first_chunk
from tests.support.xet import xorb_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    return Uploader(client)


@pytest.fixture
def grace(client):
    return Uploader(client)


def ask(uploader, path, body, **options):
    return uploader.send("POST", f"/steelyard/{path}", json.dumps(body).encode(), **options)


def known(uploader, **body):
    answer = ask(uploader, "known", {"revision": "main", **body})
    assert answer.status_code == 200
    key, xorbs = shards.parse_answer(content(answer))
    shown = {chunk for xorb in xorbs for chunk, _ in xorb.chunks}
    return [chunk for chunk in CHUNKS if keyed(chunk_hash(chunk), key) in shown]


def xet_of(uploader, path="w.bin"):
    answer = uploader.client.get(
        f"/api/models/{uploader.repository}/tree/main", headers={"Authorization": f"Bearer {uploader.hub_token}"}
    )
    return next(one["xetHash"] for one in answer.json() if one["path"] == path)


def test_a_push_can_build_on_the_file_it_replaces_and_on_chunks_it_knows(ada):
    ada.push("w.bin", *CHUNKS)
    assert known(ada, paths=["w.bin", "other.bin"]) == list(CHUNKS)
    assert known(ada, chunks=[first_chunk()]) == list(CHUNKS)
    assert known(ada, chunks=[to_text(chunk_hash(b"never sent"))], paths=["other.bin"]) == []


def test_nothing_is_known_to_another_namespace(ada, grace):
    ada.push("w.bin", *CHUNKS)
    assert known(grace, chunks=[first_chunk()], paths=["w.bin"]) == []


def test_who_may_only_read_cannot_ask_what_is_known(ada):
    ada.push("w.bin", *CHUNKS)
    assert ask(ada, "known", {"chunks": [first_chunk()]}, right="read").status_code == 403


def test_a_file_is_put_together_from_its_chunks_and_their_addresses(ada):
    ada.push("first.bin", CHUNKS[2], CHUNKS[0])
    ada.push("w.bin", *CHUNKS)
    xet = xet_of(ada)
    pieces = unpack_chunks(content(ada.send("GET", f"/steelyard/chunks/{xet}", right="read")))
    assert [piece.digest for piece in pieces] == [chunk_hash(chunk) for chunk in CHUNKS]
    told = ask(ada, f"ranges/{xet}", {"chunks": [[0, 1], [2, 3]]}, right="read").json()["ranges"]
    found = {}
    for one in told:
        (start, end), (first, last) = one["bytes"], one["chunks"]
        address = one["url"].removeprefix("http://testserver")
        stored = content(ada.client.get(address, HTTP_RANGE=f"bytes={start}-{end - 1}"))
        for index, data in enumerate(read_chunks([stored], pieces[first:last]), start=first):
            found[index] = bytes(data)
    assert found == {0: CHUNKS[0], 2: CHUNKS[2]}
    everything = ask(ada, f"ranges/{xet}", {"chunks": [[0, 99]]}, right="read").json()["ranges"]
    assert sum(end - first for first, end in (one["chunks"] for one in everything)) == len(CHUNKS)


def test_a_file_of_another_repository_does_not_exist(ada, grace):
    ada.push("w.bin", *CHUNKS)
    xet = xet_of(ada)
    assert grace.send("GET", f"/steelyard/chunks/{xet}", right="read").status_code == 404
    assert ask(grace, f"ranges/{xet}", {"chunks": [[0, 1]]}, right="read").status_code == 404


@pytest.mark.parametrize("chunks", [None, [[1]], [[1, 0]], [[0, "x"]], [[2, 3], [0, 1]], [[0, 2], [1, 3]], [[-1, 2]]])
def test_ranges_that_make_no_sense_are_refused(ada, chunks):
    ada.push("w.bin", *CHUNKS)
    answer = ask(ada, f"ranges/{xet_of(ada)}", {"chunks": chunks}, right="read")
    assert answer.status_code == 400
    assert "chunks" in answer.json()["error"]


@pytest.mark.parametrize("body", [{"chunks": ["no hash"]}, {"chunks": 5}, {"paths": [1]}, {"chunks": [None]}])
def test_questions_that_make_no_sense_are_refused(ada, body):
    assert ask(ada, "known", body).status_code == 400


def test_a_small_file_that_came_by_chunks_before_has_its_git_id(ada):
    from steelyard_contracts.digests import git_blob_id
    from tests.support.factories import commit_files

    ada.push("w.bin", *CHUNKS)
    commit_files(ada.repository, ada.owner, {"small.txt": WHOLE})
    answer = ada.client.get(
        f"/api/models/{ada.repository}/tree/main", headers={"Authorization": f"Bearer {ada.hub_token}"}
    )
    assert {one["path"]: one["oid"] for one in answer.json()}["small.txt"] == git_blob_id(WHOLE)


def test_the_answer_names_the_xorb_to_build_on(ada):
    ada.push("w.bin", *CHUNKS)
    _, xorbs = shards.parse_answer(content(ask(ada, "known", {"chunks": [first_chunk()]})))
    assert [xorb.digest for xorb in xorbs] == [from_text(xorb_of(*CHUNKS)[0])]


def test_a_token_outlives_its_repository_and_opens_nothing_then(ada):
    told = ada.token("write").headers
    address = f"{told['X-Xet-Cas-Url'].removeprefix('http://testserver')}/steelyard/known"
    ada.repository.delete()
    headers = {"Authorization": f"Bearer {told['X-Xet-Access-Token']}"}
    assert ada.client.post(address, b"{}", "application/json", headers=headers).status_code == 404


def test_a_dangerous_file_is_not_put_together_by_chunks_either(ada):
    """Not with a token for a version without it, nor one for writing, nor one from before; but by a lift's own."""
    from steelyard_contracts.weights import FileReport, Finding, Severity
    from steelyard_platform.accounts.permissions import PLATFORM
    from steelyard_platform.accounts.tokens import actor_for_user
    from steelyard_platform.repos.models import Version
    from steelyard_platform.weights.inspection import record_report
    from steelyard_platform.weights.quarantine import lift, put_back
    from tests.support.factories import commit_files

    record = ada.push("w.bin", *CHUNKS)
    xet, boss = xet_of(ada), actor_for_user(ada.owner)
    commit_files(ada.repository, ada.owner, {"w.bin": None, "README.md": b"# Clean"})
    first = Version.objects.select_related("branch", "repository__team").get(number=1)
    before = ada.client.get(
        f"/api/models/{ada.repository}/xet-read-token/v1", headers={"Authorization": f"Bearer {ada.hub_token}"}
    )
    ways = [("GET", f"/steelyard/chunks/{xet}"), ("GET", f"/v1/reconstructions/{xet}"),
            ("GET", f"/v2/reconstructions/{xet}"), ("POST", f"/steelyard/ranges/{xet}")]  # fmt: skip
    body = json.dumps({"chunks": [[0, 1]]}).encode()

    def with_the_first_token(method, path):
        address = before.headers["X-Xet-Cas-Url"].removeprefix("http://testserver")
        token = before.headers["X-Xet-Access-Token"]
        return ada.client.generic(method, f"{address}{path}", body, HTTP_AUTHORIZATION=f"Bearer {token}").status_code

    assert [with_the_first_token(*way) for way in ways] == [200] * 4
    finding = Finding(severity=Severity.DANGER, code="pickle-import", sentence="It runs code.")
    report = FileReport(sha256=record.sha256, format="pickle", findings=[finding])
    record_report(version=first, report=report, actor=PLATFORM)
    for right in ("read", "write"):
        answers = [ada.send(*way, body, right=right) for way in ways]
        assert [answer.status_code for answer in answers] == [403] * 4
        assert answers[0].json() == {"error": "This file is in quarantine: It runs code.", "code": "quarantined"}
    assert [with_the_first_token(*way) for way in ways] == [403] * 4
    lift(version=first, reason="known", actor=boss)
    assert [with_the_first_token(*way) for way in ways] == [200] * 4
    assert ada.send(*ways[0], right="read").status_code == 403
    put_back(version=first, reason="no", actor=boss)
    assert [with_the_first_token(*way) for way in ways] == [403] * 4
