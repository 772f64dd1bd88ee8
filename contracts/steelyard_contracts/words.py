"""Amounts as people read them.

>>> size_in_words(1_300_000)
'1.3 MB'
>>> number_in_words(11_200_000), number_in_words(999_950)
('11.2 M', '1 M')
>>> count_in_words(1, "version"), count_in_words(3, "version")
('1 version', '3 versions')
"""

from __future__ import annotations

_STEP = 1000


def size_in_words(count: float | None) -> str:
    """Bytes, in decimal units."""
    number = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if number < _STEP:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= _STEP
    return f"{number:.1f} TB"


def number_in_words(number: float) -> str:
    """How many, by three digits: of parameters, say, where nobody reads the others."""
    for unit in ("", " k", " M", " G"):
        if number < _STEP - 0.5:  # what would be rounded up belongs to the next unit
            return f"{number:.3g}{unit}"
        number /= _STEP
    return f"{number:.3g} T"


def count_in_words(count: int, what: str) -> str:
    """The number and the noun, which takes an s for more than one."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
