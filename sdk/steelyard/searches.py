"""Searches over the parameters of a training: `hub.searches`.

search = hub.searches.start(
    train=TrainSpec(dataset="lab/digits", output="lab/reader"),
    space={"learning_rate": FloatRange(low=1e-4, high=1e-1, log=True), "batch_size": Choices(choices=[16, 32, 64])},
    trials=50, parallel=4, promote_to="candidate",
)
hub.searches.wait(search.id).best.params
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from steelyard.transport import Transport
from steelyard_contracts.searches import (
    MoreTrials,
    SearchRequest,
    SearchSpec,
    SearchState,
    SearchView,
    TrialState,
    TrialView,
)

_API = "/api/v1/searches"
_WAIT_SECONDS = 1.0


class Searches:
    """The searches of the teams in which the token may read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(self, **fields: Any) -> SearchView:
        """Begins a search; the fields are those of `SearchSpec`, `train` those of `TrainSpec`.

        Raises: pydantic's ValidationError for a space that no training can have; the server's errors.
        """
        return self.submit(SearchSpec.model_validate(fields))

    def submit(self, spec: SearchSpec) -> SearchView:
        return self._transport.post(SearchView, _API, SearchRequest(spec=spec))

    def get(self, search: UUID | str) -> SearchView:
        return self._transport.get(SearchView, f"{_API}/{search}")

    def list(self, *, team: str | None = None, state: SearchState | None = None) -> Iterator[SearchView]:
        """Newest first."""
        found = self._transport.items(_API, team=team, state=str(state) if state else None)
        return (SearchView.model_validate(item) for item in found)

    def trials(self, search: UUID | str, *, state: TrialState | None = None) -> Iterator[TrialView]:
        """By their numbers."""
        found = self._transport.items(f"{_API}/{search}/trials", state=str(state) if state else None)
        return (TrialView.model_validate(item) for item in found)

    def stop(self, search: UUID | str) -> SearchView:
        """No trial begins any more; those that run are let end. Raises: ConflictError once it has ended."""
        return self._act(search, "stop", {})

    def cancel(self, search: UUID | str) -> SearchView:
        """Ends it and its trials now. Raises: ConflictError once it has ended."""
        return self._act(search, "cancel", {})

    def resume(self, search: UUID | str, *, trials: int = 0) -> SearchView:
        """Goes on, with `trials` more than it had been asked for. Raises: ConflictError while it runs."""
        return self._act(search, "resume", MoreTrials(trials=trials).model_dump())

    def wait(self, search: UUID | str, *, on_change: Callable[[SearchView], None] | None = None) -> SearchView:
        """Blocks until the search has ended, whatever its end; calls `on_change` at each look."""
        while True:
            view = self.get(search)
            if on_change is not None:
                on_change(view)
            if view.state.is_final:
                return view
            time.sleep(_WAIT_SECONDS)

    def _act(self, search: UUID | str, verb: str, body: dict[str, Any]) -> SearchView:
        return self._transport.post(SearchView, f"{_API}/{search}/{verb}", body, repeatable=False)
