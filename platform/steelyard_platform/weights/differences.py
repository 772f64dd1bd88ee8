"""Two sets of tensors held against each other by their digests: nothing that both share is read. Pure.

pairs = pair_tensors(left, right)
module_changes(pairs, measures)     the tree, as deep as something differs
summary_of(modules)                 "Only head.* changed; backbone.* is bit-identical."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from steelyard_contracts.weights import Measures, ModuleChange
from steelyard_platform.weights.modules import Outline, level_below, root_of

_DEEPEST = 4
_MOST_LINES = 60
_NAMED = 4


class Fate(StrEnum):
    """What became of a tensor, by its name."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    RESHAPED = "reshaped"
    CAST = "cast"


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor and the file it is in."""

    outline: Outline
    path: str
    file: str  # the file's SHA-256


@dataclass(frozen=True, slots=True)
class Pair:
    name: str
    left: Placed
    right: Placed

    @property
    def key(self) -> tuple[str, str, str] | None:
        """What its measures are kept under; None when nobody has read its bytes."""
        before, after = self.left.outline, self.right.outline
        if before.digest is None or after.digest is None:
            return None
        return before.digest, after.digest, before.dtype

    @property
    def is_measurable(self) -> bool:
        return self.key is not None and None not in {self.left.outline.start, self.right.outline.start}


@dataclass(slots=True)
class Pairs:
    """Every tensor of either side, in the order of the right one, and those that are gone at the end."""

    fates: dict[str, Fate] = field(default_factory=dict)
    changed: list[Pair] = field(default_factory=list)
    differing: list[Pair] = field(default_factory=list)  # reshaped, cast
    outlines: dict[str, Outline] = field(default_factory=dict)

    def named(self, fate: Fate) -> list[str]:
        return [name for name, found in self.fates.items() if found is fate]


def pair_tensors(left: Mapping[str, Placed], right: Mapping[str, Placed]) -> Pairs:
    pairs = Pairs()
    for name, after in right.items():
        pairs.outlines[name] = after.outline
        before = left.get(name)
        if before is None:
            pairs.fates[name] = Fate.ADDED
            continue
        pair = Pair(name, before, after)
        pairs.fates[name] = fate = _fate(pair)
        if fate is Fate.CHANGED:
            pairs.changed.append(pair)
        elif fate is not Fate.UNCHANGED:
            pairs.differing.append(pair)
    for name, before in left.items():
        if name not in right:
            pairs.fates[name] = Fate.REMOVED
            pairs.outlines[name] = before.outline
    return pairs


def _fate(pair: Pair) -> Fate:
    before, after = pair.left.outline, pair.right.outline
    if before.shape != after.shape:
        return Fate.RESHAPED
    if before.dtype != after.dtype:
        return Fate.CAST
    if pair.left.file == pair.right.file:
        return Fate.UNCHANGED
    # What nobody could read may have changed, and nobody is told that it has not.
    return Fate.UNCHANGED if before.digest is not None and before.digest == after.digest else Fate.CHANGED


def module_changes(pairs: Pairs, measures: Mapping[str, Measures]) -> list[ModuleChange]:
    """The first level of modules, and below those of which a part differs; coarser when that would be long."""
    everything = list(pairs.outlines.values())
    found: list[ModuleChange] = []
    for depth in range(_DEEPEST, 0, -1):
        found = list(_lines(everything, root_of(everything), depth, pairs, measures))
        if len(found) <= _MOST_LINES:
            break
    return found


def _lines(
    tensors: Sequence[Outline], module: str, depth: int, pairs: Pairs, measures: Mapping[str, Measures]
) -> Iterable[ModuleChange]:
    level = level_below(tensors, module)
    for name, inside in level.modules.items():
        line = _line(name, inside, pairs, measures)
        if depth > 1 and 0 < line.unchanged < line.tensors:
            yield from _lines(inside, name, depth - 1, pairs, measures)
        else:
            yield line
    for tensor in level.tensors:
        yield _line(tensor.name, [tensor], pairs, measures)


def _line(name: str, tensors: Sequence[Outline], pairs: Pairs, measures: Mapping[str, Measures]) -> ModuleChange:
    counts = Counter(pairs.fates[tensor.name] for tensor in tensors)
    moved = (measures[tensor.name].relative_l2 for tensor in tensors if tensor.name in measures)
    return ModuleChange(
        name=name,
        is_tensor=[tensor.name for tensor in tensors] == [name],
        tensors=len(tensors),
        relative_l2=max((one for one in moved if one is not None), default=None),
        **{fate.value: counts[fate] for fate in Fate},
    )


def summary_of(modules: Sequence[ModuleChange]) -> str:
    """The whole difference in one sentence."""
    if not modules:
        return "Neither version holds tensors that are known."
    total = sum(module.tensors for module in modules)
    same = [module for module in modules if module.is_identical]
    other = [module for module in modules if not module.is_identical]
    if not other:
        return f"All {total:,} tensors are bit-identical."
    if not same:
        differing = total - sum(module.unchanged for module in modules)
        return f"{differing:,} of {total:,} tensors differ, in every module."
    verb = "is" if len(same) == 1 else "are"
    return f"Only {_listed(other)} {_verb(other)}; {_listed(same)} {verb} bit-identical."


def _listed(modules: Sequence[ModuleChange]) -> str:
    names = [module.shown_name for module in modules[:_NAMED]]
    if len(modules) > _NAMED:
        names.append(f"{len(modules) - _NAMED} other modules")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verb(modules: Sequence[ModuleChange]) -> str:
    """`changed`, when nothing else has happened to them."""
    only_changed = all(module.changed + module.unchanged == module.tensors for module in modules)
    return "changed" if only_changed else "differs" if len(modules) == 1 else "differ"
