"""Changing a card without a client: its text becomes README.md of a new version of main."""

from __future__ import annotations

from steelyard_contracts.errors import InvalidInputError, TooLargeError
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.repos import commits
from steelyard_platform.repos.blobs import Pack
from steelyard_platform.repos.card import CARD_PATH, MAX_CARD_BYTES, faults_of, parse_metadata, refresh_card, split_card
from steelyard_platform.repos.models import Repository, Version


def edit_card(*, repository: Repository, text: str, title: str, seen: int, actor: Actor) -> Version | None:
    """Commits the text; returns the version, which is the head as it was when the text is the same.

    Args:
        repository: with its team.
        text: all of README.md, metadata included.
        title: of the version.
        seen: the number of the version that the author began with; 0 for none.
        actor: the author.

    Raises:
        ForbiddenError, AuthenticationError.
        InvalidInputError: the metadata cannot be read, and why.
        TooLargeError.
        StaleParentError: somebody else has changed README.md meanwhile.
    """
    demand(actor, Action.WRITE, repository.resource)
    data = check_card(text)
    with Pack() as pack:
        operation = commits.AddFile(CARD_PATH, pack.add(data), is_lfs=False)
        pack.store(repository.team)
    version = commits.commit(
        repository=repository,
        branch_name=DEFAULT_REVISION,
        operations=[operation],
        message=commits.Message(title.strip() or f"Edit {CARD_PATH}"),
        actor=actor,
        seen=seen,
    )
    if version is not None:
        refresh_card(repository, version)
    return version


def check_card(text: str) -> bytes:
    """The file that the text becomes. Raises: InvalidInputError, TooLargeError."""
    data = text.replace("\r\n", "\n").encode(errors="replace")
    if len(data) > MAX_CARD_BYTES:
        raise TooLargeError(f"The card has {len(data)} bytes; at most {MAX_CARD_BYTES} are shown.")
    metadata, fault = parse_metadata(split_card(text)[0])
    faults = [fault] if fault else faults_of(metadata)
    if faults:
        raise InvalidInputError(" ".join(faults))
    return data
