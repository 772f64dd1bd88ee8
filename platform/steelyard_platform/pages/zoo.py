"""The zoo's page: which networks a training can name, by task."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from steelyard_contracts.tasks import Task
from steelyard_contracts.zoo import ZOO
from steelyard_platform.pages.rendering import page


@page
def zoo(request: HttpRequest) -> HttpResponseBase:
    """`/zoo?task=object-detection`; a task that is not there shows them all."""
    asked = request.GET.get("task", "")
    task = Task(asked) if asked in set(Task) else None
    tasks = [one for one in Task if task is None or one is task]
    groups = [(one, [model for model in ZOO if model.task is one]) for one in tasks]
    return render(request, "zoo.html", {"groups": groups, "tasks": list(Task), "asked": task})
