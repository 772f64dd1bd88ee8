"""What both are filled with: repositories that no two runs make differently."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

VERSIONS = 10  # of each repository
TEAMS = 20
DATASETS_IN = 5  # every fifth repository is a dataset
RARE, _SPARE = "axolotl", 2  # a word of one card in a thousand, of a public model
_VOWELS, _CONSONANTS = "aeiou", "bdfgklmnprstvz"
_TASKS = ["image-classification", "object-detection", "image-segmentation", "text-classification"]
_LIBRARIES = ["transformers", "onnx", "timm", "ultralytics"]
_LICENSES = ["mit", "apache-2.0", "other"]


@dataclass(frozen=True, slots=True)
class Made:
    number: int
    team: str
    name: str
    is_dataset: bool
    is_public: bool
    task: str
    library: str
    license: str
    tags: list[str]
    words: str  # of the card
    accuracy: float | None  # None: never measured

    @property
    def full_name(self) -> str:
        return f"{self.team}/{self.name}"

    @property
    def card(self) -> str:
        tags = ", ".join(self.tags)
        front = f"license: {self.license}\nlibrary_name: {self.library}\npipeline_tag: {self.task}\ntags: [{tags}]"
        return f"---\n{front}\n---\n# {self.name}\n\n{self.words}\n"


def corpus(count: int) -> Iterator[Made]:
    chance = random.Random(4)  # noqa: S311 - the same each time is what is wanted
    vocabulary = list(dict.fromkeys(_word(chance) for _ in range(4_000)))
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    for number in range(count):
        words = chance.choices(vocabulary, weights, k=chance.randint(100, 500))
        words += [RARE] if number % 1000 == _SPARE else []
        yield Made(
            number=number,
            team=f"team-{number % TEAMS}",
            name=f"{'-'.join(chance.choices(vocabulary, weights, k=2))}-{number}",
            is_dataset=number % DATASETS_IN == 0,
            is_public=number % 2 == 0,
            task=chance.choice(_TASKS),
            library=chance.choice(_LIBRARIES),
            license=chance.choice(_LICENSES),
            tags=sorted(chance.sample(vocabulary[:200], 4)),
            words=" ".join(words),
            accuracy=round(chance.uniform(0.5, 1), 4) if chance.random() < 0.5 else None,  # noqa: PLR2004 - one in two
        )


def common_word(count: int = 1) -> str:
    """A word that most cards have."""
    return next(corpus(count)).words.split()[0]


def _word(chance: random.Random) -> str:
    return "".join(chance.choice(_CONSONANTS) + chance.choice(_VOWELS) for _ in range(chance.randint(2, 4)))
