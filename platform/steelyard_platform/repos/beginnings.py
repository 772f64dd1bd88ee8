"""The first commit that the Hub makes in every new repository, for installations that want it too.

Here a repository begins empty, and v1 is the first thing somebody pushed. Scripts written for the Hub can count on the
Hub's first commit all the same: they delete its `.gitattributes`, or tag a repository that they have just made.
"""

from __future__ import annotations

from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos import commits, patterns
from steelyard_platform.repos.blobs import Pack
from steelyard_platform.repos.models import Repository


def make_first_commit(repository: Repository, actor: Actor) -> None:
    """The caller has just made the repository, which is what gives it the right."""
    with Pack() as pack:
        sha256 = pack.add(patterns.default_attributes().encode())
        pack.store(repository.team)
    commits.commit(
        repository=repository,
        branch_name=DEFAULT_REVISION,
        operations=[commits.AddFile(patterns.ATTRIBUTES_PATH, sha256, is_lfs=False)],
        message=commits.Message("initial commit"),
        actor=actor,
    )
