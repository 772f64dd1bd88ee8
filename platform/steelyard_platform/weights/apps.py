"""Hears of every commit, to note what its version was made from."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class WeightsApp(AppConfig):
    name = "steelyard_platform.weights"

    def ready(self) -> None:
        from steelyard_platform.repos.signals import committed

        committed.connect(_note_commit, dispatch_uid="weights.note_commit")


def _note_commit(sender: object, **told: Any) -> None:  # noqa: ARG001 - the signal's signature
    from steelyard_platform.weights.cards import note_commit

    note_commit(version=told["version"], before=told["before"], paths=told["paths"], actor=told["actor"])
