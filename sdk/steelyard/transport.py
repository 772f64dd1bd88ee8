"""The one place where the SDK speaks HTTP: retries, errors as classes, bodies as streams."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from steelyard.bulk import Block, BulkClient, certificates
from steelyard_contracts.errors import (
    ErrorBody,
    ErrorDetail,
    NotFoundError,
    SteelyardError,
    UnavailableError,
    error_from_body,
)

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")

CHUNK = 1024 * 1024
_TRY_AGAIN = dict.fromkeys((502, 503, 504), UnavailableError)
_LONGEST_PAUSE = 8.0


class Transport:
    """Requests to one server with one token.

    Args:
        url: the server's address.
        token: sent as a bearer token, and only to that server.
        patience: seconds for which a request that could not be delivered is tried again. Only calls that may be
            repeated without harm are.
        timeout: seconds for which an answer is waited for.
    """

    def __init__(self, url: str, token: str | None, *, patience: float = 30, timeout: float = 60) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self.token = token
        self.patience = patience
        # For addresses that are their own credential: the token must not travel there.
        self._bulk = BulkClient()
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 10)),
            follow_redirects=True,
            verify=certificates(),
        )

    def close(self) -> None:
        self._http.close()
        self._bulk.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
        repeatable: bool = True,
    ) -> Any:
        """The answer's JSON; None for an empty answer. What is None of a query is not asked.

        Raises: SteelyardError as the server said, UnavailableError.
        """
        json = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        deadline = time.monotonic() + (self.patience if repeatable else 0)
        for pause in _pauses():
            try:
                response = self._http.request(method, path, json=json, params=asked)
                _raise_for(response)
                return response.json() if response.content else None
            except (httpx2.TransportError, UnavailableError) as error:
                if time.monotonic() + pause > deadline:
                    raise self._unreachable(error) from error
            time.sleep(pause)
        raise AssertionError  # the pauses never end

    def get(self, model: type[Answer], path: str, **query: Any) -> Answer:
        return model.model_validate(self.call("GET", path, query=query))

    def post(
        self, model: type[Answer], path: str, body: BaseModel | dict[str, Any], *, repeatable: bool = False
    ) -> Answer:
        return model.model_validate(self.call("POST", path, body=body, repeatable=repeatable))

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The items of a list whose answers name the cursor of the next page. Raises: SteelyardError."""
        cursor: str | None = None
        while True:
            asked = {key: value for key, value in {**query, "cursor": cursor}.items() if value}
            page = self.call("GET", path, query=asked)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def pages(self, path: str, **query: str) -> Iterator[Any]:
        """The items of a list whose answers link to the next page. Raises: SteelyardError."""
        following: str | None = str(httpx2.URL(path, params=query))
        while following:

            def once(address: str = following) -> httpx2.Response:
                response = self._http.get(address)
                _raise_for(response)
                return response

            response = self.repeat(once)
            yield from response.json()
            following = response.links.get("next", {}).get("url")

    def send_lines(self, path: str, lines: Callable[[], Iterator[bytes]]) -> Any:
        """POSTs a stream of JSON lines, made anew for each try. Raises: SteelyardError."""

        def once() -> Any:
            response = self._http.post(path, content=lines(), headers={"Content-Type": "application/x-ndjson"})
            _raise_for(response)
            return response.json()

        return self.repeat(once)

    def send(self, method: str, path: str, body: bytes, content_type: str = "application/json") -> Any:
        """One request with a body that is made already, not repeated; the answer's JSON.

        Raises: SteelyardError as the server said, UnavailableError.
        """

        def once() -> Any:
            response = self._http.request(method, path, content=body, headers={"Content-Type": content_type})
            _raise_for(response)
            return response.json() if response.content else None

        return self.repeat(once, patience=0)

    def exchange(
        self,
        method: str,
        url: str,
        body: bytes | Callable[[], Iterable[Block]] = b"",
        *,
        size: int | None = None,
        headers: dict[str, str],
        repeatable: bool = True,
    ) -> bytes:
        """A request with its own credential, tried again until it was delivered if it may be repeated.

        Args:
            method: of HTTP.
            url: whole.
            body: bytes, or what makes a body of `size` bytes anew for each try.
            size: of a body that is made.
            headers: with the credential.
            repeatable: whether it does no harm to send it twice.

        Raises:
            SteelyardError: as the server said; UnavailableError.
        """
        sent = headers if size is None else {**headers, "Content-Length": str(size)}

        def once() -> bytes:
            with self._bulk.open(method, url, body() if callable(body) else body, headers=sent) as answer:
                content = answer.read()
                _raise_for_status(url, answer.status, content, answer.headers)
                return content

        return self.repeat(once, patience=None if repeatable else 0)

    def repeat(self, attempt: Callable[[], Result], *, patience: float | None = None) -> Result:
        """Does it again, for as long as the patience lasts, while the server cannot be reached.

        Raises: SteelyardError.
        """
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        for pause in _pauses():
            try:
                return attempt()
            except (httpx2.TransportError, UnavailableError) as error:
                if time.monotonic() + pause > deadline:
                    raise self._unreachable(error) from error
            time.sleep(pause)
        raise AssertionError  # the pauses never end

    @contextmanager
    def range(self, url: str, start: int, end: int) -> Iterator[Iterator[bytes]]:
        """Bytes `start` to `end - 1` at an address that is its own credential."""
        with self._bulk.open("GET", url, headers={"Range": f"bytes={start}-{end - 1}"}) as answer:
            if answer.status >= httpx2.codes.BAD_REQUEST:
                _raise_for_status(url, answer.status, answer.read(), answer.headers)
            yield answer.blocks(CHUNK)

    def put_file(self, url: str, path: Path) -> None:
        """PUTs a file to an address that is its own credential. Raises: SteelyardError."""
        with path.open("rb") as file:

            def content() -> Iterator[bytes]:
                file.seek(0)
                return _chunks(file)

            self.exchange("PUT", url, content, size=path.stat().st_size, headers={})

    @contextmanager
    def stream(self, path: str, *, start: int = 0, end: int | None = None) -> Iterator[tuple[bool, Iterator[bytes]]]:
        """A body from byte `start` to `end - 1`, or its end: (whether the server honoured that, its chunks).

        Raises: SteelyardError.
        """
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        try:
            with self._http.stream("GET", path, headers=headers) as response:
                if response.status_code >= httpx2.codes.BAD_REQUEST:
                    response.read()
                _raise_for(response)
                yield response.status_code == httpx2.codes.PARTIAL_CONTENT, response.iter_bytes(CHUNK)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> SteelyardError:
        if isinstance(error, SteelyardError):
            return error
        return UnavailableError(f"{self.url} cannot be reached ({error or type(error).__name__}). Is it running?")


