"""The store's HTTP face as this SDK uses it: the Xet protocol, and the questions of `steelyard_platform.hub.chunks`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from steelyard.bulk import Block
from steelyard.hub_addresses import at_revision
from steelyard.transport import Transport
from steelyard_contracts.errors import NotFoundError, SteelyardError, UnavailableError
from steelyard_contracts.refs import Ref
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.assembly import Piece, Place
from steelyard_contracts.xet.hashes import keyed, to_text
from steelyard_contracts.xet.recipes import unpack_chunks
from steelyard_contracts.xet.shards import XorbRecord

_EARLY = 60  # seconds before its end that a token is renewed


@dataclass(frozen=True, slots=True)
class Registered:
    """What the server knows a file by, once it has put it together and read it."""

    xet: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """An address for chunks `first` to `last - 1` of a file, which are the bytes `start` to `end - 1` there."""

    url: str
    start: int
    end: int
    first: int
    last: int


class ChunkStore:
    """One repository's part of the store, with one right. Tokens are renewed as they run out; safe in threads."""

    def __init__(self, transport: Transport, ref: Ref, right: str) -> None:
        self._transport = transport
        self._token_path = at_revision(ref, f"xet-{right}-token")
        self._token = self._address = ""
        self._expires = 0.0

    def known(
        self, chunks: Iterable[bytes], *, revision: str, paths: list[str]
    ) -> tuple[bytes, tuple[XorbRecord, ...]]:
        """Xorbs to build on, their chunks shown under the key that comes with them."""
        body = {"chunks": [to_text(chunk) for chunk in chunks], "revision": revision, "paths": paths}
        return shards.parse_answer(self._call("POST", "/steelyard/known", json.dumps(body).encode()))

    def has_xorb(self, digest: bytes) -> bool:
        """Whether it has arrived, perhaps with a push that broke off before its end; it is kept then."""
        try:
            self._call("POST", f"/v1/xorb-grants/default/{to_text(digest)}")
        except NotFoundError:
            return False
        return True

    def put_xorb(self, digest: bytes, body: Callable[[], Iterator[Block]], size: int) -> None:
        """`body` is called anew for each try."""
        self._call("POST", f"/v1/xorbs/default/{to_text(digest)}", body, size=size)

    def register(self, shard: bytes) -> list[Registered]:
        """Makes files of what was sent. Raises: the server's errors; then none was made."""
        last: dict[str, Any] = {}
        for line in self._call("POST", "/v2/shards", shard).splitlines():
            last = json.loads(line)
        if last.get("type") != "result":
            said = str(last.get("message") or "The server stopped before the files were registered.")
            raise UnavailableError(said) if last.get("retryable", True) else SteelyardError(said)
        return [Registered(one["hash"], one["sha256"], one["size"]) for one in last["files"]]

    def chunks(self, xet: str) -> list[Piece]:
        return unpack_chunks(self._call("GET", f"/steelyard/chunks/{xet}"))

    def ranges(self, xet: str, wanted: list[tuple[int, int]]) -> list[Fetch]:
        answer = json.loads(self._call("POST", f"/steelyard/ranges/{xet}", json.dumps({"chunks": wanted}).encode()))
        return [Fetch(one["url"], *one["bytes"], *one["chunks"]) for one in answer["ranges"]]

    def report(self, event: str, *, size: int, moved: int) -> None:
        """For the server's statistics, in the protocol's words. A report that does not arrive is no loss."""
        metrics = {"total_bytes_completed": size, "transfer_bytes_completed": moved}
        body = json.dumps({"event": event, "user_agent": "steelyard", "metrics": metrics}).encode()
        with suppress(SteelyardError):
            self._call("POST", "/v1/telemetry", body, repeatable=False)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | Callable[[], Iterator[Block]] = b"",
        *,
        size: int | None = None,
        repeatable: bool = True,
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self._fresh_token()}"}
        address = f"{self._address}{path}"
        return self._transport.exchange(method, address, body, size=size, headers=headers, repeatable=repeatable)

    def _fresh_token(self) -> str:
        if time.time() > self._expires - _EARLY:
            answer = self._transport.call("GET", self._token_path)
            self._token, self._address, self._expires = answer["accessToken"], answer["casUrl"], answer["exp"]
        return self._token


def places_of(digests: Iterable[bytes], key: bytes, xorbs: Iterable[XorbRecord]) -> dict[bytes, Place]:
    """Which of these chunks lie where, of xorbs whose chunks are shown under `key`."""
    shown = {chunk: Place(xorb.digest, index) for xorb in xorbs for index, (chunk, _) in enumerate(xorb.chunks)}
    found = ((digest, shown.get(keyed(digest, key))) for digest in digests) if shown else ()
    return {digest: place for digest, place in found if place is not None}
