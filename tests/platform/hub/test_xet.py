"""The Xet protocol's face: what it takes, what it refuses, and what it does not tell."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from steelyard_contracts.errors import UnavailableError
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import to_text
from steelyard_contracts.xet.shards import FileRecord, Term
from steelyard_contracts.xet.xorbs import Scheme, read_chunks
from steelyard_platform.storage.models import TransferReport, XetFile, Xorb
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet import uploads
from steelyard_platform.storage.xet.tokens import scope_of
from tests.support.factories import make_repository, make_team, make_user, token_for
from tests.support.xet import file_of, layout_of, shard_of, stored_chunk, xorb_of

pytestmark = pytest.mark.django_db


class Uploader:
    """Somebody with a repository, speaking the protocol by hand."""

    def __init__(self, client, *, team=None, owner=None, name="weights"):
        self.client = client
        self.owner = owner or make_user()
        self.repository = make_repository(team or make_team(self.owner), self.owner, name)
        self.hub_token = token_for(self.owner)

    def token(self, right="write", secret=None):
        path = f"/api/models/{self.repository}/xet-{right}-token/main"
        return self.client.get(path, HTTP_AUTHORIZATION=f"Bearer {secret or self.hub_token}")

    def send(self, method, path, body=b"", *, right="write", **headers):
        told = self.token(right).headers
        access, address = told["X-Xet-Access-Token"], told["X-Xet-Cas-Url"].removeprefix("http://testserver")
        return self.client.generic(
            method,
            f"{address}{path}",
            body,
            "application/octet-stream",
            HTTP_AUTHORIZATION=f"Bearer {access}",
            **headers,
        )

    def xorb(self, *chunks, scheme=Scheme.NONE):
        name, body = xorb_of(*chunks, scheme=scheme)
        return name, body, self.send("POST", f"/v1/xorbs/default/{name}", body)

    def commit(self, path, sha256, size):
        records = [
            {"key": "header", "value": {"summary": "a commit"}},
            {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": sha256, "size": size}},
        ]
        return self.client.post(
            f"/api/models/{self.repository}/commit/main",
            "\n".join(map(json.dumps, records)),
            content_type="application/x-ndjson",
            HTTP_AUTHORIZATION=f"Bearer {self.hub_token}",
        )

    def push(self, path, *chunks, scheme=Scheme.NONE):
        """A file of one xorb, whole. Returns its record."""
        _, body, _ = self.xorb(*chunks, scheme=scheme)
        record = file_of([(body, 0, len(chunks))])
        assert self.send("POST", "/v1/shards", shard_of(record)).json() == {"result": 1}
        assert self.commit(path, record.sha256, record.size).status_code == 200
        return record

    def resolve(self, path, **headers):
        address = f"/{self.repository}/resolve/main/{path}"
        return self.client.get(address, HTTP_AUTHORIZATION=f"Bearer {self.hub_token}", **headers)


@pytest.fixture
def ada(client):
    return Uploader(client)


@pytest.fixture
def grace(client):
    return Uploader(client)


CHUNKS = [b"one " * 1000, b"two " * 2000, b"three " * 3000]
WHOLE = b"".join(CHUNKS)


def content(answer):
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_file_sent_by_chunks_is_served_whole_and_by_range(ada, scheme):
    record = ada.push("w.bin", *CHUNKS, scheme=scheme)
    answer = ada.resolve("w.bin")
    assert (answer.status_code, answer.headers["X-Xet-Hash"]) == (200, to_text(record.digest))
    assert content(answer) == WHOLE
    for start, end in [(0, 1), (3999, 4001), (4000, 12000), (100, len(WHOLE)), (29_999, 30_000)]:
        part = ada.resolve("w.bin", HTTP_RANGE=f"bytes={start}-{end - 1}")
        assert (part.status_code, content(part)) == (206, WHOLE[start:end])


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("span", [None, (0, 1), (4000, 12000), (3999, 4001), (5000, 6000), (29_999, 30_000)])
def test_a_client_can_put_any_range_together_from_what_it_is_told(ada, version, span):
    record = ada.push("w.bin", *CHUNKS)
    headers = {"HTTP_RANGE": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
    told = ada.send("GET", f"/{version}/reconstructions/{to_text(record.digest)}", right="read", **headers).json()
    layout = layout_of(xorb_of(*CHUNKS)[1])
    found: dict[int, bytes] = {}
    for fetches in told["fetch_info" if version == "v1" else "xorbs"].values():
        for one in fetches:
            for part in [one] if version == "v1" else one["ranges"]:
                chunks, url_range = (part["range"], part["url_range"]) if version == "v1" else part.values()
                asked = f"bytes={url_range['start']}-{url_range['end']}"
                stored = content(ada.client.get(one["url"].removeprefix("http://testserver"), HTTP_RANGE=asked))
                rows = layout.chunks[chunks["start"] : chunks["end"]]
                contents = map(bytes, read_chunks([stored], rows))
                found |= dict(zip(range(chunks["start"], chunks["end"]), contents, strict=True))
    whole = b"".join(found[n] for term in told["terms"] for n in range(term["range"]["start"], term["range"]["end"]))
    start, end = span or (0, len(WHOLE))
    skip = told["offset_into_first_range"]
    assert whole[skip : skip + end - start] == WHOLE[start:end]
    assert sum(term["unpacked_length"] for term in told["terms"]) == len(whole)


def test_a_range_behind_the_end_is_416(ada):
    record = ada.push("w.bin", *CHUNKS)
    path = f"/v1/reconstructions/{to_text(record.digest)}"
    assert ada.send("GET", path, right="read", HTTP_RANGE="bytes=30000-30001").status_code == 416


def test_several_ranges_come_in_one_answer(ada):
    name, body, _ = ada.xorb(*CHUNKS)
    [signed] = object_store().signed_ranges(f"xorbs/{name[:2]}/{name}", 60, [(0, 10), (20, 30)])
    answer = ada.client.get(signed.address, HTTP_RANGE="bytes=0-9,20-29")
    assert answer.status_code == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    sent = content(answer)
    assert body[:10] in sent
    assert body[20:30] in sent
    assert f"bytes 20-29/{len(body)}".encode() in sent


def test_a_signed_address_opens_no_other_byte(ada):
    name, _, _ = ada.xorb(*CHUNKS)
    [signed] = object_store().signed_ranges(f"xorbs/{name[:2]}/{name}", 60, [(10, 20)])
    for asked in (
        "bytes=9-19",
        "bytes=10-20",
        "bytes=0-",
        "bytes=-5",
        "bytes=12-13,0-1",
        "bytes=10-19,10-19",
        "lines=1-2",
    ):
        assert ada.client.get(signed.address, HTTP_RANGE=asked).status_code == 403
    assert ada.client.get(signed.address.replace("10-19", "0-19")).status_code == 403
    assert len(content(ada.client.get(signed.address))) == 10


def test_the_same_chunks_compressed_in_another_way_are_the_same_xorb(ada, grace):
    ada.push("w.bin", *CHUNKS, scheme=Scheme.LZ4)
    grace.push("w.bin", *CHUNKS, scheme=Scheme.NONE)
    assert Xorb.objects.count() == 1
    assert content(ada.resolve("w.bin")) == content(grace.resolve("w.bin")) == WHOLE


def test_a_xorb_whose_row_was_lost_is_read_as_it_is_stored(ada):
    name, body, _ = ada.xorb(*CHUNKS, scheme=Scheme.LZ4)
    Xorb.objects.all().delete()  # as if the process had died between the object and its row
    ada.push("w.bin", *CHUNKS, scheme=Scheme.NONE)
    assert Xorb.objects.get(pk=name).size == len(body)
    assert content(ada.resolve("w.bin")) == WHOLE


def test_sending_again_is_no_harm(ada):
    _, _, first = ada.xorb(*CHUNKS)
    _, _, second = ada.xorb(*CHUNKS)
    assert (first.json(), second.json()) == ({"was_inserted": True}, {"was_inserted": False})
    record = ada.push("w.bin", *CHUNKS)
    assert ada.send("POST", "/v1/shards", shard_of(record)).status_code == 200
    assert XetFile.objects.count() == 1


def test_progress_is_told_line_by_line(ada):
    _, body, _ = ada.xorb(*CHUNKS)
    whole, part = file_of([(body, 0, 3)]), file_of([(body, 1, 2)])
    answer = ada.send("POST", "/v2/shards", shard_of(whole, part))
    events = [json.loads(line) for line in content(answer).splitlines()]
    assert events[0] == {"type": "validating", "verified": 0, "total": 2}
    assert events[-1]["type"] == "result"
    assert [(one["sha256"], one["size"]) for one in events[-1]["files"]] == [
        (record.sha256, record.size) for record in (whole, part)
    ]


# --- what is refused --------------------------------------------------------------------------------------------


def stored_objects():
    return [info.key for info in object_store().list_objects("")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (xorb_of(b"other")[1], "The xorb's hash is"),
        (xorb_of(*CHUNKS)[1][:-1], "breaks off"),
        (xorb_of(*CHUNKS)[1] + b"\7", "breaks off"),
        (b"", "holds no chunk"),
        (b"\0\x0c\0\0\1\4\0\0oopsoopsoops", "not a valid LZ4 frame"),
    ],
)
def test_a_wrong_xorb_is_refused_and_leaves_nothing(ada, body, sentence):
    name, _ = xorb_of(*CHUNKS)
    answer = ada.send("POST", f"/v1/xorbs/default/{name}", body)
    assert (answer.status_code, sentence in answer.json()["error"]) == (400, True), answer.content
    assert stored_objects() == []
    assert not Xorb.objects.exists()


def changed(record, **fields):
    return FileRecord(**{name: fields.get(name, getattr(record, name)) for name in FileRecord.__slots__})


def wrong_records(body):
    right = file_of([(body, 0, 2)])
    term = right.terms[0]
    yield changed(right, digest=bytes(32)), "do not make that file"
    yield changed(right, proofs=()), "does not prove"
    yield changed(right, proofs=(bytes(32),)), "proof was made for"
    yield changed(right, terms=(Term(term.xorb, 0, 9, term.length),)), "of a xorb that has 3"
    yield changed(right, terms=(Term(term.xorb, 0, 2, 1),)), "another length"
    yield changed(right, terms=(Term(bytes(32), 0, 2, term.length),)), "has not uploaded"
    yield changed(right, sha256="0" * 64), "has the SHA-256"


@pytest.mark.parametrize("number", range(7))
def test_a_wrong_shard_is_refused_and_leaves_nothing(ada, number):
    _, body, _ = ada.xorb(*CHUNKS)
    record, sentence = list(wrong_records(body))[number]
    answer = ada.send("POST", "/v1/shards", shard_of(record))
    assert (answer.status_code, sentence in answer.json()["error"]) == (400, True), answer.content
    assert not XetFile.objects.exists()


def test_a_shard_that_names_the_same_chunks_without_end_is_refused(ada, monkeypatch):
    _, body, _ = ada.xorb(*CHUNKS)
    monkeypatch.setattr(uploads, "MAX_CHUNKS", 5)
    answer = ada.send("POST", "/v1/shards", shard_of(file_of([(body, 0, 3)] * 2)))
    assert (answer.status_code, "6 chunks; at most 5" in answer.json()["error"]) == (400, True)


def test_a_shard_that_lists_other_chunks_than_its_xorb_has_is_refused(ada):
    _, body, _ = ada.xorb(*CHUNKS)
    lie = layout_of(stored_chunk(b"something else"))
    answer = ada.send("POST", "/v1/shards", shards.serialize(xorbs=[(layout_of(body).digest, lie)]))
    assert (answer.status_code, "lists other chunks" in answer.json()["error"]) == (400, True)


def test_what_fails_behind_the_first_line_is_told_in_a_line(ada):
    _, body, _ = ada.xorb(*CHUNKS)
    answer = ada.send("POST", "/v2/shards", shard_of(file_of([(body, 0, 2)], sha256="0" * 64)))
    last = json.loads(content(answer).splitlines()[-1])
    assert (last["type"], last["retryable"]) == ("error", False)
    assert not XetFile.objects.exists()


def test_a_commit_of_a_file_that_was_never_registered_is_refused(ada):
    ada.xorb(*CHUNKS)
    answer = ada.commit("w.bin", hashlib.sha256(WHOLE).hexdigest(), len(WHOLE))
    assert (answer.status_code, "was uploaded" in answer.json()["error"]) == (400, True)


def test_a_commit_that_announces_another_size_is_refused(ada):
    _, body, _ = ada.xorb(*CHUNKS)
    record = file_of([(body, 0, 3)])
    ada.send("POST", "/v1/shards", shard_of(record))
    assert ada.commit("w.bin", record.sha256, 7).status_code == 400


# --- what is not told -------------------------------------------------------------------------------------------


def test_tokens_need_the_right_they_are_for(ada, grace):
    assert ada.token(secret=grace.hub_token).status_code == 404
    reader = ada.token("read").headers["X-Xet-Access-Token"]
    name, body = xorb_of(*CHUNKS)
    for secret, status in [(reader, 403), ("made-up", 401), ("", 401), (ada.hub_token, 401)]:
        path = f"/xet/{scope_of(ada.repository.team_id)}/v1/xorbs/default/{name}"
        answer = ada.client.post(path, body, "application/octet-stream", HTTP_AUTHORIZATION=f"Bearer {secret}")
        assert answer.status_code == status
    assert stored_objects() == []


def test_each_namespace_has_an_address_of_its_own(ada, grace):
    theirs = grace.token("read").headers
    assert theirs["X-Xet-Cas-Url"] != ada.token("read").headers["X-Xet-Cas-Url"]
    path = f"/xet/{scope_of(ada.repository.team_id)}/v1/reconstructions/{'0' * 64}"
    answer = ada.client.get(path, HTTP_AUTHORIZATION=f"Bearer {theirs['X-Xet-Access-Token']}")
    assert answer.status_code == 403


def test_tokens_expire(ada):
    access = ada.token("read").headers["X-Xet-Access-Token"]
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        path = f"/xet/{scope_of(ada.repository.team_id)}/v1/reconstructions/{'0' * 64}"
        answer = ada.client.get(path, HTTP_AUTHORIZATION=f"Bearer {access}")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


def test_another_namespaces_file_looks_like_none(ada, grace):
    record = ada.push("w.bin", *CHUNKS)
    theirs = grace.send("GET", f"/v1/reconstructions/{to_text(record.digest)}", right="read")
    nobodys = grace.send("GET", f"/v1/reconstructions/{'0' * 64}", right="read")
    assert (theirs.status_code, theirs.content) == (nobodys.status_code, nobodys.content) == (404, nobodys.content)


def test_a_file_of_another_repository_of_the_same_team_is_not_opened_by_this_ones_token(ada, client):
    record = ada.push("w.bin", *CHUNKS)
    other = Uploader(client, team=ada.repository.team, owner=ada.owner, name="other")
    assert other.send("GET", f"/v1/reconstructions/{to_text(record.digest)}", right="read").status_code == 404


def test_another_namespaces_xorb_cannot_be_built_on(ada, grace):
    name, body, _ = ada.xorb(*CHUNKS)
    record = file_of([(body, 0, 3)])
    missing = changed(record, terms=(Term(bytes(32), 0, 3, record.size),))
    theirs = grace.send("POST", "/v1/shards", shard_of(record))
    nobodys = grace.send("POST", "/v1/shards", shard_of(missing))
    assert (theirs.status_code, nobodys.status_code) == (400, 400)
    assert theirs.json()["error"].replace(name, "X") == nobodys.json()["error"].replace("0" * 64, "X")
    assert grace.send("HEAD", f"/v1/xorbs/default/{name}").status_code == 404
    assert ada.send("HEAD", f"/v1/xorbs/default/{name}").status_code == 200


def test_a_commit_cannot_name_another_namespaces_file(ada, grace):
    record = ada.push("w.bin", *CHUNKS)
    assert grace.commit("w.bin", record.sha256, record.size).status_code == 400


def test_who_may_only_read_cannot_ask_what_the_namespace_holds(ada):
    """A public repository is open to everybody, its team's other chunks are not."""
    path = f"/v1/chunks/default/{first_chunk()}"
    ada.push("w.bin", *CHUNKS)
    answers = [ada.send("GET", asked, right="read") for asked in (path, f"/v1/chunks/default/{'0' * 64}")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].content == answers[1].content


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setattr(settings.ENVIRONMENT, "dedup_scope", "installation")


