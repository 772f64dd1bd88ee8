"""The words that search knows."""

from __future__ import annotations

import pytest

from steelyard_platform.repos.words import LONGEST_WORD, MOST_WORDS, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lab/ResNet-18_v2", ["18", "lab", "resnet", "v2"]),
        ("Straße STRASSE", ["strasse"]),
        ("\uff32\uff45\uff33", ["res"]),
        ("猫 0.95 1e5 don't", ["0", "1e5", "95", "don", "t", "猫"]),
        ("' & | ! :* \\ \x00 <b>", ["b"]),
        ("", []),
    ],
)
def test_words_of(text, words):
    assert words_of(text) == words


def test_what_is_too_long_is_cut():
    assert words_of("x" * 1000) == ["x" * LONGEST_WORD]
    assert len(words_of(" ".join(map(str, range(10_000))))) == MOST_WORDS
