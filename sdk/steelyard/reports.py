"""How the `steelyard` command shows what is inside weights."""

from __future__ import annotations

import click

from steelyard.terminal import new_table, print_table
from steelyard_contracts.weights import CompareView, InspectionState, InspectionView, ModuleChange, Severity
from steelyard_contracts.words import number_in_words, size_in_words

_MODULES = 40
_FINDINGS = 20
_TENSORS = 20


def show_inspection(view: InspectionView) -> None:
    """The main model by module, then every model in a line, then the findings."""
    if view.state is InspectionState.PENDING:
        click.echo(f"{view.inspected} of {view.files} files were read so far.")
    elif view.state is InspectionState.FAILED:
        click.echo(f"Only {view.inspected} of {view.files} files could be read; see the jobs of the model's team.")
    kinds = ", ".join(f"{dtype} {number_in_words(count)}" for dtype, count in view.dtypes.items())
    made = f" ({view.framework})" if view.framework else ""
    click.echo(f"{view.version}: {view.format}{made}, {number_in_words(view.parameters)} parameters: {kinds or 'none'}")
    table = new_table("module", "tensors", "parameters", "size", "kinds")
    for module in view.modules[:_MODULES]:
        parameters = number_in_words(module.parameters)
        table.add_row(module.name, str(module.tensors), parameters, size_in_words(module.size), " ".join(module.dtypes))
    print_table(table)
    if len(view.modules) > _MODULES:
        click.echo(f"and {len(view.modules) - _MODULES} more")
    for model in (model for model in view.models if model.modules != view.modules):
        click.echo(f"  also {model.name}: {model.format}, {number_in_words(model.parameters)} parameters")
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
    table = new_table("module", "tensors", "what became of them", "relative L2")
    for module in view.modules:
        moved = "" if module.relative_l2 is None else f"{module.relative_l2:.3g}"
        table.add_row(module.shown_name, str(module.tensors), _fates(module), moved)
    print_table(table)
    furthest = sorted(view.changed, key=lambda one: -(one.relative_l2 or 0))[:_TENSORS]
    if furthest:
        table = new_table("changed tensor", "relative L2", "cosine", "largest change", "elements changed")
        for tensor in furthest:
            share = "-" if tensor.changed_share is None else f"{tensor.changed_share:.1%}"
            numbers = (tensor.relative_l2, tensor.cosine_similarity, tensor.max_abs_change)
            table.add_row(tensor.name, *("-" if number is None else f"{number:.4g}" for number in numbers), share)
        print_table(table)
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
