"""Speaking the Hub's API by hand."""

from __future__ import annotations

import json

import pytest

from tests.support.factories import make_repository, make_team, make_user, token_for


@pytest.fixture
def repository(owner):
    return make_repository(make_team(owner), owner, "reader")


@pytest.fixture
def send(client, owner):
    """A request with the owner's token, unless another is given."""

    def call(method, path, body=None, token=None, **headers):
        secret = token_for(owner) if token is None else token
        authorization = {"HTTP_AUTHORIZATION": f"Bearer {secret}"} if secret else {}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        return client.generic(method, path, data, content_type="application/json", **authorization, **headers)

    return call


@pytest.fixture
def visitor():
    """Somebody outside the repository's team."""
    return make_user()


@pytest.fixture
def visit(send, visitor):
    """A request with the visitor's token."""
    secret = token_for(visitor)
    return lambda method, path, body=None, **more: send(method, path, body, token=secret, **more)
