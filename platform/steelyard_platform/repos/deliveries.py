"""Sending announcements to webhooks: `deliver_due()` sends what is due, and tries again what was not taken.

An address is whatever its owner wrote, and this process stands inside the installation's network. So a host's name is
looked up once, every address it has must be one of the open internet (unless a setting allows others), and the
connection goes to the address that was looked at. Redirects are not followed, and no answer is read beyond its status.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from steelyard_contracts.errors import ForbiddenError, SteelyardError, UnavailableError
from steelyard_platform.repos.models import WebhookDelivery
from steelyard_platform.repos.webhooks import unsealed

SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105 - the header's name
# After each attempt that failed, until the next; after the last it is given up.
RETRIES = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 600, 3600, 6 * 3600))
_CLAIMED_FOR = timedelta(minutes=2)
_BATCH = 100
_SECONDS, _SECONDS_IN_ALL = 10, 20
_log = logging.getLogger(__name__)

Post = Callable[[str, bytes, dict[str, str]], int]


@dataclass(frozen=True, slots=True)
class Letter:
    """What is posted. Without a body, nothing is: the webhook did not ask for this event."""

    body: bytes
    headers: dict[str, str]


# A face whose webhooks are told in other words than the Hub's; None for one that is not of that face.
Translator = Callable[[WebhookDelivery], Letter | None]
_translators: list[Translator] = []


def translate(translator: Translator) -> None:
    """Called when the app starts whose clients' webhooks expect other words."""
    if translator not in _translators:
        _translators.append(translator)


def _letter(delivery: WebhookDelivery) -> Letter:
    for translator in _translators:
        if (found := translator(delivery)) is not None:
            return found
    secret = unsealed(delivery.webhook)
    return Letter(json.dumps(delivery.payload).encode(), {SECRET_HEADER: secret} if secret else {})


def deliver_due(post: Post | None = None) -> int:
    """Sends each that is due, once. Returns how many were taken. Safe to run in several processes at once."""
    due = WebhookDelivery.objects.filter(due_at__lte=timezone.now()).order_by("due_at")
    return sum(_deliver(pk, post or post_json) for pk in list(due.values_list("pk", flat=True)[:_BATCH]))


def _deliver(pk: int, post: Post) -> bool:
    now = timezone.now()
    claimed = WebhookDelivery.objects.filter(pk=pk, due_at__lte=now).update(due_at=now + _CLAIMED_FOR)
    delivery = WebhookDelivery.objects.select_related("webhook__user").filter(pk=pk).first() if claimed else None
    if delivery is None:
        return False
    webhook = delivery.webhook
    if webhook.is_disabled or not webhook.user.is_active:
        delivery.delete()
        return False
    letter = _letter(delivery)
    if not letter.body:
        delivery.delete()
        return False
    try:
        status = post(webhook.url, letter.body, {"Content-Type": "application/json", **letter.headers})
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own ranges
            raise UnavailableError(f"answered {status}")
    except (SteelyardError, OSError, ValueError, http.client.HTTPException) as error:
        _postpone(delivery, error)
        return False
    delivery.delete()
    return True


def _postpone(delivery: WebhookDelivery, error: Exception) -> None:
    """The log names the webhook and what went wrong; its address can hold a secret."""
    reason = str(error) if isinstance(error, SteelyardError) else type(error).__name__
    if delivery.attempts >= len(RETRIES):
        _log.warning("%s: %s; given up", delivery.webhook, reason)
        delivery.delete()
        return
    _log.info("%s: %s; tried again later", delivery.webhook, reason)
    delivery.due_at = timezone.now() + RETRIES[delivery.attempts]
    delivery.attempts += 1
    delivery.save(update_fields=["due_at", "attempts"])


def post_json(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The answer's status. Raises: ForbiddenError for an address that must not be called; OSError, HTTPException."""
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    connection.default_port = 443 if is_secure else 80  # which the header Host leaves out
    connection.sock = socket.create_connection((address_of(host, port), port), _SECONDS)
    # Each step has its limit; somebody who answers a letter at a time is cut off by this one.
    limit = threading.Timer(_SECONDS_IN_ALL, lambda: _cut(connection.sock))
    limit.start()
    try:
        if is_secure:
            secured = ssl.create_default_context().wrap_socket(
                connection.sock, server_hostname=host, do_handshake_on_connect=False
            )
            connection.sock = secured
            secured.do_handshake()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {**headers, "User-Agent": "steelyard-webhooks"})
        return connection.getresponse().status
    finally:
        limit.cancel()
        connection.close()


def _cut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def address_of(host: str, port: int) -> str:
    """Raises: ForbiddenError unless every address of the host may be called; OSError for a host that has none."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not settings.ENVIRONMENT.webhooks_to_private_addresses and not all(map(is_open, found)):
        raise ForbiddenError("the address is not one of the open internet")
    return found[0]


def is_open(address: str) -> bool:
    """Whether an IP address is one of the open internet, also when it is IPv4 in IPv6's clothes."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inside = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or [None, None])[1]
        if inside is None and parsed in _NAT64:
            inside = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inside is not None:
            return is_open(str(inside))
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
