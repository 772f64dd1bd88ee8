"""What a source's repositories are called here."""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.client import Client
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import Ref, parse_ref

# Of a source that has repositories but no teams.
NOBODY = "nobody"


def shown(ref: Ref) -> str:
    """As the source calls it."""
    return ref.name if ref.namespace == NOBODY else str(ref)


@dataclass(frozen=True, slots=True)
class Plan:
    """`into`: the team, or for one repository the team/name, that it is to have here; as there when it is None."""

    into: str | None = None


class Names:
    """For one import."""

    def __init__(self, client: Client, plan: Plan, refs: list[Ref]) -> None:
        team, _, name = (plan.into or "").removeprefix("datasets:/").removeprefix("models:/").lstrip("/").partition("/")
        if name and len({ref.repository for ref in refs}) > 1:
            found = ", ".join(str(ref) for ref in refs[:5])
            raise InvalidInputError(
                f"The source has {len(refs)} repositories ({found}); say --into TEAM, without a name."
            )
        if not team and any(ref.namespace == NOBODY for ref in refs):
            team = str(client.whoami()["name"])
        self._names = {ref: self._target(ref, team, name) for ref in refs}

    def of(self, ref: Ref) -> Ref:
        return self._names[ref]

    def text(self, reference: str) -> str:
        """A reference to a version, where its repository is called otherwise here; any other text as it is."""
        try:
            ref = parse_ref(reference)
        except InvalidInputError:
            return reference
        target = self._names.get(Ref(ref.kind, ref.namespace, ref.name))
        return str(target.at(ref.revision)) if target and ref.revision else reference

    @staticmethod
    def _target(ref: Ref, team: str, name: str) -> Ref:
        if team and name:
            return parse_ref(f"{ref.kind.plural}:/{team}/{name}")
        return parse_ref(f"{ref.kind.plural}:/{team or ref.namespace}/{ref.name}")
