"""`steelyard export` and `steelyard import`: everything out into a plain folder, and in from it or from other tools."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click

from steelyard.client import Client
from steelyard.terminal import fail, with_client
from steelyard_contracts.words import count_in_words

_MOST_ARGUMENTS = 2


@click.command("export")
@click.argument("what", nargs=-1, required=True, metavar="[WHAT] FOLDER")
@click.option("--all", "is_all", is_flag=True, help="All that you may read; name the FOLDER alone.")
@with_client
def export_(client: Client, what: tuple[str, ...], *, is_all: bool) -> None:
    """Write WHAT (team/name, datasets:/team/name, or a whole team) into FOLDER as plain files.

    Versions with their files, cards, names with their history, lineage, measures, gates and runs; a README in it says
    where everything is. An export that broke off, or that is older, goes on when it is repeated.
    """
    from steelyard.handover.writer import chosen, export

    named, folder = what[:-1], Path(what[-1])
    if bool(named) == is_all or len(what) > _MOST_ARGUMENTS:
        raise click.UsageError("Name a repository or a team, and a folder; or --all and a folder.")
    refs = chosen(client, named[0] if named else None)
    first = next(refs, None)
    if first is None:
        fail("error", f"There is nothing in {named[0] if named else 'this installation'} that you may read.")
    done = export(client, chain([first], refs), folder, say=click.echo)
    parts = [
        count_in_words(done.repositories, "repository").replace("repositorys", "repositories"),
        count_in_words(done.versions, "version"),
        count_in_words(done.runs, "run"),
    ]
    click.echo(f"{', '.join(parts)} in {folder}.")
    _say_faults(done.left_out, "left out")


@click.command("import")
@click.argument("source")
@click.option("--into", help="The team, or for a single repository team/name, that it becomes here.")
@click.option("--dry-run", is_flag=True, help="Say what would come, and bring nothing.")
@click.option("--endpoint", help="Of hf:…, the Hub's address.  [default: https://huggingface.co]")
@click.option(
    "--source-token",
    envvar=["STEELYARD_SOURCE_TOKEN", "MLFLOW_TRACKING_TOKEN"],
    help="A token of the MLflow server or the Hub.",
)
@click.option("--newest", "newest_only", is_flag=True, help="Of hf:…, the newest state alone, without its history.")
@click.option("--dataset", is_flag=True, help="A plain folder is a dataset.")
@with_client
def import_(
    client: Client,
    source: str,
    *,
    into: str | None,
    dry_run: bool,
    endpoint: str | None,
    source_token: str | None,
    newest_only: bool,
    dataset: bool,
) -> None:
    """Bring SOURCE here: versions with their numbers, names and dates, aliases, measures, runs. For maintainers.

    \b
    FOLDER                    what `steelyard export` wrote; or any of those below, by what is in it
    mlflow:http://host#NAME   a registered model or an experiment; without #NAME, all of them
    hf:OWNER/NAME             a model of a Hub, each commit a version; hf:datasets/OWNER/NAME
    wandb:FOLDER              downloaded artifacts (my-model:v3), or a wandb/ folder of runs
    ultralytics:PATH          runs/detect/train, or the NDJSON export of a dataset
    folder:FOLDER             any folder, as one version

    What is here already is not brought again: repeat an import that broke off.
    """  # noqa: D301 - click's own mark
    from steelyard.handover.importer import bring, foresee
    from steelyard.handover.naming import Plan
    from steelyard.handover.opening import Options, open_source

    options = Options(endpoint=endpoint, token=source_token, newest_only=newest_only, dataset=dataset)
    opened, plan = open_source(source, options), Plan(into=into)
    if dry_run:
        for line in foresee(client, opened, plan):
            click.echo(line)
        return
    try:
        done = bring(client, opened, plan, say=click.echo)
    except KeyboardInterrupt:
        fail("stopped", "What has come stays; repeat the command, and the rest comes.")
    new = f"{count_in_words(done.versions, 'new version')}, {count_in_words(done.runs, 'new run')}"
    known = count_in_words(done.known, "version")
    click.echo(f"{new}, {count_in_words(done.records, 'new record')}; {known} there before.")
    _say_faults(done.faults, "did not come")


def _say_faults(faults: list[str], what: str) -> None:
    """What a script has to hear of: not everything is there."""
    for fault in faults:
        click.echo(f"{what}: {fault}", err=True)
    if faults:
        raise click.exceptions.Exit(3)


def add_to(main: click.Group) -> None:
    for command in (export_, import_):
        main.add_command(command)
