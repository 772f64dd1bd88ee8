"""How the `steelyard` command shows what is inside weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from steelyard_contracts.weights import InspectionState, InspectionView, Severity

if TYPE_CHECKING:
    from rich.table import Table

_STEP = 1000
_MODULES = 40
_FINDINGS = 20


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
