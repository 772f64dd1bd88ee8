"""The Hub client's own test suite against a real Steelyard, as `make hub-conformance HUB_SUITE=…` runs it.

The suite is a checkout of huggingface_hub that the caller has; nothing of it is kept here. Each run starts an
installation of its own and makes the suite's people in it. A failure that `out_of_scope.toml` does not list, with a
reason, fails the run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.hub.outcomes import Tally, Theme, put_between, read_scope, table, themes_as_text, weigh
from tests.support.environments import NotInstalledError, python_of
from tests.support.installations import ROOT, RunningInstallation

HERE = Path(__file__).resolve().parent
DOCUMENT = ROOT / "docs" / "hub-compatibility.md"
FILES = (
    "test_commit_api",
    "test_lfs",
    "test_hub_mixin",
    "test_repocard",
    "test_xet_upload",
    "test_xet_download",
    "test_snapshot_download",
    "test_file_download",
    "test_hf_file_system",
    "test_hf_api",
)
# user -> the team they administer, and the names under which the suite knows them
_PEOPLE = {
    "dummyuser": ("valid_org_hub", {"USER": "user", "FULL_NAME": "user", "TOKEN": "token"}),
    "DVUser": ("otherteam", {"OTHER_USER": "user", "OTHER_TOKEN": "token"}),
    "EnterpriseAdmin": (
        "EnterpriseOrgPrivate",
        {"ENTERPRISE_USER": "user", "ENTERPRISE_ORG": "team", "ENTERPRISE_TOKEN": "token"},
    ),
}
_FILE_TIMEOUT, _TEST_TIMEOUT = 3600, 60


def main() -> int:
    options = _options()
    suite = Path(options.suite).expanduser().resolve()
    if not (suite / "tests" / "testing_constants.py").is_file():
        sys.exit(f"HUB_SUITE must name a checkout of huggingface_hub; {suite} has no tests/testing_constants.py.")
    scope = read_scope((HERE / "out_of_scope.toml").read_text())
    try:
        python = _python()
    except NotInstalledError as error:
        sys.exit(f"The suite's environment could not be made: {error}")
    with tempfile.TemporaryDirectory(prefix="steelyard-conformance-") as folder:
        settings = {
            "STEELYARD_DEFAULT_VISIBILITY": "public",
            "STEELYARD_HUB_FIRST_COMMIT": str(not options.begin_empty),
        }
        installation = RunningInstallation(Path(folder) / "var", settings)
        installation.start("--without-compute")
        try:
            constants = _people(installation)
            tallies = {
                name: _run(python, suite, installation, constants, name, scope, options)
                for name in (options.only or FILES)
            }
        finally:
            installation.stop()
    return _conclude(tallies, scope, write=options.write)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make hub-conformance", description=__doc__)
    parser.add_argument("suite", help="a checkout of huggingface_hub")
    parser.add_argument("--only", nargs="+", metavar="FILE", help="these files, such as test_lfs")
    parser.add_argument("--workers", type=int, default=2, help="test processes for each file")
    parser.add_argument("--select", default="", help="pytest's -k")
    parser.add_argument("--own-client", action="store_true", help="the suite's own client, not the one pinned here")
    parser.add_argument("--begin-empty", action="store_true", help="without the Hub's first commit, as is the default")
    parser.add_argument("--details", action="store_true", help="show why tests fail")
    parser.add_argument("--write", action="store_true", help=f"write the figures into {DOCUMENT.name}")
    return parser.parse_args()


def _python() -> Path:
    """The client is the one that is pinned here; its tests bring more than we need."""
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    client = next(line for line in pinned if line.startswith("huggingface_hub=="))
    return python_of("hub-conformance", client, requirements=HERE / "requirements.txt")


def _people(installation: RunningInstallation) -> dict[str, str]:
    """The suite's constants, by name."""
    found = {"ENDPOINT_STAGING": installation.url}
    for user, (team, names) in _PEOPLE.items():
        facts = {"user": user, "team": team, "token": installation.bootstrap(user, team)}
        found |= {name: facts[fact] for name, fact in names.items()}
    return found


def _run(
    python: Path,
    suite: Path,
    installation: RunningInstallation,
    constants: dict[str, str],
    name: str,
    scope: list[Theme],
    options: argparse.Namespace,
) -> Tally:
    print(f"{name} …", end=" ", flush=True)
    outcomes, facts = installation.var / f"{name}.json", installation.var / "facts.json"
    facts.write_text(
        json.dumps(
            {
                "endpoint": installation.url,
                "suite": str(suite),
                "constants": constants,
                "outcomes": str(outcomes),
            }
        )
    )
    command = [
        str(python), "-m", "pytest", "-p", "against_steelyard", "-p", "no:cacheprovider",
        "-o", "addopts=", "-o", "env=HF_TOKEN=", "-Werror::FutureWarning", "-q", "--timeout", str(_TEST_TIMEOUT),
        "-n", str(options.workers), "-k", options.select, "--tb", "short" if options.details else "no",
        f"tests/{name}.py",
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "STEELYARD_"))}
    environment = {
        **kept,
        "STEELYARD_CONFORMANCE": str(facts),
        "PYTHONPATH": os.pathsep.join([str(HERE), *([str(suite / "src")] if options.own_client else [])]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    output = None if options.details else subprocess.DEVNULL
    subprocess.run(
        command, cwd=suite, env=environment, check=False, stdout=output, stderr=output, timeout=_FILE_TIMEOUT
    )
    if not outcomes.exists():
        sys.exit(f"pytest could not run {name}; ARGS=--details shows what it says.")
    tally = weigh(json.loads(outcomes.read_text()), scope)
    print("{} passed, {} failed, {} out of scope".format(*tally.counts), flush=True)
    return tally


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
