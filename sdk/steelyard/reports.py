"""How the `steelyard` command shows what is inside weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from steelyard_contracts.weights import CompareView, InspectionState, InspectionView, ModuleChange, Severity

if TYPE_CHECKING:
    from rich.table import Table

_STEP = 1000
_MODULES = 40
_FINDINGS = 20
_TENSORS = 20


def show_inspection(view: InspectionView) -> None:
    """The main model by module, then every model in a line, then the findings."""
    if view.state is InspectionState.PENDING:
        click.echo(f"{view.inspected} of {view.files} files were read so far.")
    elif view.state is InspectionState.FAILED:
        click.echo(f"Only {view.inspected} of {view.files} files could be read; see the jobs of the model's team.")
    kinds = ", ".join(f"{dtype} {count_text(count)}" for dtype, count in view.dtypes.items())
    made = f" ({view.framework})" if view.framework else ""
    click.echo(f"{view.version}: {view.format}{made}, {count_text(view.parameters)} parameters: {kinds or 'none'}")
    table = _table("module", "tensors", "parameters", "size", "kinds")
    for module in view.modules[:_MODULES]:
        parameters = count_text(module.parameters)
        table.add_row(module.name, str(module.tensors), parameters, size_text(module.size), " ".join(module.dtypes))
    _show(table)
    if len(view.modules) > _MODULES:
        click.echo(f"and {len(view.modules) - _MODULES} more")
    for model in (model for model in view.models if model.modules != view.modules):
        click.echo(f"  also {model.name}: {model.format}, {count_text(model.parameters)} parameters")
    for finding in view.findings[:_FINDINGS]:
        colour = "red" if finding.severity is Severity.DANGER else "yellow"
        click.echo(f"{click.style(f'{finding.severity}:', fg=colour)} {finding.path}: {finding.sentence}")
    if len(view.findings) > _FINDINGS:
        click.echo(f"and {len(view.findings) - _FINDINGS} findings more; see --json")


def show_comparison(view: CompareView) -> None:
    """The sentence, then the modules, then the tensors that moved furthest."""
    click.echo(click.style(view.summary, bold=True))
    if view.state is InspectionState.PENDING:
        click.echo("What differs is still being measured.")
    elif view.state is InspectionState.FAILED:
        click.echo("Not everything could be measured; see the jobs of the model's team.")
    table = _table("module", "tensors", "what became of them", "relative L2")
    for module in view.modules:
        moved = "" if module.relative_l2 is None else f"{module.relative_l2:.3g}"
        table.add_row(module.shown_name, str(module.tensors), _fates(module), moved)
    _show(table)
    furthest = sorted(view.changed, key=lambda one: -(one.relative_l2 or 0))[:_TENSORS]
    if furthest:
        table = _table("changed tensor", "relative L2", "cosine", "largest change", "elements changed")
        for tensor in furthest:
            share = "-" if tensor.changed_share is None else f"{tensor.changed_share:.1%}"
            numbers = (tensor.relative_l2, tensor.cosine_similarity, tensor.max_abs_change)
            table.add_row(tensor.name, *("-" if number is None else f"{number:.4g}" for number in numbers), share)
        _show(table)
    if len(view.changed) > _TENSORS:
        click.echo(f"and {len(view.changed) - _TENSORS} tensors more; see --json")
    for one in view.differences[:_TENSORS]:
        click.echo(f"  {one.name}: {one.left} became {one.right}")
    for word, paths in (("added", view.files.added), ("removed", view.files.removed), ("changed", view.files.changed)):
        if paths:
            click.echo(f"files {word}: {', '.join(paths[:_FINDINGS])}")


def _fates(module: ModuleChange) -> str:
    if module.is_identical:
        return "bit-identical"
    words = ("changed", "added", "removed", "reshaped", "cast", "unchanged")
    return ", ".join(f"{getattr(module, word)} {word}" for word in words if getattr(module, word))


def size_text(count: float) -> str:
    """Bytes: 1.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _STEP:
            return f"{count:.3g} {unit}"
        count /= _STEP
    return f"{count:.3g} TB"


def count_text(count: float) -> str:
    """How many: 11.2 M."""
    for unit in ("", " k", " M", " G"):
        if count < _STEP:
            return f"{count:.3g}{unit}"
        count /= _STEP
    return f"{count:.3g} T"


def _table(*columns: str) -> Table:
    # Imported where it is used: most commands print a line, and start faster without.
    from rich.table import Table

    return Table(*columns)


def _show(table: Table) -> None:
    from rich.console import Console

    Console(markup=False).print(table)  # what the server or a user wrote is never read as markup
