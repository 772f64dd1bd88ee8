"""The conversion job: a version's torch files as safetensors, on a side branch that stands on the version."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import ConvertSpec, LineageReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_workers.convert.sandbox import convert_file
from steelyard_workers.session import JobSession

BRANCH = "safetensors"
_TORCH_BEFORE_ZIP = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_INDEX = ".bin.index.json"


def convert(session: JobSession, spec: ConvertSpec) -> dict[str, Any]:
    """Returns the job's result: the version, and for each file its new name, its tensors and what was left out."""
    session.progress(0.05, "fetching the model")
    folder = session.fetch(spec.model, RepositoryKind.MODEL)
    sources = _sources(folder, spec)
    made = session.scratch / "converted"
    _copy_others(folder, made, sources)
    files: dict[str, Any] = {}
    for position, (path, target) in enumerate(sources.items()):
        session.progress(0.1 + 0.8 * position / len(sources), f"converting {path}")
        (made / target).parent.mkdir(parents=True, exist_ok=True)
        done = convert_file(folder / path, made / target)
        left_out = f"; left out: {', '.join(done.left_out)}" if done.left_out else ""
        session.log(f"{path} is {target}: {done.tensors} tensors{left_out}")
        files[path] = {"file": target, "tensors": done.tensors, "left_out": done.left_out}
    repository, _, label = spec.model.partition("@")
    title = f"safetensors of {label}: {', '.join(sources.values())}"
    version = session.commit(made, repository, branch=f"{label}-{BRANCH}", start=label, title=title)
    session.lineage(LineageReport(relation="exported-from", source=spec.model, target=f"{repository}@{version}"))
    return {"version": version, "files": files}


def _sources(folder: Path, spec: ConvertSpec) -> dict[str, str]:
    """The files to convert, and what they will be called. Raises: InvalidInputError when there are none."""
    paths = [spec.path] if spec.path else sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    found = {path: safetensors_name(path) for path in paths if is_saved_by_torch(folder / path)}
    if not found:
        where = spec.path or "any of its files"
        raise InvalidInputError(
            f"{spec.model} has nothing that torch.save wrote in {where}; there is nothing to convert."
        )
    for path, target in found.items():
        if (folder / target).exists():
            raise InvalidInputError(f"{spec.model} has {target} already; {path} would take its place.")
    if len(set(found.values())) < len(found):
        raise InvalidInputError("Two of its files would have the same name as safetensors; name one of them.")
    return found


def is_saved_by_torch(path: Path) -> bool:
    """By content: a zip with `data.pkl` in a folder, or the number that older files begin with."""
    if not path.is_file():
        return False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    with path.open("rb") as file:
        return file.read(2 + len(_TORCH_BEFORE_ZIP))[2:] == _TORCH_BEFORE_ZIP


def safetensors_name(path: str) -> str:
    """`pytorch_model.bin` is `model.safetensors` everywhere; other names keep their stem."""
    parent, slash, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return f"{parent}{slash}{stem.replace('pytorch_model', 'model', 1)}.safetensors"


def _copy_others(folder: Path, made: Path, sources: dict[str, str]) -> None:
    """What goes with the weights comes along; an index of shards is written anew."""
    made.mkdir()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if not path.is_file() or str(name) in sources:
            continue
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(_INDEX):
            _write_index(path, made / safetensors_name(str(name).removesuffix(".index.json")))
        else:
            shutil.copyfile(path, made / name)


def _write_index(source: Path, target: Path) -> None:
    index = json.loads(source.read_text())
    index["weight_map"] = {tensor: safetensors_name(file) for tensor, file in index["weight_map"].items()}
    target.with_name(f"{target.name}.index.json").write_text(json.dumps(index, indent=2))