def first_chunk():
    return to_text(layout_of(xorb_of(*CHUNKS)[1]).chunks[0].digest)


def test_a_file_is_found_by_its_first_chunk_in_its_own_namespace_only(ada, grace):
    path = f"/v1/chunks/default-merkledb/{first_chunk()}"
    ada.push("w.bin", *CHUNKS)
    answer = ada.send("GET", path)
    assert answer.status_code == 200
    [offered] = shards.parse(answer.content).xorbs
    assert to_text(offered.digest) == xorb_of(*CHUNKS)[0]
    assert grace.send("GET", path).status_code == 404


def test_a_xorb_that_the_namespace_holds_need_not_be_sent_again(ada, grace):
    name, body = xorb_of(*CHUNKS)
    path = f"/v1/xorb-grants/default/{name}"
    asked = json.dumps({"length": len(body), "checksum": {"algo": "crc64nvme", "value": "1"}}).encode()
    assert ada.send("POST", path, asked).status_code == 404
    ada.xorb(*CHUNKS)
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=False):
        assert ada.send("POST", path, asked).status_code == 200
        assert Xorb.objects.get().touched_at == timezone.now()  # it is in use, and not collected
    assert grace.send("POST", path, asked).status_code == 404
    assert ada.send("POST", path, asked, right="read").status_code == 403


