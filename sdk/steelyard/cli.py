"""The `steelyard` command: the SDK for shells, with progress bars and sentences instead of tracebacks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from steelyard import (
    cli_evaluations,
    cli_fleet,
    cli_handover,
    cli_jobs,
    cli_names,
    cli_promotions,
    cli_retention,
    cli_searches,
    cli_tracking,
    cli_training,
    cli_workers,
)
from steelyard.cli_gates import gates
from steelyard.cli_signatures import bom, verify
from steelyard.cli_weights import diff, inspect
from steelyard.client import Client
from steelyard.settings import Credentials, find_credentials, keep_credentials
from steelyard.terminal import echo_json, fail, new_table, print_table, show_verdicts, with_client
from steelyard_contracts.errors import GateRefusedError, SteelyardError
from steelyard_contracts.lineage import Direction
from steelyard_contracts.promotions import GateVerdict
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.weights import QuarantineView
from steelyard_contracts.wire import faults_in_words
from steelyard_contracts.words import size_in_words

_SORTS = ["updated", "created", "name", "size", "downloads", "metric"]


class _Commands(click.Group):
    """Turns errors into one sentence on stderr and the status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GateRefusedError as error:
            click.echo("What the gates say:", err=True)
            show_verdicts(map(GateVerdict.model_validate, error.details.get("verdicts", [])), err=True)
            fail("refused", str(error))
        except SteelyardError as error:
            fail("error", str(error))
        except BrokenPipeError:
            raise  # whoever read has had enough, as `head` does; click ends quietly
        except OSError as error:
            fail("error", f"{error.filename or 'a file'}: {error.strerror or error}")
        except ValidationError as error:
            fail("error", faults_in_words(error))


@click.group(cls=_Commands)
@click.version_option(package_name="steelyard")
def main() -> None:
    """Steelyard: datasets and weights under version control, from training to devices."""


cli_names.add_to(main)
cli_jobs.add_to(main)
cli_evaluations.add_to(main)
cli_fleet.add_to(main)
cli_handover.add_to(main)
cli_promotions.add_to(main)
cli_retention.add_to(main)
cli_searches.add_to(main)
cli_workers.add_to(main)
cli_training.add_to(main)
cli_tracking.add_to(main)


@main.command()
@click.option("--url", help="Address of the server.", default=None)
@click.option("--token", help="The token; asked for when it is not given.", default=None)
def login(url: str | None, token: str | None) -> None:
    """Keep a server's address and a token for the commands that follow."""
    address = url or click.prompt("Server", default="http://127.0.0.1:8000")
    secret = token or click.prompt("Token", hide_input=True)
    who = Client(address, secret).whoami()
    path = keep_credentials(Credentials(address.rstrip("/"), secret))
    click.echo(f"You are {who['name']} at {address} (kept in {path}).")


@main.command()
@with_client
def whoami(client: Client) -> None:
    """Whom the token speaks for."""
    who = client.whoami()
    click.echo(f"{who['name']} ({who['scope']}) at {find_credentials().url}")
    for team, role in who["teams"].items():
        click.echo(f"  {team}: {role}")


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("ref")
@click.option("--message", "-m", default="", help="The version's title.")
@with_client
def push(client: Client, source: Path, ref: str, message: str) -> None:
    """Upload SOURCE, a file or folder, as a new version of REF (team/model or datasets:/team/name)."""
    version = client.push(source, ref, message=message)
    click.echo(f"{ref} is now {version.version} ({version.files} files, {size_in_words(version.size)})")


@main.command()
@click.argument("ref")
@click.argument("target", type=click.Path(path_type=Path), required=False)
@with_client
def pull(client: Client, ref: str, target: Path | None) -> None:
    """Download REF into TARGET, or into the cache; prints the folder."""
    click.echo(client.pull(ref, target))


@main.command()
@click.argument("ref")
@with_client
def show(client: Client, ref: str) -> None:
    """A version: its names, measures, variants and lineage."""
    version = client.version(ref)
    name = click.style(version.version, bold=True)
    click.echo(f"{name} {version.commit[:12]} on {version.branch}: {version.title} ({version.author})")
    click.echo(f"{version.files} files, {size_in_words(version.size)}; aliases: {', '.join(version.aliases) or 'none'}")
    if version.quarantined:
        click.echo(f"  in quarantine: `steelyard quarantine show {ref}` says why")
    for one in version.evaluations:
        measures = ", ".join(f"{name} {value:.4g}" for name, value in one.metrics.items())
        click.echo(f"  on {one.dataset} in {one.runtime}: {measures}")
    for branch, label in version.variants.items():
        click.echo(f"  variant {branch}: {label}")
    for edge in version.lineage:
        click.echo(f"  {edge.target} {edge.relation} {edge.source}")


