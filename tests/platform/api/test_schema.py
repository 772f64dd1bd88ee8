"""The API held against its own document: whatever is sent, no answer is a crash."""

from __future__ import annotations

import json

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck
from schemathesis.core.result import Ok

from steelyard_platform.config.wsgi import application
from tests.support.factories import make_user, token_for

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def document(django_db_setup, django_db_blocker):
    from django.test import Client

    with django_db_blocker.unblock():
        return json.loads(Client().get("/api/v1/openapi.json").content)


@pytest.fixture(autouse=True)
def _one_transaction():
    """As Django's own test client does: requests must not close the connection that the test's transaction lives on."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_no_request_crashes_the_api(document):
    schema = schemathesis.openapi.from_dict(document)
    headers = {"Authorization": f"Bearer {token_for(make_user())}"}
    schema.app = application
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok), operation
        _try(operation.ok(), headers)


def _try(operation, headers):
    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(
        max_examples=4,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    def run(case):
        answer = case.call(app=application, headers=headers)
        assert answer.status_code < 500, (case.method, case.formatted_path, answer.content)

    run()