def test_a_xorb_that_the_store_has_lost_is_to_be_sent_again(ada):
    name, _, _ = ada.xorb(*CHUNKS)
    object_store().delete(Xorb.objects.get().key)
    assert ada.send("POST", f"/v1/xorb-grants/default/{name}").status_code == 404


def test_who_asks_for_a_files_beginning_is_shown_all_that_a_push_had_sent_before_it_broke_off(ada, grace):
    """A machine that remembers nothing then goes on where the push was."""
    sent = {ada.xorb(*CHUNKS)[0], ada.xorb(b"the second xorb of the file" * 99)[0]}
    grace.xorb(b"somebody else's" * 99)
    answer = ada.send("GET", f"/v1/chunks/default/{first_chunk()}")
    assert {to_text(record.digest) for record in shards.parse(answer.content).xorbs} == sent


def test_a_finished_file_is_shown_without_what_other_pushes_have_left(ada):
    ada.push("w.bin", *CHUNKS)
    ada.xorb(b"left by another push" * 99)
    answer = ada.send("GET", f"/v1/chunks/default/{first_chunk()}")
    assert [to_text(record.digest) for record in shards.parse(answer.content).xorbs] == [xorb_of(*CHUNKS)[0]]


def test_a_setting_widens_what_can_be_built_on(ada, grace, wide):
    record = ada.push("w.bin", *CHUNKS)
    assert grace.send("GET", f"/v1/chunks/default/{first_chunk()}").status_code == 200
    assert grace.send("POST", "/v1/shards", shard_of(record)).status_code == 200


