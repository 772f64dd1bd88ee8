"""Where a run trains: the machine, the versions of what it trains with, and where its code stands."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from steelyard_contracts.run_specs import GitState

# Installed or not: what decides how a training comes out.
_PACKAGES = (
    "steelyard", "torch", "torchvision", "torchaudio", "transformers", "accelerate", "peft", "datasets", "timm",
    "lightning", "pytorch-lightning", "numpy", "safetensors", "scikit-learn", "jax", "tensorflow", "keras", "xgboost",
    "lightgbm", "ultralytics",
)  # fmt: skip
_SECONDS = 5


def environment_now() -> dict[str, str]:
    """What is known at once: who asks waits for it."""
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "program": Path(sys.argv[0]).name if sys.argv else "",
        "process": str(os.getpid()),
        "cores": str(os.cpu_count() or ""),
    }


def environment_in_time() -> dict[str, str]:
    """What takes a while: installed packages and graphics."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if gpus := _say("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"):
        found["gpus"] = "; ".join(gpus.splitlines())
    return found


def git_state() -> GitState | None:
    """Of the folder that the program runs in; None outside of every repository."""
    commit = _say("git", "rev-parse", "HEAD")
    if not commit:
        return None
    return GitState(
        commit=commit[:64],
        branch=_say("git", "rev-parse", "--abbrev-ref", "HEAD")[:250],
        is_dirty=bool(_say("git", "status", "--porcelain", "--untracked-files=no")),
        remote=_say("git", "remote", "get-url", "origin")[:1000],
    )


def _say(program: str, *arguments: str) -> str:
    """What it prints; nothing when it is not there, fails, or takes long."""
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        done = subprocess.run(
            [found, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
