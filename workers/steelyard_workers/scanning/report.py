"""Findings as they gather while a file is looked into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from steelyard_contracts.weights import MOST_IMPORTS, Finding, Severity

_LONGEST_NAME = 120
_LONGEST_SENTENCE = 1_000


class TooMuchError(Exception):
    """A limit is reached; the message is the sentence of the finding."""


def shown(name: str) -> str:
    """A name from inside a file, as it can be shown to people: nothing invisible, not too long."""
    plain = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in name)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[:_LONGEST_NAME]}…"


@dataclass(slots=True)
class Report:
    """At most `limit` findings; the same is said once."""

    limit: int
    findings: list[Finding] = field(default_factory=list)

    def danger(self, code: str, sentence: str, imports: Sequence[str] = ()) -> None:
        """Raises: TooMuchError when there are too many to go on."""
        listed = list(imports) if len(imports) <= MOST_IMPORTS else []
        found = Finding(severity=Severity.DANGER, code=code, sentence=sentence[:_LONGEST_SENTENCE], imports=listed)
        if found in self.findings:
            return
        self.findings.append(found)
        if len(self.findings) >= self.limit:
            raise TooMuchError(f"There are {self.limit} findings and more; the rest was not looked at.")
