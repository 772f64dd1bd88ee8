"""A form of a training's or a search's spec, made from the spec itself: a new option appears by being declared.

Simple fields (words, numbers, choices, yes or no) have an input of their own. What has parts, such as augmentation, is
edited on the command line; a clone keeps it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.wire import faults_in_words
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.queries import visible_repositories

# In this order in front; every other field follows under "More options".
TRAINING = ("dataset", "output", "task", "model", "base", "epochs", "batch_size", "learning_rate", "image_size")
_SUGGESTED = 200
_Spec = TypeVar("_Spec", bound=BaseModel)
_REPOSITORIES = {"dataset": "datasets", "base": "models", "output": "models"}


@dataclass(frozen=True, slots=True)
class Field:
    """One input. `kind`: text, list (with commas), number, choice or flag; `suggestions`: the list that it offers.

    `name` is the spec's field, `key` the input: a page with two specs tells them apart by it.
    """

    name: str
    key: str
    kind: str
    value: str
    hint: str
    choices: tuple[str, ...] = ()
    suggestions: str = ""
    is_main: bool = False
    is_required: bool = False


def fields_of(
    given: Mapping[str, Any],
    before: Mapping[str, Any],
    spec: type[BaseModel] = TrainSpec,
    *,
    main: Sequence[str] = TRAINING,
    without: Container[str] = (),
    prefix: str = "",
) -> list[Field]:
    """The inputs, filled in from what was `given`, else from the spec `before`, else as they are by default."""
    schema = spec.model_json_schema()
    parts = schema.get("$defs", {})
    made = []
    for name, raw in schema["properties"].items():
        described = _described(raw, parts)
        if name == "kind" or name in without or described is None:
            continue
        kind, choices = described
        default = raw.get("default")
        key = f"{prefix}{name}"
        value = given[key] if key in given else _as_text(before.get(name, default))
        made.append(
            Field(
                name=name,
                key=key,
                kind=kind,
                value=str(value),
                hint=raw.get("description", ""),
                choices=choices,
                suggestions=_REPOSITORIES.get(name, ""),
                is_main=name in main,
                is_required=name in schema.get("required", ()),
            )
        )
    return sorted(made, key=lambda one: main.index(one.name) if one.is_main else len(main))


def spec_from(fields: list[Field], before: Mapping[str, Any]) -> dict[str, Any]:
    """What the inputs say, over the spec `before`. An empty input is the field's default."""
    said = {one.name: _typed(one) for one in fields if one.value.strip() or one.kind == "flag"}
    names = {one.name for one in fields}
    return {key: value for key, value in before.items() if key not in names} | said


def validated(spec: type[_Spec], said: Mapping[str, Any], refusal: str) -> _Spec:
    """Raises: InvalidInputError, which says `refusal` and every fault."""
    try:
        return spec.model_validate(said)
    except ValidationError as error:
        raise InvalidInputError(f"{refusal}: {faults_in_words(error)}.") from error


def suggestions_for(actor: Actor) -> dict[str, list[str]]:
    """Names to choose from, the last changed first: `datasets` and `models`."""
    return {f"{kind}s": suggested(kind, actor) for kind in (RepositoryKind.DATASET, RepositoryKind.MODEL)}


def suggested(kind: RepositoryKind, actor: Actor) -> list[str]:
    """Names of repositories, the last changed first."""
    visible = visible_repositories(actor).select_related("team").order_by("-updated_at")
    return [one.full_name for one in visible.filter(kind=kind)[:_SUGGESTED]]


def _described(raw: dict[str, Any], parts: dict[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """(kind, choices) of a field that one input can hold."""
    shapes = [_resolved(one, parts) for one in raw.get("anyOf", [raw])]
    choices = tuple(str(value) for one in shapes for value in (one.get("enum") or _constant(one)))
    types = {one.get("type") for one in shapes} - {"null"}
    if types == {"array"} and all(_resolved(one.get("items", {}), parts).get("type") == "string" for one in shapes):
        return "list", ()
    if types & {"object", "array"} and not choices:
        return None
    if types == {"boolean"}:
        return "flag", ()
    if choices and types <= {"string"} and not any("enum" not in one and "const" not in one for one in shapes):
        return "choice", choices
    return ("number", ()) if types <= {"integer", "number"} else ("text", choices)


def _resolved(shape: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    return dict(parts[shape["$ref"].rpartition("/")[2]]) if "$ref" in shape else shape


def _constant(shape: dict[str, Any]) -> list[Any]:
    return [shape["const"]] if "const" in shape else []


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _typed(field: Field) -> Any:
    text = field.value.strip()
    if field.kind == "flag":
        return text == "yes"
    if field.kind == "list" or (field.kind == "text" and "," in text):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
