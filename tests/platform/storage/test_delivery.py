"""Ranges as RFC 9110 describes them, and bodies that break off."""

from __future__ import annotations

import io

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory

from steelyard_contracts.errors import InvalidInputError, TooLargeError
from steelyard_platform.storage.delivery import RangeUnsatisfiableError, Span, deliver, parse_range
from steelyard_platform.storage.receiving import body_stream, lines_of

DATA = b"0123456789"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", None),
        ("bytes=0-3", Span(0, 4)),
        ("bytes=4-", Span(4, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=8-99", Span(8, 10)),
        ("bytes=-99", Span(0, 10)),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=-", None),
    ],
)
def test_ranges(header, span):
    assert parse_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=5-4", "bytes=-0"])
def test_a_range_with_nothing_in_it_is_416(header):
    with pytest.raises(RangeUnsatisfiableError):
        parse_range(header, 10)


def answer(method="GET", **headers):
    request = RequestFactory().generic(method, "/", **headers)
    return deliver(request, lambda start, end: iter([DATA[start:end]]), size=10, etag="e")


def test_get_head_and_range_agree():
    whole, head = answer(), answer("HEAD")
    assert b"".join(whole.streaming_content) == DATA
    assert head.headers["Content-Length"] == whole.headers["Content-Length"] == "10"
    assert head.content == b""
    part = answer(HTTP_RANGE="bytes=2-4")
    assert (part.status_code, part.headers["Content-Range"]) == (206, "bytes 2-4/10")
    assert b"".join(part.streaming_content) == b"234"
    assert answer(HTTP_RANGE="bytes=99-").headers["Content-Range"] == "bytes */10"


def test_a_body_that_breaks_off_is_no_body():
    body = {"wsgi.input": io.BytesIO(b"abc"), "CONTENT_LENGTH": "10"}
    request = WSGIRequest({"REQUEST_METHOD": "PUT", "PATH_INFO": "/", **body})
    with pytest.raises(InvalidInputError, match="broke off after 3 of 10 bytes"):
        list(body_stream(request))


def test_a_chunked_body_is_read_to_its_end():
    request = RequestFactory().put("/", b"", content_type="application/octet-stream", HTTP_TRANSFER_ENCODING="chunked")
    request.META["wsgi.input"] = io.BytesIO(b"streamed")
    assert b"".join(body_stream(request)) == b"streamed"


def test_lines_are_cut_across_chunks_and_a_long_one_is_refused():
    assert list(lines_of(iter([b"a\nb", b"c\n", b"d"]), longest=10)) == [b"a", b"bc", b"d"]
    with pytest.raises(TooLargeError):
        list(lines_of(iter([b"x" * 20]), longest=10))
