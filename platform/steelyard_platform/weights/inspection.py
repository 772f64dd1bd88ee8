"""What is inside a version's weights, from what workers reported of its files.

    record_report(version=…, report=…, actor=…)     a worker has read a file
    files_to_inspect(version)                       what nobody has read yet
    inspection_of(version)                          models, modules, findings
    tensors_of(version, module=…, …)                a page of tensors with their statistics

A file is known by its content, so that a version that shares its files with others costs nothing. Several files that an
index names are one model.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import transaction

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.weights import (
    FileReport,
    FileToInspect,
    FindingView,
    InspectionState,
    InspectionView,
    ModelView,
    Severity,
    TensorInFile,
)
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.paging import whole_number
from steelyard_platform.storage.batches import batches
from steelyard_platform.weights.disguise import disguised_in
from steelyard_platform.weights.models import WeightFile
from steelyard_platform.weights.modules import Level, Outline, dtypes_of, is_in, level_below, root_of, top_modules

_INDEX = ".index.json"
# Files that hold no weights, whatever else may be wrong with them.
_PLAIN = frozenset(
    {
        "md", "txt", "rst", "json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "csv", "tsv", "xml", "html", "css",
        "js", "py", "ipynb", "sh", "c", "cc", "cpp", "h", "gitattributes", "gitignore", "png", "jpg", "jpeg", "gif",
        "webp", "svg", "pdf", "mp4", "wav", "mp3", "license", "lock",
    }
)  # fmt: skip
_MOST_FILES = 10_000
# What a version is shown by when it holds the same weights several times.
_PREFERRED = ("safetensors", "gguf", "torch", "onnx", "tflite", "keras", "numpy", "pickle", "archive")
_FORMAT_OF = {
    "safetensors": "safetensors", "gguf": "gguf", "onnx": "onnx", "tflite": "tflite", "pt": "torch", "pth": "torch",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version that may hold weights; `report` is None until somebody has read it."""

    path: str
    sha256: str
    size: int
    report: WeightFile | None


@dataclass(frozen=True, slots=True)
class Model:
    """One model: a file, or the shards of an index, whose path is then its name."""

    name: str
    files: list[File]

    @property
    def format(self) -> str:
        return self.files[0].report.format if self.files[0].report else "unknown"

    @property
    def parameters(self) -> int:
        return sum(file.report.parameters for file in self.files if file.report)


