"""Runs the platform's tests once more on PostgreSQL: `python -m tests.support.on_postgresql`."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.services import POSTGRESQL, are_required, is_there


def main() -> int:
    if not is_there("postgresql"):
        print("PostgreSQL is not here: the platform's tests run on SQLite alone.")
        return 1 if are_required() else 0
    environment = {**os.environ, "STEELYARD_TEST_DATABASE_URL": f"{POSTGRESQL}/postgres"}
    command = [sys.executable, "-m", "pytest", "tests/platform", "-m", "django_db", "-q", "--create-db"]
    command += ["-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
