"""Devices, signed releases, staged rollouts, and what the devices report back."""
