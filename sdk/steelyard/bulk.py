"""Requests whose bodies are large, by `urllib3`: blocks go to the socket and come from it as they are.

The client that the rest of the SDK uses hands each block through a protocol engine in Python, which at these sizes
takes more of a core than hashing what is moved.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import urllib3

from steelyard_contracts.errors import UnavailableError

Block = bytes | memoryview

_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_SERVERS, _CONNECTIONS = 4, 8


@dataclass(frozen=True, slots=True)
class Answer:
    """Read while its request is open. Raises, as it is read: UnavailableError."""

    _response: urllib3.BaseHTTPResponse

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def read(self) -> bytes:
        return b"".join(self.blocks(1024 * 1024))

    def blocks(self, size: int) -> Iterator[bytes]:
        """The body as it was sent, in blocks of at most `size` bytes."""
        try:
            yield from self._response.stream(size, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"The answer broke off ({error}).") from error


class BulkClient:
    """Keeps connections; safe in threads. Goes through the proxy that the environment names, like `httpx2`."""

    def __init__(self) -> None:
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    @contextmanager
    def open(
        self, method: str, url: str, body: bytes | Iterable[Block] = b"", *, headers: Mapping[str, str]
    ) -> Iterator[Answer]:
        """Sends the request; the answer's body is still to be read. Raises: UnavailableError."""
        try:
            response = self._pool(url).urlopen(
                method,
                url,
                body=body or None,
                headers=dict(headers),
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=_TIMEOUT,
            )
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"{urlsplit(url).netloc} cannot be reached ({error}).") from error
        try:
            yield Answer(response)
        finally:
            # What was not read to its end cannot be used again.
            response.close()
            response.release_conn()

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy_for(url)
        if proxy not in self._pools:
            made = partial(urllib3.ProxyManager, proxy) if proxy else urllib3.PoolManager
            self._pools[proxy] = made(num_pools=_SERVERS, maxsize=_CONNECTIONS, ssl_context=certificates())
        return self._pools[proxy]


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    proxies = getproxies()
    if proxy_bypass(parts.hostname or ""):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


@cache
def certificates() -> ssl.SSLContext:
    """Read once in a process: it takes longer than many a whole request."""
    context: ssl.SSLContext = httpx2.create_ssl_context()
    return context
