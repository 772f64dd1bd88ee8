"""A job's session when nobody answers: a checkpoint is lost, the run is not; and who must leave, leaves."""

from __future__ import annotations

from uuid import uuid4

import pytest

from steelyard_contracts.errors import UnavailableError
from steelyard_contracts.jobs import Claim, EvaluateSpec
from steelyard_workers.orders import JobLeftError
from steelyard_workers.session import JobSession


def _is_away(*_, **__):
    raise UnavailableError("The platform cannot be reached.")


@pytest.fixture
def session(tmp_path, monkeypatch):
    """One whose platform is away."""
    claim = Claim(
        id=uuid4(),
        attempt=1,
        spec=EvaluateSpec(model="lab/reader@v1", dataset="lab/digits@v1"),
        token="sy_x",
        lease_seconds=4,
        heartbeat_seconds=1,
        checkpoint=None,
        committed=[],
    )
    made = JobSession(claim, "http://127.0.0.1:9", tmp_path)
    for name in ("call", "post", "put_file"):
        monkeypatch.setattr(made._transport, name, _is_away)
    return made


def test_a_store_that_is_away_costs_a_checkpoint_and_not_the_run(session, tmp_path):
    (tmp_path / "state").write_bytes(b"weights")
    session.metric("train/loss", step=7, value=0.5)
    session.save_checkpoint(tmp_path / "state", step=7)
    assert session._lines[-1].text.startswith("The checkpoint of step 7 could not be saved, and the run goes on: ")
    assert ("train/loss", 7) in session._points  # it goes out later


def test_who_must_leave_leaves_after_the_try(session, tmp_path):
    (tmp_path / "state").write_bytes(b"weights")
    assert not session.should_save()
    session.orders.leave = True
    assert session.should_save()
    with pytest.raises(JobLeftError):
        session.save_checkpoint(tmp_path / "state", step=7)