def may_hold_weights(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return name.endswith(_INDEX) or name.rpartition(".")[2] not in _PLAIN


@transaction.atomic
def record_report(*, version: Version, report: FileReport, actor: Actor) -> WeightFile:
    """Notes what is inside a file of the version; a second report of the same content takes the first one's place.

    Raises: InvalidInputError when the version has no such file.
    """
    if not tree.entries_at(version).filter(blob=report.sha256).exists():
        raise InvalidInputError(f"{version.label} has no file with the SHA-256 {report.sha256}.", sha256=report.sha256)
    outline = [[one.name, one.dtype, one.shape, one.size, one.start, one.digest] for one in report.tensors]
    statistics = [one.statistics.model_dump(mode="json") if one.statistics else None for one in report.tensors]
    values = {
        "format": report.format,
        "framework": report.framework,
        "parameters": report.parameters,
        "tensor_count": len(report.tensors),
        "metadata": report.metadata,
        "shards": report.shards,
        "findings": [finding.model_dump(mode="json") for finding in report.findings],
        "has_danger": any(finding.severity is Severity.DANGER for finding in report.findings),
        "outline": _packed(outline),
        "statistics": _packed(statistics),
    }
    row, _ = WeightFile.objects.update_or_create(blob_id=report.sha256, defaults=values)
    name = version.repository.full_name
    audit.record(actor, "report file", name, version=version.label, sha256=report.sha256, findings=len(report.findings))
    return row


def files_of(version: Version) -> list[File]:
    """The files that may hold weights, by path, with what is known of each but its tensors."""
    fields = ("path", "blob_id", "blob__size", "blob__weight_file")
    entries = tree.entries_at(version).order_by("path").values_list(*fields)[:_MOST_FILES]
    found = [row[:3] for row in entries if may_hold_weights(row[0]) or row[3]]
    rows: dict[str, WeightFile] = {}
    for batch in batches({sha256 for _, sha256, _ in found}):
        known = WeightFile.objects.filter(pk__in=batch).defer("outline", "statistics")
        rows |= {row.pk: row for row in known}
    return [File(path, sha256, size, rows.get(sha256)) for path, sha256, size in found]


def files_to_inspect(version: Version, *, again: bool = False) -> list[FileToInspect]:
    """Each content once; also what is named like a text or a picture, and is none.

    Args:
        version: of a model.
        again: whether to name what was read before, too.
    """
    unknown = {file.sha256: file for file in files_of(version) if again or file.report is None}
    for entry in disguised_in(version):
        assert entry.blob is not None  # noqa: S101 - no tombstones among them
        unknown.setdefault(entry.blob.sha256, File(entry.path, entry.blob.sha256, entry.blob.size, None))
    return [FileToInspect(path=file.path, sha256=file.sha256, size=file.size) for file in unknown.values()]


def inspection_of(version: Version, *, modules: bool = True) -> InspectionView:
    """Everything but the tensors themselves. Until every file was read, `pending`.

    Args:
        version: of a model.
        modules: whether to look at every tensor's name for them; without, a page that shows a line is faster.
    """
    files = files_of(version)
    models = models_in(files)
    main = main_model(models)
    tensors = outlines_of([file for model in models for file in model.files]) if modules else {}
    views = [_model_view(model, tensors) for model in models]
    shown = next((view for view in views if main is not None and view.name == main.name), None)
    inspected = sum(file.report is not None for file in files)
    return InspectionView(
        state=InspectionState.DONE if inspected == len(files) else InspectionState.PENDING,
        version=version.label,
        files=len(files),
        inspected=inspected,
        format=shown.format if shown else "unknown",
        framework=shown.framework if shown else "",
        parameters=shown.parameters if shown else 0,
        dtypes=shown.dtypes if shown else {},
        modules=shown.modules if shown else [],
        models=views,
        findings=findings_of(files),
    )


def models_in(files: Sequence[File]) -> list[Model]:
    """The models that these files make, those with an index first."""
    by_path = {file.path: file for file in files}
    found: list[Model] = []
    for file in files:
        if file.report is not None and file.report.format == "index":
            shards = [by_path[path] for path in _shards(file) if path in by_path]
            if shards:
                found.append(Model(file.path, shards))
    sharded = {file.path for model in found for file in model.files}
    single = (file for file in files if file.path not in sharded and file.report and file.report.tensor_count)
    return [*found, *(Model(file.path, [file]) for file in single)]


def main_model(models: Sequence[Model], like: Model | None = None) -> Model | None:
    """The model that stands for a version: the largest of the format that says most; with `like`, its counterpart."""
    if like is not None and (same := [model for model in models if model.name == like.name]):
        return same[0]
    if like is not None and (same := [model for model in models if model.format == like.format]):
        models = same
    known = [model for model in models if model.format in _PREFERRED]
    return min(known, key=lambda model: (_PREFERRED.index(model.format), -model.parameters, model.name), default=None)


def findings_of(files: Iterable[File]) -> list[FindingView]:
    """Dangers first. What only shows beside the other files, or by the file's name, is found here."""
    everything = list(files)
    paths = {file.path for file in everything}
    found: list[FindingView] = []
    for file in everything:
        if file.report is None:
            continue
        found += [FindingView(path=file.path, **finding) for finding in file.report.findings]
        missing = [path for path in _shards(file) if path not in paths]
        if missing:
            sentence = f"It names {missing[0]!r}, which this version lacks; {len(missing)} of its files are missing."
            found.append(_warning(file.path, "shard-missing", sentence))
        expected = _FORMAT_OF.get(file.path.rpartition(".")[2].lower())
        if expected not in {None, file.report.format} and not file.report.findings:
            sentence = f"The name says {expected}; by its content it is {_kind(file.report.format)}."
            found.append(_warning(file.path, "other-format", sentence))
    return sorted(found, key=lambda finding: (finding.severity is not Severity.DANGER, finding.path))


def tensors_of(
    version: Version,
    *,
    model: str = "",
    module: str = "",
    directly: bool = False,
    cursor: str | None = None,
    limit: int = 100,
) -> tuple[list[TensorInFile], str | None]:
    """A page of a model's tensors (the main one's, unless named) in and below a module, in their files' order.

    Args:
        version: of a model.
        model: by its name.
        module: none stands for everything.
        directly: leaves out what lies in modules of the module.
        cursor: where the former page ended.
        limit: how many.

    Raises: NotFoundError for a model that the version lacks, InvalidInputError for a cursor that is none.
    """
    if (start := whole_number(cursor or "0")) is None:
        raise InvalidInputError(f"{cursor!r} is no cursor of this list; begin again without one.")
    limit = max(1, min(limit, 500))
    chosen = chosen_model(version, model)
    if chosen is None:
        return [], None
    outlines = outlines_of(chosen.files)
    matching = (
        (file, index, outline)
        for file in chosen.files
        for index, outline in enumerate(outlines.get(file.sha256, ()))
        if is_in(outline.name, module, directly=directly)
    )
    page = list(islice(matching, start, start + limit + 1))
    statistics = _statistics_of({file.sha256 for file, _, _ in page[:limit]})
    views = [_tensor_view(file.path, outline, statistics[file.sha256][index]) for file, index, outline in page[:limit]]
    return views, str(start + limit) if len(page) > limit else None


@dataclass(frozen=True, slots=True)
class Branch:
    """A module of a model, and what lies directly in it."""

    model: Model
    models: list[Model]
    module: str
    level: Level


def branch_of(version: Version, *, model: str = "", module: str = "") -> Branch | None:
    """A place in a model's tree; the first that has several branches unless named. None while nothing is known.

    Raises: NotFoundError for a model or module that the version lacks.
    """
    models = models_in(files_of(version))
    chosen = _chosen(version, models, model)
    if chosen is None:
        return None
    outlines = outlines_of(chosen.files)
    tensors = [outline for file in chosen.files for outline in outlines.get(file.sha256, ())]
    place = module or root_of(tensors)
    level = level_below(tensors, place)
    if module and not (level.modules or level.tensors):
        raise NotFoundError(f"{chosen.name} has no module {module!r}.", module=module)
    return Branch(chosen, models, place, level)


def chosen_model(version: Version, name: str) -> Model | None:
    """The model of that name, or the main one. Raises: NotFoundError."""
    return _chosen(version, models_in(files_of(version)), name)


def _chosen(version: Version, models: list[Model], name: str) -> Model | None:
    if not name:
        return main_model(models)
    found = next((model for model in models if model.name == name), None)
    if found is None:
        raise NotFoundError(f"{version.label} holds no model {name!r}.", model=name)
    return found


def outlines_of(files: Iterable[File]) -> dict[str, list[Outline]]:
    """The tensors of each file, by its SHA-256."""
    found: dict[str, list[Outline]] = {}
    for batch in batches({file.sha256 for file in files}):
        rows = WeightFile.objects.filter(pk__in=batch).values_list("pk", "outline")
        found |= {sha256: [Outline(*row) for row in _unpacked(packed)] for sha256, packed in rows}
    return found


def _statistics_of(digests: set[str]) -> dict[str, list[dict[str, Any] | None]]:
    rows = WeightFile.objects.filter(pk__in=digests).values_list("pk", "statistics")
    return {sha256: _unpacked(packed) for sha256, packed in rows}


def _tensor_view(path: str, outline: Outline, statistics: dict[str, Any] | None) -> TensorInFile:
    return TensorInFile.model_validate({"path": path, "statistics": statistics, **outline._asdict()})


def _model_view(model: Model, tensors: dict[str, list[Outline]]) -> ModelView:
    inside = [outline for file in model.files for outline in tensors.get(file.sha256, ())]
    report = model.files[0].report
    assert report is not None  # noqa: S101 - only files that were read make a model
    return ModelView(
        name=model.name,
        format=report.format,
        framework=report.framework,
        files=[file.path for file in model.files],
        tensors=sum(file.report.tensor_count for file in model.files if file.report),
        parameters=model.parameters,
        size=sum(file.size for file in model.files),
        dtypes=dtypes_of(inside),
        modules=top_modules(inside),
        metadata=report.metadata,
    )


def _shards(file: File) -> list[str]:
    """The paths of the files that an index names; they lie beside it."""
    if file.report is None:
        return []
    folder, slash, _ = file.path.rpartition("/")
    return [f"{folder}{slash}{name}" for name in file.report.shards]


def _warning(path: str, code: str, sentence: str) -> FindingView:
    return FindingView(path=path, severity=Severity.WARNING, code=code, sentence=sentence)


def _kind(format_: str) -> str:
    return "of no known format" if format_ == "unknown" else format_


def _packed(rows: list[Any]) -> bytes:
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 6)


def _unpacked(packed: bytes | memoryview) -> list[Any]:
    return list(json.loads(zlib.decompress(packed))) if packed else []
