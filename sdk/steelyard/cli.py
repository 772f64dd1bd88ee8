"""The `steelyard` command: the SDK for shells, with progress bars and sentences instead of tracebacks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, ValidationError

from steelyard import cli_names, cli_promotions, cli_retention
from steelyard.cli_signatures import bom, verify
from steelyard.cli_weights import diff, inspect
from steelyard.client import Client
from steelyard.settings import Credentials, find_credentials, keep_credentials
from steelyard.terminal import fail as _fail
from steelyard.terminal import show as _show
from steelyard.terminal import show_verdicts
from steelyard.terminal import table as _table
from steelyard.terminal import with_client as _with_client
from steelyard_contracts.errors import GateRefusedError, SteelyardError
from steelyard_contracts.fleet import RolloutState, RolloutView
from steelyard_contracts.jobs import JobState, JobView, VariantKind
from steelyard_contracts.lineage import Direction
from steelyard_contracts.promotions import GateVerdict
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.weights import QuarantineView

_SORTS = ["updated", "created", "name", "size", "downloads", "metric"]


class _Commands(click.Group):
    """Turns errors into one sentence on stderr and the status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GateRefusedError as error:
            click.echo("What the gates say:", err=True)
            show_verdicts(map(GateVerdict.model_validate, error.details.get("verdicts", [])), err=True)
            _fail("refused", str(error))
        except SteelyardError as error:
            _fail("error", str(error))
        except OSError as error:
            _fail("error", f"{error.filename or 'a file'}: {error.strerror or error}")
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            _fail("error", faults)


@click.group(cls=_Commands)
@click.version_option(package_name="steelyard")
def main() -> None:
    """Steelyard: datasets and weights under version control, from training to devices."""


cli_names.add_to(main)
cli_promotions.add_to(main)
cli_retention.add_to(main)


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
@_with_client
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
@_with_client
def push(client: Client, source: Path, ref: str, message: str) -> None:
    """Upload SOURCE, a file or folder, as a new version of REF (team/model or datasets:/team/name)."""
    version = client.push(source, ref, message=message)
    click.echo(f"{ref} is now {version.version} ({version.files} files, {_size(version.size)})")


@main.command()
@click.argument("ref")
@click.argument("target", type=click.Path(path_type=Path), required=False)
@_with_client
def pull(client: Client, ref: str, target: Path | None) -> None:
    """Download REF into TARGET, or into the cache; prints the folder."""
    click.echo(client.pull(ref, target))


@main.command()
@click.argument("ref")
@_with_client
def show(client: Client, ref: str) -> None:
    """A version: its names, measures, variants and lineage."""
    version = client.version(ref)
    name = click.style(version.version, bold=True)
    click.echo(f"{name} {version.commit[:12]} on {version.branch}: {version.title} ({version.author})")
    click.echo(f"{version.files} files, {_size(version.size)}; aliases: {', '.join(version.aliases) or 'none'}")
    for one in version.evaluations:
        measures = ", ".join(f"{name} {value:.4g}" for name, value in one.metrics.items())
        click.echo(f"  on {one.dataset} in {one.runtime}: {measures}")
    for branch, label in version.variants.items():
        click.echo(f"  variant {branch}: {label}")
    for edge in version.lineage:
        click.echo(f"  {edge.target} {edge.relation} {edge.source}")


@main.command()
@click.argument("ref")
@click.option("--descendants", is_flag=True, help="What was made from it, instead of what it was made from.")
@click.option("--depth", type=int, default=None, help="Steps to walk; all when it is not given.")
@click.option("--json", "as_json", is_flag=True, help="The edges as JSON.")
@_with_client
def lineage(client: Client, ref: str, *, descendants: bool, depth: int | None, as_json: bool) -> None:
    """Show what the version REF (team/model@v3, datasets:/team/data@v1) was made from, as a tree."""
    direction = Direction.DESCENDANTS if descendants else Direction.ANCESTORS
    edges = client.lineage(ref, direction=direction, depth=depth)
    if as_json:
        _echo_json(edges)
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
@_with_client
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
        _echo_json(hits)
        return
    measures = list(dict.fromkeys(name for hit in hits for name in hit.measures))
    table = _table("name", "task", "library", "size", "downloads", *measures, "updated")
    for hit in hits:
        values = [f"{hit.measures[name]:.4g}" if name in hit.measures else "" for name in measures]
        about = [hit.task, hit.library, _size(hit.size), str(hit.downloads)]
        table.add_row(hit.name, *about, *values, f"{hit.updated_at:%Y-%m-%d}")
    _show(table)


