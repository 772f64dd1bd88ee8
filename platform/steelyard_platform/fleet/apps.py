"""Tells the core which versions releases and devices refer to."""

from __future__ import annotations

from django.apps import AppConfig


class FleetApp(AppConfig):
    name = "steelyard_platform.fleet"

    def ready(self) -> None:
        from steelyard_platform.fleet.holds import DeviceHolder, ReleaseHolder
        from steelyard_platform.repos.holds import register

        register(ReleaseHolder())
        register(DeviceHolder())
