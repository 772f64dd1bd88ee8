"""How the machines of a group find each other: the first opens a store, says where, and waits until all have come.

The store, and the traffic of the ranks, are torch's own and know no passwords: they belong on a network that only the
machines of the team reach.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from steelyard.transport import Transport
from steelyard_contracts.errors import AuthenticationError, LeaseLostError
from steelyard_contracts.jobs import Claim, Finish, Heartbeat, JobState, JoinSpec, Rendezvous

# For so long the first waits for the others before it gives the job back.
_WAIT = timedelta(minutes=10)
_LOOK_SECONDS, _LINGER_SECONDS = 0.5, 1.0
_HTTPS, _HTTP = 443, 80


class GroupIncompleteError(Exception):
    """A machine did not come in time."""


@contextlib.contextmanager
def lead_group(url: str, claim: Claim) -> Iterator[str]:
    """Opens the store, has the others asked for, and waits for them; yields the store's host:port.

    Raises: GroupIncompleteError; SteelyardError.
    """
    address, hosts = own_address(url), claim.resources.hosts
    _keep_to_interface(address)
    # Torch's rendezvous in this process shares it: nobody else can take the port in between.
    store = TCPStore(address, 0, hosts, is_master=True, wait_for_workers=False, multi_tenant=True)
    transport = Transport(url, claim.token, patience=claim.lease_seconds)
    try:
        where = Rendezvous(address=address, port=store.port)
        transport.call("POST", f"/api/v1/jobs/{claim.id}/group", body=where)
        _wait_for(store, hosts, lambda missing: _tell(transport, claim, missing))
        yield f"{_bracketed(address)}:{store.port}"
        time.sleep(_LINGER_SECONDS)  # the others hear through the store that all have ended
    finally:
        transport.close()
        del store


def join_group(url: str, spec: JoinSpec) -> str:
    """Says that this machine has come; returns the store's host:port. Raises: GroupIncompleteError."""
    where = spec.rendezvous
    _keep_to_interface(own_address(url))
    try:
        store = TCPStore(where.address, where.port, spec.hosts, is_master=False, wait_for_workers=False, timeout=_WAIT)
        store.set(_key(spec.node), "here")
    except RuntimeError as error:  # torch's own, when nobody answers there
        raise GroupIncompleteError(f"{where.address}:{where.port} does not answer: {error}") from error
    return f"{_bracketed(where.address)}:{where.port}"


def leave_group(url: str, claim: Claim) -> int:
    """The last word of a machine that joined, once its ranks have done their work; the exit status for the worker."""
    transport = Transport(url, claim.token, patience=claim.lease_seconds)
    try:
        # The leader may have said it for all.
        with contextlib.suppress(LeaseLostError, AuthenticationError):
            transport.call("POST", f"/api/v1/jobs/{claim.id}/finish", body=Finish(state=JobState.SUCCEEDED))
    finally:
        transport.close()
    return 0


def own_address(url: str) -> str:
    """The address of this machine on the way to the platform. No packet is sent to find it."""
    parts = urlsplit(url)
    port = parts.port or (_HTTPS if parts.scheme == "https" else _HTTP)
    family, kind, protocol, _, target = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def _wait_for(store: TCPStore, hosts: int, tell: Callable[[int], None]) -> None:
    deadline = time.monotonic() + _WAIT.total_seconds()
    missing, told = set(range(1, hosts)), 0
    while missing:
        missing = {node for node in missing if not store.check([_key(node)])}
        if len(missing) != told:
            told = len(missing)
            tell(told)
        if missing and time.monotonic() > deadline:
            raise GroupIncompleteError(f"{told} of {hosts} machines did not come.")
        time.sleep(_LOOK_SECONDS if missing else 0)


def _tell(transport: Transport, claim: Claim, missing: int) -> None:
    machines = "1 more machine" if missing == 1 else f"{missing} more machines"
    message = f"waits for {machines}" if missing else "all machines are here"
    transport.call("POST", f"/api/v1/jobs/{claim.id}/heartbeat", body=Heartbeat(message=message))


def _key(node: int) -> str:
    return f"steelyard/node-{node}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _keep_to_interface(address: str) -> None:
    """The ranks talk over the network by which the machine reaches the platform, unless somebody has said otherwise.

    Left alone, gloo looks up the machine's own name, which many systems answer with 127.0.1.1.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in addresses):
            for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(variable, name)  # noqa: TID251 - the libraries' only way
