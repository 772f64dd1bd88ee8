"""A training whose numbers are no numbers any more."""

from __future__ import annotations

from steelyard_contracts.errors import InvalidInputError


class DivergedError(InvalidInputError):
    """Raised where it is seen; the loop adds what is kept and what to change."""
