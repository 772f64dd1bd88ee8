"""Tensors by module: names such as `encoder.layer.0.weight` read as a tree. Pure.

    top_modules(tensors)                    the first level that has more than one branch
    level_below(tensors, "encoder.layer")   its modules, and the tensors that lie directly in it

Formats differ in what they put between the parts of a name: `.` and `/` are both taken for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from steelyard_contracts.weights import ModuleView

# Several in a row are one: between them there is no name that a module could have.
_SEPARATOR = re.compile(r"(?<=[^./])[./]")


class Outline(NamedTuple):
    """A tensor without its statistics."""

    name: str
    dtype: str
    shape: list[int]
    size: int
    start: int | None
    digest: str | None

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Level:
    """What lies directly below a prefix."""

    modules: dict[str, list[Outline]]
    tensors: list[Outline]


def is_below(name: str, module: str) -> bool:
    """Whether a tensor of that name lies in the module, or deeper; everything lies in the module without a name."""
    return not module or (name.startswith(module) and name[len(module) : len(module) + 1] in {".", "/"})


def is_in(name: str, module: str, *, directly: bool) -> bool:
    """Whether a tensor of that name lies in the module or is it; `directly`: in none of the module's modules."""
    if not directly:
        return name == module or is_below(name, module)
    return is_below(name, module) and _SEPARATOR.search(name, len(module) + 1 if module else 0) is None


def level_below(tensors: Iterable[Outline], module: str = "") -> Level:
    modules: dict[str, list[Outline]] = {}
    leaves: list[Outline] = []
    start = len(module) + 1 if module else 0
    for tensor in tensors:
        if not is_below(tensor.name, module):
            continue
        separator = _SEPARATOR.search(tensor.name, start)
        if separator is None:
            leaves.append(tensor)
        else:
            modules.setdefault(tensor.name[: separator.start()], []).append(tensor)
    return Level(modules, leaves)


def root_of(tensors: Sequence[Outline]) -> str:
    """The module that holds everything, as deep as there is only one."""
    root = ""
    while True:
        level = level_below(tensors, root)
        if level.tensors or len(level.modules) != 1:
            return root
        (below,) = level.modules
        if level_below(tensors, below).tensors:
            return root
        root = below


def top_modules(tensors: Sequence[Outline]) -> list[ModuleView]:
    """The modules of the first level that says something, and under their own names what lies beside them."""
    return modules_below(tensors, root_of(tensors))


def modules_below(tensors: Iterable[Outline], module: str) -> list[ModuleView]:
    level = level_below(tensors, module)
    return [view_of(name, inside) for name, inside in level.modules.items()] + [
        view_of(tensor.name, [tensor]) for tensor in level.tensors
    ]


def view_of(name: str, tensors: Sequence[Outline]) -> ModuleView:
    return ModuleView(
        name=name,
        tensors=len(tensors),
        parameters=sum(tensor.parameters for tensor in tensors),
        size=sum(tensor.size for tensor in tensors),
        dtypes=dtypes_of(tensors),
    )


def dtypes_of(tensors: Iterable[Outline]) -> dict[str, int]:
    """Parameters by their kind, most first."""
    found: dict[str, int] = {}
    for tensor in tensors:
        found[tensor.dtype] = found.get(tensor.dtype, 0) + tensor.parameters
    return dict(sorted(found.items(), key=lambda item: -item[1]))
