"""Hears of every commit, to note what its version was made from; tells the core what gates and lineage refer to."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class WeightsApp(AppConfig):
    name = "steelyard_platform.weights"

    def ready(self) -> None:
        from steelyard_platform.repos.holds import register
        from steelyard_platform.repos.signals import committed, versions_moved
        from steelyard_platform.weights.holds import DescendantHolder, GateHolder, PromotionHolder

        committed.connect(_note_commit, dispatch_uid="weights.note_commit")
        versions_moved.connect(_note_moves, dispatch_uid="weights.note_moves")
        register(GateHolder())
        register(DescendantHolder())
        register(PromotionHolder())


def _note_commit(sender: object, **told: Any) -> None:  # noqa: ARG001 - the signal's signature
    from steelyard_platform.weights.cards import note_commit

    if told["lineage_follows"]:
        return
    note_commit(version=told["version"], before=told["before"], paths=told["paths"], actor=told["actor"])


def _note_moves(sender: object, **told: Any) -> None:  # noqa: ARG001 - the signal's signature
    from steelyard_platform.weights.promotions import forget_deleted
    from steelyard_platform.weights.search import index_measures

    index_measures(told["repository"])
    forget_deleted(told["repository"])
