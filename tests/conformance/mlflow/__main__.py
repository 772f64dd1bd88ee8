"""MLflow's own REST tests against a real Steelyard, as `make mlflow-conformance MLFLOW_SUITE=…` runs them.

The suite is a checkout of mlflow 3.x that the caller has; nothing of it is kept here. Its tests start a server of their
own in each test; here each gets a person of its own on one Steelyard instead, whose team is as empty as a new server. A
failure that `out_of_scope.toml` does not list, with a reason, fails the run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.hub.outcomes import Tally, Theme, put_between, read_scope, themes_as_text, weigh
from tests.support.environments import NotInstalledError, python_of
from tests.support.installations import ROOT, RunningInstallation

HERE = Path(__file__).resolve().parent
DOCUMENT = ROOT / "docs" / "mlflow-compatibility.md"
FILES = ("test_rest_tracking", "test_model_registry", "test_client_webhooks")
# As many tests at most, with their parameters; each takes a token, and no two the same.
_PEOPLE = 600
_FILE_TIMEOUT, _TEST_TIMEOUT = 3600, 120
_MAKE_PEOPLE = """
import json, sys
import django
django.setup()
from steelyard_platform.accounts.permissions import OPERATOR, Scope
from steelyard_platform.accounts.services import create_user
from steelyard_platform.accounts.tokens import issue_token
people = (create_user(username=f"tester{number}", password=None, actor=OPERATOR) for number in range(int(sys.argv[1])))
print(json.dumps([issue_token(name="suite", scope=Scope.WRITE, user=person)[1] for person in people]))
"""


def main() -> int:
    options = _options()
    suite = Path(options.suite).expanduser().resolve()
    if not (suite / "tests" / "tracking" / "test_rest_tracking.py").is_file():
        sys.exit(f"MLFLOW_SUITE must name a checkout of mlflow; {suite} has no tests/tracking/test_rest_tracking.py.")
    scope = read_scope((HERE / "out_of_scope.toml").read_text())
    # What mlflow and its tests import; the suite's own mlflow stands in front of it.
    try:
        python = python_of("mlflow-conformance", requirements=HERE / "requirements.txt")
    except NotInstalledError as error:
        sys.exit(f"The suite's environment could not be made: {error}")
    with tempfile.TemporaryDirectory(prefix="steelyard-mlflow-") as folder:
        installation = RunningInstallation(Path(folder) / "var", {"STEELYARD_WEBHOOKS_TO_PRIVATE_ADDRESSES": "true"})
        installation.start("--without-compute")
        try:
            tokens = _people(installation)
            tallies = {
                name: _run(python, suite, installation, tokens, name, scope, options)
                for name in (options.only or FILES)
            }
        finally:
            installation.stop()
    return _conclude(tallies, scope, write=options.write)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mlflow-conformance", description=__doc__)
    parser.add_argument("suite", help="a checkout of mlflow 3.x")
    parser.add_argument("--only", nargs="+", metavar="FILE", help="these files, such as test_model_registry")
    parser.add_argument("--select", default="", help="pytest's -k")
    parser.add_argument("--details", action="store_true", help="show why tests fail")
    parser.add_argument("--write", action="store_true", help=f"write the figures into {DOCUMENT.name}")
    return parser.parse_args()


def _people(installation: RunningInstallation) -> list[str]:
    settings = {**installation.settings, "DJANGO_SETTINGS_MODULE": "steelyard_platform.config.settings"}
    command = [sys.executable, "-c", _MAKE_PEOPLE, str(_PEOPLE)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True, cwd=ROOT)
    tokens: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
    return tokens


def _run(
    python: Path,
    suite: Path,
    installation: RunningInstallation,
    tokens: list[str],
    name: str,
    scope: list[Theme],
    options: argparse.Namespace,
) -> Tally:
    print(f"{name} …", end=" ", flush=True)
    outcomes, facts = installation.var / f"{name}.json", installation.var / "facts.json"
    share = _PEOPLE // len(FILES)
    start = FILES.index(name) * share if name in FILES else 0
    facts.write_text(
        json.dumps(
            {
                "url": f"{installation.url}/mlflow",
                "tokens": tokens[start : start + share],
                "outcomes": str(outcomes),
            }
        )
    )
    command = [
        str(python), "-m", "pytest", "-p", "against_steelyard_mlflow", "-p", "no:cacheprovider",
        "-o", "addopts=", "-q", "--timeout", str(_TEST_TIMEOUT), "-k", options.select,
        "--tb", "short" if options.details else "no", f"tests/tracking/{name}.py",
    ]  # fmt: skip
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "STEELYARD_"))}
    environment = {
        **kept,
        "STEELYARD_CONFORMANCE": str(facts),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(suite)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    output = None if options.details else subprocess.DEVNULL
    subprocess.run(
        command, cwd=suite, env=environment, check=False, stdout=output, stderr=output, timeout=_FILE_TIMEOUT
    )
    if not outcomes.exists():
        sys.exit(f"pytest could not run {name}; ARGS=--details shows what it says.")
    tally = weigh({test.removeprefix("tests/tracking/"): one for test, one in _read(outcomes).items()}, scope)
    passed, failed, out_of_scope, _, skipped = tally.counts
    print(f"{passed} passed, {failed} failed, {out_of_scope} out of scope, {skipped} skipped", flush=True)
    return tally


def _read(outcomes: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(outcomes.read_text())
    return found


def table(tallies: dict[str, Tally]) -> str:
    rows = [(f"`{name}`", [tally.counts[place] for place in (0, 1, 2, 4)]) for name, tally in tallies.items()]
    sums = [sum(row[place] for _, row in rows) for place in range(4)]
    lines = ["| File | Passed | Failed | Out of scope | Skipped by the suite |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in rows]
    return "\n".join([*lines, f"| **All** | {' | '.join(f'**{one}**' for one in sums)} |"])


def _conclude(tallies: dict[str, Tally], scope: list[Theme], *, write: bool) -> int:
    print(f"\n{table(tallies)}")
    failed = [test for tally in tallies.values() for test in tally.failed]
    surprises = [test for tally in tallies.values() for test in tally.passed if any(t.covers(test) for t in scope)]
    for sentence, tests in (("failed", failed), ("listed as out of scope, but passed", surprises)):
        if tests:
            print(f"\n{len(tests)} {sentence}:", *tests, sep="\n  ")
    if write:
        text = put_between(DOCUMENT.read_text(), "figures", table(tallies))
        DOCUMENT.write_text(put_between(text, "out of scope", themes_as_text(scope)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
