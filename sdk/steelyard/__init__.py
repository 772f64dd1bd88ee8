"""The Python SDK of Steelyard, the model hub a team runs itself.

    import steelyard

    hub = steelyard.connect()                         # STEELYARD_URL and STEELYARD_TOKEN, or `steelyard login`
    hub.push("digits/", "datasets:/team/digits")
    job = hub.train(dataset="team/digits", output="team/reader")
    hub.wait(job.id)
    hub.promote("team/reader", "production")

A training of your own reports its progress and saves its weights:

    with steelyard.init(project="team/shelf", config={"lr": 0.1}) as run:
        run.log({"loss": loss})
        run.save(model)

References are written `team/model@revision`; a revision is `v3`, an alias, a tag, a branch or a commit id.
Every error is a `SteelyardError` with a stable `code` and a sentence that says what to do.
"""

from __future__ import annotations

from steelyard.client import Client, connect
from steelyard.tracking import Run, RunCancelled, init
from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref

__all__ = ["Client", "Ref", "RepositoryKind", "Run", "RunCancelled", "SteelyardError", "connect", "init", "parse_ref"]
