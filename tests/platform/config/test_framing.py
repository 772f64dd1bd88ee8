"""Which of two lengths counts, and where."""

from __future__ import annotations

import pytest

from steelyard_platform.config.framing import mend, take_the_length

BOTH = [("HOST", "x"), ("CONTENT-LENGTH", "7"), ("TRANSFER-ENCODING", "chunked")]
UPLOAD = "/ultralytics/uploads/ticket/best.pt"


class Request:
    """What of gunicorn's is looked at."""

    def __init__(self, uri, headers):
        self.uri, self.headers, self.is_last, self.seen = uri, list(headers), False, None

    def force_close(self):
        self.is_last = True

    def set_body_reader(self):
        self.seen = [name for name, _ in self.headers]


def test_at_an_upload_the_length_counts_and_nothing_follows():
    request = Request(UPLOAD, BOTH)
    take_the_length(request)
    assert request.headers == BOTH[:2]
    assert request.is_last


@pytest.mark.parametrize(
    ("uri", "headers"),
    [
        ("/ultralytics/api/projects", BOTH),
        ("/objects/staging/1", BOTH),
        (UPLOAD, BOTH[:2]),
        (UPLOAD, [BOTH[0], BOTH[2]]),
        (UPLOAD, [("CONTENT-LENGTH", "7x"), BOTH[2]]),
        (UPLOAD, [BOTH[1], ("TRANSFER-ENCODING", "gzip, chunked")]),
    ],
)
def test_every_other_request_stays_as_it_is(uri, headers):
    request = Request(uri, headers)
    take_the_length(request)
    assert (request.headers, request.is_last) == (headers, False)


def test_mending_twice_is_mending_once():
    class Mended(Request):
        pass

    mend(Mended)
    once = Mended.set_body_reader
    mend(Mended)
    assert Mended.set_body_reader is once
    request = Mended(UPLOAD, BOTH)
    request.set_body_reader()
    assert request.seen == ["HOST", "CONTENT-LENGTH"]