def _pauses() -> Iterator[float]:
    """Seconds between tries: doubling, with a little chance so that many clients do not return at once."""
    pause = 0.25
    while True:
        yield pause * random.uniform(0.8, 1.2) if pause < _LONGEST_PAUSE else _LONGEST_PAUSE  # noqa: S311 - no secret
        pause = min(pause * 2, _LONGEST_PAUSE)


def _raise_for(response: httpx2.Response) -> None:
    """Raises: the class that the answer's code names."""
    if response.status_code >= httpx2.codes.BAD_REQUEST:
        _raise_for_status(str(response.request.url), response.status_code, response.content, response.headers)


def _raise_for_status(url: str, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    """Raises: the class that the answer's code names."""
    if status < httpx2.codes.BAD_REQUEST:
        return
    if (error := _error_in(content, headers)) is not None:
        raise error
    # The query of a signed address is a secret.
    text = f"{httpx2.URL(url).copy_with(query=None)} answered {status}."
    raise {httpx2.codes.NOT_FOUND: NotFoundError, **_TRY_AGAIN}.get(status, SteelyardError)(text)


def _error_in(content: bytes, headers: Mapping[str, str]) -> SteelyardError | None:
    """As the API words it, or as its Hub side does: what that says for the Hub's clients stands in a header for us."""
    try:
        return error_from_body(ErrorBody.model_validate_json(content))
    except ValidationError:
        pass
    try:
        said = json.loads(content)
        message = headers.get("X-Steelyard-Message") or said["error"]
        return error_from_body(ErrorBody(error=ErrorDetail(code=said["code"], message=message)))
    except (ValueError, KeyError, TypeError):
        return None


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