@main.command()
@click.argument("dataset")
@click.argument("output")
@click.option("--base", help="Start from this version instead of from scratch.")
@click.option("--freeze", type=click.Choice(["none", "backbone"]), default="none")
@click.option(
    "--unfrozen-stages", type=int, default=0, help="Last stages of a frozen backbone that train all the same."
)
@click.option("--epochs", type=int, default=10)
@click.option("--batch-size", type=int, default=64)
@click.option("--learning-rate", type=float, default=3e-3)
@click.option("--seed", type=int, default=0)
@click.option("--branch", default="main", help="Branch of OUTPUT that receives the version.")
@click.option("--wait/--no-wait", default=True)
@_with_client
def train(client: Client, dataset: str, output: str, *, wait: bool, **fields: Any) -> None:
    """Train a classifier on DATASET and commit it to OUTPUT."""
    _follow(client, client.train(dataset=dataset, output=output, **fields), wait=wait)


@main.command()
@click.argument("model")
@click.argument("dataset")
@click.option("--wait/--no-wait", default=True)
@_with_client
def evaluate(client: Client, model: str, dataset: str, *, wait: bool) -> None:
    """Measure MODEL on DATASET's validation split."""
    _follow(client, client.evaluate(model, dataset), wait=wait)


@main.command()
@click.argument("model")
@click.argument("dataset")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(list(VariantKind)),
    help="All when none is named.",
)
@click.option("--max-accuracy-drop", type=float, default=0.01)
@click.option("--wait/--no-wait", default=True)
@_with_client
def optimise(
    client: Client,
    model: str,
    dataset: str,
    *,
    variants: tuple[str, ...],
    max_accuracy_drop: float,
    wait: bool,
) -> None:
    """Make ONNX variants of MODEL, calibrated and measured on DATASET."""
    chosen = list(variants) or list(VariantKind)
    job = client.optimise(model=model, dataset=dataset, variants=chosen, max_accuracy_drop=max_accuracy_drop)
    _follow(client, job, wait=wait)


@main.command()
@click.argument("model")
@click.option("--file", "path", default=None, help="One file of the version; all that torch saved when none is named.")
@click.option("--wait/--no-wait", default=True)
@_with_client
def convert(client: Client, model: str, *, path: str | None, wait: bool) -> None:
    """Write the pickled weights of MODEL as safetensors, on a side branch."""
    _follow(client, client.convert(model, path=path), wait=wait)


@main.group()
def quarantine() -> None:
    """See why a version is not downloaded; let it go out with a reason; put it back."""


@quarantine.command("show")
@click.argument("ref")
@_with_client
def show_quarantine(client: Client, ref: str) -> None:
    """Whether REF is in quarantine, and what is dangerous in it."""
    _echo_quarantine(client.quarantine(ref))


@quarantine.command("lift")
@click.argument("ref")
@click.option("--reason", required=True, help="Why it may go out all the same; kept and shown.")
@_with_client
def lift_quarantine(client: Client, ref: str, reason: str) -> None:
    """Let the version REF go out with the dangers that are known now."""
    _echo_quarantine(client.lift_quarantine(ref, reason=reason))


@quarantine.command("restore")
@click.argument("ref")
@click.option("--reason", required=True)
@_with_client
def restore_quarantine(client: Client, ref: str, reason: str) -> None:
    """Put REF back into quarantine."""
    _echo_quarantine(client.restore_quarantine(ref, reason=reason))


