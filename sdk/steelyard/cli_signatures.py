"""`steelyard verify` and `steelyard bom`: what vouches for a version, checked and shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from steelyard.client import Client
from steelyard.settings import Credentials, find_credentials
from steelyard_contracts.errors import AuthenticationError, InvalidInputError

if TYPE_CHECKING:
    from steelyard.verifying import PublishedKey

_SIGNATURE_FILE = "model.sig"
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--signature", type=_FILE, help="The signature; PATH/model.sig when neither this nor --ref is given.")
@click.option("--ref", help="Take the signature of this version, such as team/model@v1, from the server.")
@click.option("--key", type=_FILE, help="Trust this public key (PEM), and no other.")
@click.option("--url", help="Trust the keys of this server; of the one you are logged in to when not given.")
@click.option("--ignore", "ignored", multiple=True, type=click.Path(path_type=Path), help="Leave this path alone.")
def verify(
    path: Path, signature: Path | None, ref: str | None, key: Path | None, url: str | None, ignored: tuple[Path, ...]
) -> None:
    """Check that PATH holds exactly what was signed; the status is 1 and each fault a sentence if it does not."""
    from steelyard.model_signature import SignatureError  # here: most commands need no cryptography
    from steelyard.verifying import faults_of, trusted_statement

    kept = path / _SIGNATURE_FILE
    file = signature or (None if ref else kept)
    try:
        bundle = _bundle(file, ref, url)
        statement = trusted_statement(bundle, _keys(key, url))
        faults = faults_of(path, statement, ignored=[*ignored, kept if file is None else file])
    except SignatureError as error:
        faults = [str(error)]
    for fault in faults:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {fault}", err=True)
    if faults:
        sys.exit(1)
    notes = statement.notes
    what = f" of {notes['repository']}@{notes['version']}" if {"repository", "version"} <= notes.keys() else ""
    click.echo(f"{path} holds the {len(statement.files)} files{what} as they were signed.")


@click.command()
@click.argument("ref")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="A file; printed when not given.")
def bom(ref: str, output: Path | None) -> None:
    """The bill of materials of the model version REF, as CycloneDX JSON."""
    with _client(None) as client:
        text = json.dumps(client.bom(ref), indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n")


def _bundle(file: Path | None, ref: str | None, url: str | None) -> bytes:
    if file is None and ref is not None:
        with _client(url) as client:
            return client.signature(ref)
    if file is None or not file.exists():
        raise InvalidInputError(
            f"{file} does not exist; name the signature with --signature, or the version with --ref."
        )
    return file.read_bytes()


def _keys(key: Path | None, url: str | None) -> list[PublishedKey]:
    from steelyard.verifying import PublishedKey

    if key is not None:
        return [PublishedKey.of(key.read_text(errors="replace"))]
    with _client(url) as client:
        return client.signing_keys()


def _client(url: str | None) -> Client:
    """Without a token where there is none: keys, and what is public, are for everybody."""
    try:
        found = find_credentials(url)
    except AuthenticationError:
        if url is None:
            raise
        found = Credentials(url, "")
    return Client(found.url, found.token, quiet=True)
