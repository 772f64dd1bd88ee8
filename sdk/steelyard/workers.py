"""`client.workers`: the machines that do the jobs, and the tokens they come with."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from steelyard.transport import Transport
from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.workers import IssuedWorkerToken, WorkerTokenRequest, WorkerTokenView, WorkerView

_API = "/api/v1"


class Workers:
    """Those that the token may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self, *, team: str | None = None) -> Iterator[WorkerView]:
        """The last one that began comes first; of one team, or of all that are yours to see."""
        return (WorkerView.model_validate(item) for item in self._transport.items(f"{_API}/workers", team=team))

    def named(self, name: str) -> WorkerView:
        """By its name or id. Raises: NotFoundError; InvalidInputError where several have the name."""
        found = [worker for worker in self.all() if name in {worker.name, str(worker.id)}]
        if not found:
            raise NotFoundError(f"There is no worker {name}, or you may not see it.", worker=name)
        if len(found) > 1:
            each = ", ".join(f"{one.id} ({one.state}, of {one.team or 'every team'})" for one in found)
            raise InvalidInputError(f"Several workers are called {name}; say which by its id: {each}.", worker=name)
        return found[0]

    def drain(self, worker: UUID) -> WorkerView:
        """It ends its job, and takes no other until it is told to."""
        return self._transport.post(WorkerView, f"{_API}/workers/{worker}/drain", {})

    def undrain(self, worker: UUID) -> WorkerView:
        return self._transport.post(WorkerView, f"{_API}/workers/{worker}/undrain", {})

    def forget(self, worker: UUID) -> None:
        """Takes one that is silent or has stopped off the list. Raises: ConflictError while it is at work."""
        self._transport.call("DELETE", f"{_API}/workers/{worker}", repeatable=False)

    def issue_token(self, team: str, *, name: str, days: int | None = None) -> IssuedWorkerToken:
        """A token that does the team's jobs and opens nothing else; the secret is shown this once."""
        body = WorkerTokenRequest(name=name, days=days)
        return self._transport.post(IssuedWorkerToken, f"{_API}/teams/{team}/worker-tokens", body)

    def tokens(self, team: str) -> Iterator[WorkerTokenView]:
        items = self._transport.items(f"{_API}/teams/{team}/worker-tokens")
        return (WorkerTokenView.model_validate(item) for item in items)

    def revoke_token(self, team: str, token: int) -> None:
        """Its workers lose at once what they are at, and get nothing more."""
        self._transport.call("DELETE", f"{_API}/teams/{team}/worker-tokens/{token}", repeatable=False)
