"""Parts of the Hub's addresses. `EncodedSlashMiddleware` marks the slashes that came as %2F."""

from __future__ import annotations

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.hub.http import kind_of

ENCODED_SLASH = "\x1f"


class KindConverter:
    """`models` or `datasets`."""

    regex = "models|datasets"

    def to_python(self, value: str) -> RepositoryKind:
        return kind_of(value)

    def to_url(self, value: RepositoryKind) -> str:
        return value.plural


class SegmentConverter:
    """One segment, in which `refs%2Fpr%2F1` is the revision `refs/pr/1`.

    Servers that hide the raw address leave plain slashes; the forms that begin with `refs/` are still told apart.
    """

    regex = "refs/(?:pr|convert|heads|tags)/[^/]+|[^/]+"

    def to_python(self, value: str) -> str:
        return value.replace(ENCODED_SLASH, "/")

    def to_url(self, value: str) -> str:
        return value.replace("/", ENCODED_SLASH)
