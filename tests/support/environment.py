"""Loaded before Django's settings: tests write to a folder of their own, never to the developer's `var/`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_FOLDER = tempfile.mkdtemp(prefix="steelyard-tests-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

for name in [name for name in os.environ if name.startswith(("STEELYARD_", "HF_")) and "_TEST_" not in name]:
    del os.environ[name]
os.environ["STEELYARD_VAR"] = _FOLDER
os.environ["STEELYARD_ALLOWED_HOSTS"] = "testserver,127.0.0.1,localhost"
os.environ["HF_HOME"] = f"{_FOLDER}/huggingface"
if url := os.environ.get("STEELYARD_TEST_DATABASE_URL"):
    os.environ["STEELYARD_DATABASE_URL"] = url
