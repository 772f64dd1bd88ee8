"""How long a server takes to answer: one reader at a time, on one connection, to the last byte."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds."""

    p50: float
    p95: float
    requests: int


class Reader:
    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        self._headers = dict(headers or {})

    def get(self, address: str) -> bytes:
        """Raises: RuntimeError for every answer but 200."""
        self._connection.request("GET", address, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{address}: {answer.status} {body[:300]!r}")
        return body

    def measure(self, addresses: Sequence[str], warm_up: int = 5) -> Latency:
        """Each address once, in turn; the first few untimed as well."""
        for address in addresses[:warm_up]:
            self.get(address)
        times = []
        for address in addresses:
            started = time.perf_counter()
            self.get(address)
            times.append(1000 * (time.perf_counter() - started))
        return Latency(statistics.median(times), statistics.quantiles(times, n=20)[-1], len(times))