@main.command()
@click.argument("ref")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_client
def versions(client: Client, ref: str, *, limit: int, as_json: bool) -> None:
    """The versions of the repository REF, newest first."""
    found = list(islice(client.versions(ref), limit))
    if as_json:
        echo_json(found)
        return
    table = new_table("version", "branch", "title", "files", "size", "by", "")
    for one in found:
        held = "quarantine" if one.quarantined else ""
        table.add_row(one.version, one.branch, one.title, str(one.files), size_in_words(one.size), one.author, held)
    print_table(table)


@main.command()
@click.argument("ref")
@click.option("--descendants", is_flag=True, help="What was made from it, instead of what it was made from.")
@click.option("--depth", type=int, default=None, help="Steps to walk; all when it is not given.")
@click.option("--json", "as_json", is_flag=True, help="The edges as JSON.")
@with_client
def lineage(client: Client, ref: str, *, descendants: bool, depth: int | None, as_json: bool) -> None:
    """Show what the version REF (team/model@v3, datasets:/team/data@v1) was made from, as a tree."""
    direction = Direction.DESCENDANTS if descendants else Direction.ANCESTORS
    edges = client.lineage(ref, direction=direction, depth=depth)
    if as_json:
        echo_json(edges)
        return
    from steelyard.trees import show_lineage

    one = parse_ref(ref)
    show_lineage(str(one.at(client.version(one).version)), edges, direction)


@main.command()
@click.argument("words", nargs=-1)
@click.option("--datasets", "of_datasets", is_flag=True, help="Look among datasets; models otherwise.")
@click.option("--tag", "tags", multiple=True)
@click.option("--task", help="Such as image-classification.")
@click.option("--library", help="Such as transformers.")
@click.option("--framework", help="Of the weights, by their content, such as onnx.")
@click.option("--license", "license_name", help="Such as apache-2.0.")
@click.option("--language", help="Such as en.")
@click.option("--size", help="Of the newest version, such as '<1GB'.")
@click.option("--metric", "metrics", multiple=True, help="A measure, such as 'accuracy>0.9'.")
@click.option("--sort", type=click.Choice(_SORTS), default="updated", help="'metric' is by the first --metric.")
@click.option("--limit", type=click.IntRange(min=1), default=50)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_client
def search(
    client: Client,
    words: tuple[str, ...],
    *,
    of_datasets: bool,
    tags: tuple[str, ...],
    license_name: str | None,
    metrics: tuple[str, ...],
    limit: int,
    as_json: bool,
    **conditions: Any,
) -> None:
    """Find repositories: each of WORDS must begin a word of the name, a tag or the card."""
    kind = RepositoryKind.DATASET if of_datasets else RepositoryKind.MODEL
    found = client.search(" ".join(words), kind=kind, tags=tags, license=license_name, metrics=metrics, **conditions)
    hits = list(islice(found, limit))
    if as_json:
        echo_json(hits)
        return
    measures = list(dict.fromkeys(name for hit in hits for name in hit.measures))
    table = new_table("name", "task", "library", "size", "downloads", *measures, "updated")
    for hit in hits:
        values = [f"{hit.measures[name]:.4g}" if name in hit.measures else "" for name in measures]
        about = [hit.task, hit.library, size_in_words(hit.size), str(hit.downloads)]
        table.add_row(hit.name, *about, *values, f"{hit.updated_at:%Y-%m-%d}")
    print_table(table)


@main.group()
def quarantine() -> None:
    """See why a version is not downloaded; let it go out with a reason; put it back."""


@quarantine.command("show")
@click.argument("ref")
@with_client
def show_quarantine(client: Client, ref: str) -> None:
    """Whether REF is in quarantine, and what is dangerous in it."""
    _echo_quarantine(client.quarantine(ref))


@quarantine.command("lift")
@click.argument("ref")
@click.option("--reason", required=True, help="Why it may go out all the same; kept and shown.")
@with_client
def lift_quarantine(client: Client, ref: str, reason: str) -> None:
    """Let the version REF go out with the dangers that are known now."""
    _echo_quarantine(client.lift_quarantine(ref, reason=reason))


@quarantine.command("restore")
@click.argument("ref")
@click.option("--reason", required=True)
@with_client
def restore_quarantine(client: Client, ref: str, reason: str) -> None:
    """Put REF back into quarantine."""
    _echo_quarantine(client.restore_quarantine(ref, reason=reason))


main.add_command(gates)
main.add_command(verify)
main.add_command(bom)
main.add_command(inspect)
main.add_command(diff)


def _echo_quarantine(view: QuarantineView) -> None:
    said = {"none": "not in quarantine", "quarantined": "in quarantine", "lifted": "out of quarantine by a lift"}
    click.echo(f"{view.version} is {said[view.state]}.")
    for finding in view.findings:
        click.echo(f"  {finding.path}: {finding.sentence}")
    for one in view.history:
        end = f"; ended {one.ended_by or ''} {one.ended_reason}" if one.ended_at else ""
        click.echo(f"  lifted by {one.lifted_by} on {one.lifted_at:%Y-%m-%d %H:%M}: {one.reason}{end}")