def test_reports_are_kept_for_the_statistics_and_bad_ones_refused(ada):
    report = {"time": "2026-01-01T00:00:00Z", "event": "xet_upload_summary", "userAgent": "hf_xet/1.8"}
    body = json.dumps({**report, "metrics": {"bytes": 5, "nested": {}, "rate": float("nan")}}).encode()
    assert ada.send("POST", "/v1/telemetry", body).status_code == 200
    assert TransferReport.objects.get().metrics == {"bytes": 5}
    access = {"HTTP_AUTHORIZATION": f"Bearer {ada.token('read').headers['X-Xet-Access-Token']}"}
    assert ada.client.post("/v1/telemetry", body, "application/json", **access).status_code == 200  # as hf_xet sends it
    assert ada.client.post("/v1/telemetry", body, "application/json").status_code == 401
    for bad in (b"no json", b"[]", b"{}"):
        assert ada.send("POST", "/v1/telemetry", bad).status_code == 400


def test_damage_in_the_store_ends_a_download_and_is_never_served(ada):
    ada.push("w.bin", *CHUNKS)
    path = settings.ENVIRONMENT.var / "objects" / Xorb.objects.get().key
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    served = []
    with pytest.raises(UnavailableError, match="is damaged"):
        served.extend(ada.resolve("w.bin").streaming_content)
    assert WHOLE.startswith(b"".join(served))
    assert len(b"".join(served)) < len(WHOLE)
