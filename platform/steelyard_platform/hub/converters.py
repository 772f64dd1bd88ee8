"""Parts of the Hub's addresses."""

from __future__ import annotations

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.hub.http import kind_of


class KindConverter:
    """`models` or `datasets`."""

    regex = "models|datasets"

    def to_python(self, value: str) -> RepositoryKind:
        return kind_of(value)

    def to_url(self, value: RepositoryKind) -> str:
        return value.plural
