"""`manage.py serve --port 8000`: a whole installation on this machine, in the foreground."""

from __future__ import annotations

import platform
import socket
import sys
import urllib.request
from typing import Any

from celery.bin.celery import main as celery
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import connections
from gunicorn.app.wsgiapp import run as gunicorn

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.workers import CPU, QUICK, queue_named
from steelyard_platform.accounts.models import Token
from steelyard_platform.accounts.permissions import Scope
from steelyard_platform.accounts.tokens import issue_token, revoke_token
from steelyard_platform.config.management.operators import OperatorCommand
from steelyard_platform.config.supervisor import Program, Supervisor, celery_command, worker_arguments
from steelyard_platform.weights.keyring import all_keys

_WILDCARDS = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 - named to be translated, not bound
_LIGHT_THREADS = 4
# A presigned address with many parameters is longer than gunicorn's default of 4 KiB.
_LONGEST_REQUEST_LINE = 8190
# Celery would look over the code of all pages first, which it does not need.
_LIGHT_ENVIRONMENT = {"CELERY_SKIP_CHECKS": "true"}


class Command(OperatorCommand):
    help = "Starts web, light jobs and two compute workers, and stops them all on SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--without-compute", action="store_true", help="start no compute worker on this machine")

    def handle(self, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        _check_keys()
        port = options["port"]
        _check_free(port)
        programs = [_web(port), *_light()]
        if not options["without_compute"]:
            programs += _compute(port)
        connections.close_all()  # no program may go on with a connection of this one
        supervisor = Supervisor(programs, settings.ENVIRONMENT.var / "logs")
        supervisor.run(on_started=lambda: self._announce(port))

    def _announce(self, port: int) -> bool:
        """Says once that the web process answers. Returns whether it does."""
        address = _local_address(port)
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).close()  # noqa: S310 - our own address
        except OSError:
            return False
        self.stdout.write(f"Steelyard is ready at {address} (logs: {settings.ENVIRONMENT.var}/logs). Ctrl-C stops it.")
        self.stdout.flush()
        return True


def _local_address(port: int) -> str:
    """Where processes of this machine reach the web process, whatever it is bound to."""
    bind = settings.ENVIRONMENT.bind
    return f"http://{'127.0.0.1' if bind in _WILDCARDS else bind}:{port}"


def _check_keys() -> None:
    """Makes the first signing key before several processes could want it. Raises: CommandError."""
    try:
        all_keys()
    except SteelyardError as error:
        raise CommandError(str(error)) from error


def _check_free(port: int) -> None:
    """Raises: CommandError. Otherwise the worker would talk to whoever has the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.ENVIRONMENT.bind, port))
        except OSError as error:
            raise CommandError(f"The port {port} is taken; choose another with --port.") from error


def _web(port: int) -> Program:
    environment = settings.ENVIRONMENT
    options = [
        "--worker-class", "gthread",
        "--preload",
        "--workers", str(environment.web_processes),
        "--threads", str(environment.web_threads + environment.web_watchers),
        "--config", "python:steelyard_platform.config.web_server",
        "--bind", f"{environment.bind}:{port}",
        "--graceful-timeout", "15",
        "--keep-alive", "15",
        "--limit-request-line", str(_LONGEST_REQUEST_LINE),
        "--no-control-socket",
        "--log-level", "warning",
    ]  # fmt: skip
    command = [sys.executable, "-m", "gunicorn", "steelyard_platform.config.wsgi:application", *options]
    return Program("web", command, main=gunicorn)


def _light() -> list[Program]:
    module = "steelyard_platform.config.celery_entry"
    return [
        Program(
            "light",
            celery_command(module, *worker_arguments("light", "threads", _LIGHT_THREADS)),
            _LIGHT_ENVIRONMENT,
            main=celery,
        ),
        # The plain scheduler keeps no file: every schedule here is a few seconds long.
        Program(
            "beat",
            celery_command(
                module, "beat", "--scheduler", "celery.beat:Scheduler", "--pidfile=", "--loglevel", "WARNING"
            ),
            main=celery,
        ),
    ]


def _compute(port: int) -> list[Program]:
    """One worker for everything, and one for the small jobs, which would stand behind a training otherwise."""
    environment = settings.ENVIRONMENT
    shared = {
        "STEELYARD_URL": settings.PUBLIC_URL or _local_address(port),
        "STEELYARD_WORKER_TOKEN": _worker_secret(),
        "HF_XET_CACHE": str(environment.var / "worker" / "xet"),
        "STEELYARD_BROKER_URL": environment.broker_url,
        "STEELYARD_BROKER_FOLDER": str(environment.broker_folder),
    }
    folder, host = environment.var / "worker", platform.node().partition(".")[0] or "here"
    return [
        _worker("compute", shared | {"STEELYARD_WORKER_FOLDER": str(folder), "STEELYARD_WORKER_NAME": host}),
        _worker(
            "quick",
            shared
            | {
                "STEELYARD_WORKER_FOLDER": str(folder / "quick"),
                "STEELYARD_WORKER_NAME": f"{host}-quick",
                "STEELYARD_WORKER_QUICK_ONLY": "true",
            },
        ),
    ]


def _worker(name: str, told: dict[str, str]) -> Program:
    queue = queue_named(QUICK if name == "quick" else CPU)
    command = celery_command("steelyard_workers.celery_entry", *worker_arguments(queue, "solo", 1))
    return Program(name, command, told, inherits_settings=False)


def _worker_secret() -> str:
    """A new token at each start; the former one, which is written nowhere, ends."""
    name = f"worker of {platform.node()}:{settings.ENVIRONMENT.var}"[:100]
    for token in Token.objects.filter(name=name, scope=Scope.WORKER, revoked_at=None):
        revoke_token(token)
    _, secret = issue_token(name=name, scope=Scope.WORKER)
    return secret
