"""The words of a text, as search knows them: letters and digits, whatever their case or typographic form.

    words_of("ResNet-18, fine-tuned")      ["18", "fine", "resnet", "tuned"]

Both databases hold and ask for these, and neither cuts a text itself: so both give the same answers.
"""

from __future__ import annotations

import re
import unicodedata

# A card that goes on is found by how it begins; nobody looks for a longer word than this.
MOST_LETTERS, MOST_WORDS, LONGEST_WORD = 200_000, 4_000, 64
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Each word once, sorted."""
    folded = unicodedata.normalize("NFKC", text[:MOST_LETTERS]).casefold()
    found = dict.fromkeys(word[:LONGEST_WORD] for word in _WORD.findall(folded))
    return sorted(list(found)[:MOST_WORDS])
