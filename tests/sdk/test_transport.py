"""The SDK's transport: errors as classes, repeats only where they do no harm."""

from __future__ import annotations

import httpx2
import pytest
from pydantic import BaseModel

import steelyard
from steelyard.settings import Credentials, credentials_file, find_credentials, keep_credentials
from steelyard.transport import Transport
from steelyard_contracts.errors import (
    AuthenticationError,
    ForbiddenError,
    NotFoundError,
    RepositoryNotFoundError,
    SteelyardError,
    UnavailableError,
)


class Thing(BaseModel):
    name: str


def transport_to(answers, monkeypatch, patience=30):
    """A transport whose server gives these answers, one after the other; exceptions are raised."""
    monkeypatch.setattr("steelyard.transport.time.sleep", lambda _: None)
    seen = []

    def handle(request):
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = Transport("http://hub.test", "sy_token", patience=patience)
    made._http = httpx2.Client(base_url="http://hub.test", transport=httpx2.MockTransport(handle))
    return made, seen


def refusal(status, code, message):
    return httpx2.Response(status, json={"error": {"code": code, "message": message, "details": {}}})


def test_the_servers_sentence_arrives_as_its_class(monkeypatch):
    transport, _ = transport_to([refusal(403, "forbidden", "ada may not write model a/b.")], monkeypatch)
    with pytest.raises(ForbiddenError, match="ada may not write model a/b."):
        transport.get(Thing, "/x")


def test_what_the_hub_side_says_arrives_as_its_class_too(monkeypatch):
    headers = {"X-Steelyard-Message": "There is no model a/b, or you may not read it."}
    said = httpx2.Response(404, json={"error": "Repository not found", "code": "repository_not_found"}, headers=headers)
    transport, _ = transport_to([said, httpx2.Response(404)], monkeypatch)
    with pytest.raises(RepositoryNotFoundError, match="There is no model a/b"):
        transport.call("GET", "/api/models/a/b")
    with pytest.raises(NotFoundError, match="answered 404"):
        transport.call("GET", "/api/models/a/b")


def test_pages_are_followed_to_the_end(monkeypatch):
    link = {"Link": '<http://hub.test/x?cursor=2>; rel="next"'}
    answers = [httpx2.Response(200, json=[1, 2], headers=link), httpx2.Response(200, json=[3])]
    transport, seen = transport_to(answers, monkeypatch)
    assert list(transport.pages("/x", recursive="true")) == [1, 2, 3]
    assert [str(request.url) for request in seen] == ["http://hub.test/x?recursive=true", "http://hub.test/x?cursor=2"]


def test_a_passing_failure_is_tried_again(monkeypatch):
    answers = [httpx2.ConnectError("down"), httpx2.Response(503), httpx2.Response(200, json={"name": "up"})]
    transport, seen = transport_to(answers, monkeypatch)
    assert transport.get(Thing, "/x").name == "up"
    assert len(seen) == 3


def test_what_must_not_happen_twice_is_sent_once(monkeypatch):
    transport, seen = transport_to([httpx2.ReadError("cut")], monkeypatch)
    with pytest.raises(UnavailableError, match="http://hub.test cannot be reached"):
        transport.post(Thing, "/jobs", {})
    assert len(seen) == 1


def test_patience_ends(monkeypatch):
    transport, _ = transport_to([httpx2.ConnectError("down")], monkeypatch, patience=0)
    with pytest.raises(UnavailableError, match="Is it running"):
        transport.get(Thing, "/x")


def test_an_answer_that_is_no_steelyards_is_still_a_sentence(monkeypatch):
    transport, _ = transport_to([httpx2.Response(418, text="<html>teapot")], monkeypatch)
    with pytest.raises(SteelyardError, match="answered 418"):
        transport.get(Thing, "/x")


def test_credentials_come_from_the_environment_then_from_login(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(AuthenticationError, match="Run `steelyard login`, or set STEELYARD_TOKEN"):
        find_credentials()
    keep_credentials(Credentials("http://hub.test", "sy_kept"))
    assert credentials_file().stat().st_mode & 0o077 == 0
    monkeypatch.setenv("STEELYARD_URL", "http://hub.test")
    assert find_credentials() == Credentials("http://hub.test", "sy_kept")
    monkeypatch.setenv("STEELYARD_URL", "http://elsewhere.test")
    with pytest.raises(AuthenticationError):  # a token goes only where it belongs
        find_credentials()
    monkeypatch.setenv("STEELYARD_TOKEN", "sy_given")
    assert find_credentials().token == "sy_given"
    with pytest.raises(AuthenticationError, match="No token for http://third.test"):
        steelyard.connect("http://third.test")


def test_every_public_name_is_exported():
    for name in steelyard.__all__:
        assert hasattr(steelyard, name)
