"""The API held against its own document: whatever is sent, no answer is a crash."""

from __future__ import annotations

import json

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck

from steelyard_platform.config.wsgi import application
from tests.support.factories import make_user, token_for

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def document(django_db_setup, django_db_blocker):
    from django.test import Client

    with django_db_blocker.unblock():
        return json.loads(Client().get("/api/v1/openapi.json").content)


def test_no_request_crashes_the_api(document):
    schema = schemathesis.openapi.from_dict(document)
    headers = {"Authorization": f"Bearer {token_for(make_user())}"}
    schema.app = application
    for operation in schema.get_all_operations():
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
