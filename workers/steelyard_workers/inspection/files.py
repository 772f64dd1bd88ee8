"""From a file to its report, in memory that does not grow with the file and in time that its size bounds."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from steelyard_contracts.weights import MOST_FINDINGS, MOST_TENSORS, FileReport, Finding, TensorStatistics, TensorView
from steelyard_workers.inspection.contents import BLOCK, Contents, Source, Tensor, UnreadableError, warning
from steelyard_workers.inspection.sniffing import read_contents
from steelyard_workers.inspection.statistics import Measured, measure

_log = logging.getLogger(__name__)
# A report stays a few megabytes long.
_MOST_HISTOGRAMS = 10_000
_MOST_NUMBERLESS = 50
_LONGEST_NAME, _LONGEST_VALUE, _MOST_VALUES = 500, 1_000, 200
# Views of one storage may overlap, honestly or not: in all, so many times the file's size is read.
_TIMES = 4

Progress = Callable[[int], None]
"""Is told how many bytes were measured since it was last called."""


def inspect_file(path: Path, *, sha256: str | None = None, on_bytes: Progress = lambda _: None) -> FileReport:
    """What is inside the file. Whatever is wrong with it is a finding; nothing in the file can raise.

    Args:
        path: the file; its name tells an index from other JSON, and nothing else.
        sha256: its digest, where somebody has just checked it.
        on_bytes: told of progress.
    """
    with path.open("rb") as file:
        source = Source(file)
        contents = _contents(source, path.name)
        inspector = _Inspector(source, on_bytes)
        tensors = [inspector.view(tensor) for tensor in contents.tensors[:MOST_TENSORS]]
        findings = [*_about_all(contents), *contents.findings, *inspector.findings]
        digest = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
    return FileReport(
        sha256=digest,
        format=contents.format,
        framework=contents.framework[:60],
        parameters=min(sum(tensor.parameters for tensor in contents.tensors), 2**63 - 1),
        metadata=_short(contents.metadata),
        shards=contents.shards,
        tensors=tensors,
        findings=findings[:MOST_FINDINGS],
    )


def _contents(source: Source, name: str) -> Contents:
    try:
        return read_contents(source, name)
    except UnreadableError as error:
        return Contents("unknown", findings=[error.finding])
    except Exception:  # noqa: BLE001 - the border to whatever a file may hold: its author must not end the job
        _log.warning("the file %s could not be read", name, exc_info=True)
        sentence = "The file could not be read to its end; it is damaged, or of a form that is not known here."
        return Contents("unknown", findings=[warning("unreadable", sentence)])


def _about_all(contents: Contents) -> Iterator[Finding]:
    tensors = contents.tensors
    if len(tensors) > MOST_TENSORS:
        sentence = (
            f"The file holds {len(tensors):,} tensors; the first {MOST_TENSORS:,} are described, and all are counted."
        )
        yield warning("too-many-tensors", sentence)
    empty = [tensor.name for tensor in tensors if tensor.parameters == 0]
    if empty:
        many = f"{len(empty):,} tensors hold" if len(empty) > 1 else "A tensor holds"
        yield warning("zero-size", f"{many} no values, such as '{clean_name(empty[0])}'.", clean_name(empty[0]))
    # The constants of an exported graph are named by their places in it: /layer/Constant_output_0.
    is_rooted = contents.format in {"onnx", "tflite"}
    names = [tensor.name for tensor in tensors]
    odd = [name for name in names if clean_name(name) != name or is_way_out(name[1:] if is_rooted else name)]
    if odd:
        many = f"{len(odd):,} tensors have names" if len(odd) > 1 else "A tensor has a name"
        sentence = (
            f"{many} that no exporter gives (control characters, a way to another folder, or very long), such as "
            f"'{clean_name(odd[0])}'; a program that makes file names of them could write where it should not."
        )
        yield warning("odd-name", sentence, clean_name(odd[0]))


def clean_name(name: str) -> str:
    """A name that can be shown anywhere: what does not print is spelled out, and what is endless is cut."""
    shown = name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def is_way_out(name: str) -> bool:
    return name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/")


def _short(metadata: dict[str, str]) -> dict[str, str]:
    few = list(metadata.items())[:_MOST_VALUES]
    return {clean_name(key): value[:_LONGEST_VALUE].replace("\0", "") for key, value in few}


class _Inspector:
    """Measures tensors one after the other; those that share their bytes once."""

    def __init__(self, source: Source, on_bytes: Progress) -> None:
        self._source = source
        self._on_bytes = on_bytes
        self._left = _TIMES * source.size
        self._known: dict[tuple[str, int, int], Measured] = {}
        self._histograms = 0
        self._numberless = 0
        self.findings: list[Finding] = []

    def view(self, tensor: Tensor) -> TensorView:
        measured = self._measured(tensor)
        view = TensorView(
            name=clean_name(tensor.name),
            dtype=tensor.dtype,
            shape=list(tensor.shape),
            size=tensor.size,
            start=tensor.start,
            digest=measured.digest if measured else None,
            statistics=measured.statistics if measured else None,
        )
        if view.statistics is not None:
            self._look_for_numberless(view.name, view.statistics)
        return view

    def _measured(self, tensor: Tensor) -> Measured | None:
        if tensor.inline is not None:
            content = tensor.inline
            return self._measure(tensor, lambda: (content[i : i + BLOCK] for i in range(0, len(content), BLOCK)))
        if tensor.start is None:
            return None
        key = (tensor.dtype, tensor.start, tensor.size)
        if key not in self._known:
            if tensor.size > self._left:
                if self._left >= 0:
                    self.findings.append(
                        warning("overlapping-tensors", "Too many tensors share bytes to measure them all.")
                    )
                self._left = -1
                return None
            start, end = tensor.start, tensor.start + tensor.size
            self._known[key] = self._measure(tensor, lambda: self._source.blocks(start, end))
            self._left -= tensor.size
            self._on_bytes(tensor.size)
        return self._known[key]

    def _measure(self, tensor: Tensor, blocks: Callable[[], Iterator[bytes]]) -> Measured:
        self._histograms += 1
        histogram = self._histograms <= _MOST_HISTOGRAMS
        return measure(tensor.dtype, blocks, parameters=tensor.parameters, histogram=histogram)

    def _look_for_numberless(self, name: str, statistics: TensorStatistics) -> None:
        """NaN and infinity in weights: whatever uses them answers nothing of worth."""
        if not statistics.nan and not statistics.inf:
            return
        self._numberless += 1
        if self._numberless > _MOST_NUMBERLESS:
            return
        parts = [f"{statistics.nan:,} NaN"] * bool(statistics.nan) + [f"{statistics.inf:,} infinite"] * bool(
            statistics.inf
        )
        sentence = f"{name!r} holds values that are no numbers: {' and '.join(parts)}."
        self.findings.append(warning("not-finite", sentence, name))
