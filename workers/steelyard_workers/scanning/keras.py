"""Models of Keras: a Lambda layer is Python code, and a layer's class may be said to come from any module."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

from steelyard_workers.scanning.report import Report, shown

_CONFIGS = ("config.json", "model_config.json")
_LARGEST_CONFIG = 64 * 1024 * 1024
_BLOCK, _OVERLAP = 4 * 1024 * 1024, 256
_LAMBDA = re.compile(rb'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
_OWN_MODULES = frozenset(
    {"keras", "tf_keras", "tensorflow", "keras_core", "keras_hub", "keras_nlp", "keras_cv", "builtins"}
)
_BUILT_INS = frozenset({"int", "float", "str", "bool", "list", "tuple", "dict"})


def is_config(where: str) -> bool:
    return where.rpartition("/")[2] in _CONFIGS


def scan_config(stream: IO[bytes], where: str, report: Report) -> None:
    """The `config.json` in a `.keras` archive."""
    text = stream.read(_LARGEST_CONFIG + 1)
    if len(text) > _LARGEST_CONFIG:
        report.danger("too-much", f"{shown(where)} is larger than a model's description ever is, and was not checked.")
        return
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        report.danger("broken-config", f"{shown(where)} is not JSON that can be read.")
        return
    for one in _objects(config):
        name, module = one.get("class_name"), one.get("module")
        if name in {"Lambda", "__lambda__"}:
            report.danger("keras-lambda", _lambda(where))
        if isinstance(module, str) and not _is_own(module, str(name)):
            report.danger(
                "keras-module",
                f"{shown(where)} takes {shown(str(name))} from the module {shown(module)}, which is not Keras; "
                "loading the model may run any code.",
            )


def scan_hdf5(stream: IO[bytes], where: str, report: Report) -> None:
    """The model's description lies somewhere in the file, as text; it is looked for from end to end."""
    tail = b""
    while block := stream.read(_BLOCK):
        if _LAMBDA.search(tail + block):
            report.danger("keras-lambda", _lambda(where))
            return
        tail = block[-_OVERLAP:]


def _lambda(where: str) -> str:
    return f"The Keras model in {shown(where)} has a Lambda layer, which is Python code that runs when it is loaded."


def _is_own(module: str, name: str) -> bool:
    root = module.partition(".")[0]
    return root in _OWN_MODULES and (root != "builtins" or name in _BUILT_INS)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, without recursion: a description may be as deep as it likes."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as found:
                yield found
                waiting.extend(found.values())
            case list() as found:
                waiting.extend(found)