@main.group()
def jobs() -> None:
    """List, watch and cancel jobs."""


@jobs.command("list")
@click.option("--team", default=None)
@click.option("--state", type=click.Choice(list(JobState)), default=None)
@_with_client
def list_jobs(client: Client, team: str | None, state: str | None) -> None:
    table = _table("job", "kind", "state", "progress", "by", "message")
    for job in client.jobs(team=team, state=JobState(state) if state else None):
        table.add_row(str(job.id), job.kind, job.state, f"{job.progress:.0%}", job.created_by, job.error or job.message)
    _show(table)


@jobs.command("watch")
@click.argument("job")
@_with_client
def watch_job(client: Client, job: str) -> None:
    """Follow a job to its end."""
    _follow(client, client.job(job), wait=True)


@jobs.command("logs")
@click.argument("job")
@_with_client
def show_logs(client: Client, job: str) -> None:
    after = 0
    while lines := client.logs(job, after=after):
        for line in lines:
            click.echo(line.text)
        after = lines[-1].id


@jobs.command("cancel")
@click.argument("job")
@_with_client
def cancel_job(client: Client, job: str) -> None:
    view = client.cancel(job)
    click.echo("The job is cancelled." if view.state.is_final else "The job stops at its worker's next heartbeat.")


@main.group()
def gates() -> None:
    """Rules that versions must meet before an alias may name them, or they are released."""


@gates.command("add")
@click.argument("ref")
@click.argument("rule")
@click.option("--for", "applies_to", default="*", help="An alias, 'release', or '*' for all.")
@_with_client
def add_gate(client: Client, ref: str, rule: str, applies_to: str) -> None:
    """Add a rule, such as "accuracy >= 0.95 on team/digits@v1", to the model REF."""
    gate = client.add_gate(ref, rule, applies_to=applies_to)
    click.echo(f"Gate {gate.id}: {gate.rule} (for {gate.applies_to})")


@gates.command("list")
@click.argument("ref")
@_with_client
def list_gates(client: Client, ref: str) -> None:
    for gate in client.gates(ref):
        click.echo(f"{gate.id}: {gate.rule} (for {gate.applies_to})")


@gates.command("remove")
@click.argument("ref")
@click.argument("gate", type=int)
@_with_client
def remove_gate(client: Client, ref: str, gate: int) -> None:
    """Remove the gate with the number GATE from the model REF."""
    client.remove_gate(ref, gate)
    click.echo(f"Gate {gate} is removed.")


@gates.command("check")
@click.argument("ref")
@click.option("--for", "applies_to", default="*", help="An alias, 'release', or '*' for the rules of all.")
@_with_client
def check_gates(client: Client, ref: str, applies_to: str) -> None:
    """What each gate says of the version REF now; the status is 1 when one refuses."""
    verdicts = client.verdicts(ref, applies_to)
    show_verdicts(verdicts)
    if not all(verdict.passed for verdict in verdicts):
        sys.exit(1)


@main.command()
@click.argument("model")
@click.option("--variant", help="A variant of that version, e.g. onnx-int8.")
@click.option("--to", "devices", multiple=True, help="Devices to roll it out to, in this order.")
@click.option("--first", type=int, default=1, help="Devices in the first stage.")
@click.option("--max-failures", type=int, default=0)
@click.option("--reason", default="")
@click.option("--override", is_flag=True, help="Past gates that refuse; for maintainers, with --reason.")
@_with_client
def release(
    client: Client,
    model: str,
    variant: str | None,
    devices: tuple[str, ...],
    first: int,
    max_failures: int,
    reason: str,
    *,
    override: bool,
) -> None:
    """Sign MODEL for devices and, with --to, roll it out to them."""
    made = client.release(model, variant=variant, reason=reason, override=override)
    click.echo(f"Release {made.digest[:12]}: {made.repository}@{made.version}, {_size(made.size)}")
    for said in made.overridden:
        click.echo(f"  overridden: {said}")
    if not devices:
        return
    rollout = client.roll_out(made.id, list(devices), first=first, max_failures=max_failures)
    final = client.wait_for_rollout(rollout.id)
    _show_rollout(final)
    if final.state is not RolloutState.COMPLETED:
        sys.exit(1)


