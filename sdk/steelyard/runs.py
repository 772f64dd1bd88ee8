"""`client.runs`: runs and other jobs side by side, what one will probably take, and every point that it measured.

found = client.runs.compare(first.id, second.id)
client.runs.estimate(TrainSpec(dataset="team/digits", output="team/reader"))
for point in client.runs.points(job.id, "train/loss"): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from steelyard.transport import Transport
from steelyard_contracts.estimates import JobEstimate
from steelyard_contracts.jobs import JobRequest, JobSpec, JobState, JobView, MetricPoint
from steelyard_contracts.runs import RunComparison
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import Resources

_JOBS = "/api/v1/jobs"
_POINTS = 10_000


class Runs:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, project: str | None = None, *, state: JobState | None = None, text: str | None = None
    ) -> Iterator[JobView]:
        """Runs that train elsewhere, of a project or of the token's teams, newest first."""
        query = {"project": project, "state": str(state) if state else None, "text": text}
        return (JobView.model_validate(item) for item in self._transport.items("/api/v1/runs", **query))

    def get(self, run: UUID | str) -> JobView:
        """One that trains elsewhere."""
        return self._transport.get(JobView, f"/api/v1/runs/{run}")

    def compare(self, *jobs: UUID | str) -> RunComparison:
        """Two to eight jobs: what they were asked for, where they differ, how they ended."""
        found = self._transport.call("GET", "/api/v1/runs/compare", query={"job": [str(job) for job in jobs]})
        return RunComparison.model_validate(found)

    def estimate(self, spec: JobSpec, *, resources: Resources | None = None) -> JobEstimate:
        """How long it will probably take, and what that costs; nothing is queued."""
        request = JobRequest(spec=spec, resources=resources or Resources())
        return self._transport.post(JobEstimate, f"{_JOBS}/estimate", request, repeatable=True)

    def estimate_training(self, **fields: Any) -> JobEstimate:
        """As `client.train` takes them."""
        resources: Resources | None = fields.pop("resources", None)
        return self.estimate(TrainSpec.model_validate(fields), resources=resources)

    def points(self, job: UUID | str, name: str) -> Iterator[MetricPoint]:
        """Every point of one series, as it was sent, by step."""
        after = -1
        while True:
            query = {"name": name, "after": after, "limit": _POINTS}
            found = self._transport.call("GET", f"{_JOBS}/{job}/metric-history", query=query)
            yield from (MetricPoint.model_validate({"name": name, **point}) for point in found)
            if len(found) < _POINTS:
                return
            after = found[-1]["step"]
