"""What the suite's tests came to, weighed against the list of what is out of scope. Pure.

scope = read_scope(Path("out_of_scope.toml").read_text())
tally = weigh(outcomes, scope)
print(table({"test_lfs": tally}))
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

NEEDS_PRODUCTION = "needs the production Hub"
_HEADER = ("File", "Passed", "Failed", "Out of scope", "Needs the production Hub", "Skipped by the suite")


@dataclass(frozen=True, slots=True)
class Theme:
    """Tests that ask for something Steelyard does not offer, and why it does not."""

    name: str
    reason: str
    tests: tuple[str, ...]  # ids as `fnmatch` patterns, without the folder: test_hf_api.py::TestSpaces::*

    def covers(self, test: str) -> bool:
        # A parametrised id holds brackets, which fnmatch would read as a set of letters.
        return any(fnmatch.fnmatchcase(test, pattern.replace("[", "[[]")) for pattern in self.tests)


@dataclass(slots=True)
class Tally:
    """One file's tests, by what they came to."""

    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    out_of_scope: list[str] = field(default_factory=list)
    production: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(map(len, (self.passed, self.failed, self.out_of_scope, self.production, self.skipped)))


def read_scope(text: str) -> list[Theme]:
    """Raises: ValueError when a theme gives no reason or no tests."""
    themes = [
        Theme(record["name"], record.get("reason", "").strip(), tuple(record.get("tests", ())))
        for record in tomllib.loads(text).get("theme", [])
    ]
    for theme in themes:
        if not theme.reason or not theme.tests:
            raise ValueError(f"The theme {theme.name!r} needs a reason and the tests it is about.")
    return themes


def weigh(outcomes: Mapping[str, Mapping[str, str]], scope: Iterable[Theme]) -> Tally:
    """A test that is out of scope and passes all the same counts as passed."""
    tally, themes = Tally(), list(scope)
    for identifier, found in sorted(outcomes.items()):
        test = identifier.removeprefix("tests/")
        match found["outcome"]:
            case "passed":
                tally.passed.append(test)
            case "skipped" if NEEDS_PRODUCTION in found["why"]:
                tally.production.append(test)
            case "skipped":
                tally.skipped.append(test)
            case _ if any(theme.covers(test) for theme in themes):
                tally.out_of_scope.append(test)
            case _:
                tally.failed.append(test)
    return tally


def table(tallies: Mapping[str, Tally]) -> str:
    rows = [(f"`{name}`", *map(str, tally.counts)) for name, tally in tallies.items()]
    sums = map(sum, zip(*(tally.counts for tally in tallies.values()), strict=True))
    lines = [_HEADER, ("---", *["---:"] * (len(_HEADER) - 1)), *rows, ("**All**", *(f"**{one}**" for one in sums))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def themes_as_text(scope: Iterable[Theme]) -> str:
    return "\n".join(f"- **{theme.name}.** {' '.join(theme.reason.split())}" for theme in scope)


def put_between(document: str, marker: str, text: str) -> str:
    """The document with `text` between its `<!-- marker -->` and `<!-- /marker -->`. Raises: ValueError."""
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, found_start, rest = document.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise ValueError(f"The document has no place marked {start} … {end}.")
    return f"{before}{start}\n{text}\n{end}{after}"