@main.group()
def devices() -> None:
    """Enrol, accept, list and revoke devices."""


@devices.command("list")
@click.argument("team")
@_with_client
def list_devices(client: Client, team: str) -> None:
    table = _table("device", "state", "runs", "last seen")
    for device in client.devices(team):
        table.add_row(device.name, device.state, device.running_version or "nothing", _seen(device.last_seen_at))
    _show(table)


@devices.command("running")
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="The devices as JSON.")
@_with_client
def list_deployments(client: Client, ref: str, *, as_json: bool) -> None:
    """List the devices that run REF, or anything made from it; of a dataset (datasets:/team/data@v3), trained on it."""
    found = client.deployments(ref)
    if as_json:
        _echo_json(list(found))
        return
    table = _table("device", "team", "state", "runs", "last seen")
    for one in found:
        table.add_row(one.device, one.team, one.state, one.version, _seen(one.last_seen_at))
    _show(table)


@devices.command("enrolment-token")
@click.argument("team")
@_with_client
def enrolment_token(client: Client, team: str) -> None:
    """Print a token that devices enrol with, and that opens nothing else."""
    click.echo(client.enrolment_token(team))


@devices.command("accept")
@click.argument("team")
@click.argument("name")
@_with_client
def accept_device(client: Client, team: str, name: str) -> None:
    client.accept_device(team, name)
    click.echo(f"{name} is accepted.")


@devices.command("revoke")
@click.argument("team")
@click.argument("name")
@_with_client
def revoke_device(client: Client, team: str, name: str) -> None:
    client.revoke_device(team, name)
    click.echo(f"{name} is revoked; its key opens nothing any more.")


main.add_command(verify)
main.add_command(bom)
main.add_command(inspect)
main.add_command(diff)


def _follow(client: Client, job: JobView, *, wait: bool) -> None:
    """Shows a job's progress to its end; the status is 1 unless it succeeded."""
    if not wait:
        click.echo(f"Job {job.id} is queued.")
        return
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    ]
    with Progress(*columns) as progress:
        bar = progress.add_task(f"{job.kind} {str(job.id)[:8]}", total=1.0)
        final = client.wait(
            job.id,
            on_change=lambda view: progress.update(
                bar, completed=view.progress, description=escape(view.message or view.state)
            ),
        )
    if final.state is JobState.SUCCEEDED:
        for name, value in final.result.items():
            click.echo(f"  {name}: {_result(value)}")
        return
    _fail(str(final.state), final.error or final.message)


def _result(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_result(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)


def _show_rollout(rollout: RolloutView) -> None:
    table = _table("device", "stage", "state", "detail", title=f"rollout {rollout.state}")
    for device in rollout.devices:
        table.add_row(device.device, str(device.stage + 1), device.state, device.detail)
    _show(table)


def _echo_quarantine(view: QuarantineView) -> None:
    said = {"none": "not in quarantine", "quarantined": "in quarantine", "lifted": "out of quarantine by a lift"}
    click.echo(f"{view.version} is {said[view.state]}.")
    for finding in view.findings:
        click.echo(f"  {finding.path}: {finding.sentence}")
    for one in view.history:
        end = f"; ended {one.ended_by or ''} {one.ended_reason}" if one.ended_at else ""
        click.echo(f"  lifted by {one.lifted_by} on {one.lifted_at:%Y-%m-%d %H:%M}: {one.reason}{end}")


def _seen(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"


def _echo_json(models: Sequence[BaseModel]) -> None:
    click.echo(json.dumps([one.model_dump(mode="json") for one in models], indent=2))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - decimal units
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
