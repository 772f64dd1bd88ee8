"""Every error keeps its class, code, sentence and details on its way over the wire."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest

from steelyard_contracts import errors
from steelyard_contracts.errors import ErrorBody, ErrorDetail, SteelyardError, body_of, error_from_body, unforeseen

ALL = list(errors._BY_CODE.values())


@pytest.mark.parametrize("error_class", ALL)
def test_an_error_comes_back_as_itself(error_class):
    sent = error_class("What was wrong, and what to do.", path="a/b")
    received = error_from_body(ErrorBody.model_validate_json(body_of(sent).model_dump_json()))
    assert type(received) is error_class
    assert str(received) == "What was wrong, and what to do."
    assert received.details == {"path": "a/b"}


def test_codes_are_unique_and_statuses_are_http():
    assert len({one.code for one in ALL}) == len(ALL)
    assert all(400 <= one.status < 600 for one in ALL)


def test_an_unknown_code_is_still_an_error_with_its_sentence():
    received = error_from_body(ErrorBody(error=ErrorDetail(code="from_the_future", message="Hm.")))
    assert type(received) is SteelyardError
    assert str(received) == "Hm."


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b"),
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError('could not extend file "base/1/2": No space left on device'),
    ],
)
def test_a_full_disk_is_named(error):
    assert unforeseen(error).message.startswith("The server's disk is full.")
    assert "the server's log says what" in unforeseen(ValueError("secret")).message
    assert "secret" not in unforeseen(ValueError("secret")).message
