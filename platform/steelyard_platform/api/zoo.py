"""`/api/v1/zoo`: the networks that a training can name."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router

from steelyard_contracts.tasks import Task
from steelyard_contracts.zoo import ZOO, ZooModel

router = Router(tags=["zoo"])


@router.get("", response=list[ZooModel])
def list_zoo(request: HttpRequest, task: Task | None = None) -> list[ZooModel]:  # noqa: ARG001 - ninja wants the name
    """Every network, or those of a task, small ones first within a family. It is the same for everybody."""
    return [one for one in ZOO if task is None or one.task is task]
