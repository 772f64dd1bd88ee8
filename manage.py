#!/usr/bin/env python
"""Django's entry point for operators: `manage.py help` lists the commands."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "steelyard_platform.config.settings")  # noqa: TID251 - Django's own switch
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
