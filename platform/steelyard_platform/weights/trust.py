"""Pickled networks that a team saved itself: who may have them although they are in quarantine.

Some training programs save and load nothing but a pickled `torch.nn.Module`, which names its classes; to the scanner
that is an import like any other, and the version is in quarantine. Whoever trains with such a program needs the file
back. `check_own_download` lets it go to those who may write to the repository, and could have put it there themselves,
if a run saved it and nothing was found in it but that it names parts of networks of that program and of torch.
Everybody else is refused, as by `check_download`.

This keeps out what somebody slipped into a file. It does not make the file safe to load from a colleague who means
harm: such a program obeys what a network says of itself.
"""

from __future__ import annotations

import re

from steelyard_contracts.weights import Finding
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.repos.models import Entry
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.weights.quarantine import Danger, check_download, dangers_in

# Classes, by the capital they begin with: networks, their parts, what a classifier does to pictures before; and
# nothing that fetches or loads.
_CLASSES = re.compile(
    r"(?:ultralytics\.nn\.tasks|ultralytics\.nn\.modules\.[a-z_.]+|torch\.nn\.modules\.[a-z_.]+"
    r"|torchvision\.transforms\.transforms)\.[A-Z]\w*"
)
_NAMES = frozenset(
    {
        "__builtin__.set",
        "builtins.set",
        "torch.Size",
        "torch._utils._rebuild_parameter",
        "torch.nn.parameter.Parameter",
        "torchvision.transforms.functional.InterpolationMode",
        "ultralytics.utils.IterableSimpleNamespace",
        "collections.OrderedDict",
        "collections.defaultdict",
        "datetime.datetime",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.WindowsPath",
        "pathlib._local.Path",
        "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath",
    }
)
_CODE = "pickle-import"


def check_own_download(snapshot: Snapshot, entry: Entry, actor: Actor) -> None:
    """Whether this file of the version may go out to this actor. One that went out of quarantine leaves an audit row.

    Raises: QuarantinedError, BeingScannedError.
    """
    version, repository = snapshot.version, snapshot.repository
    writes = may(actor, Action.WRITE, repository.resource)
    if version is None or version.job is None or not writes or entry.blob is None:
        check_download(snapshot, actor)
        return
    dangers = dangers_in(version)
    is_a_network = bool(dangers) and all(danger.path == entry.path and _is_a_network(danger) for danger in dangers)
    if not is_a_network:
        check_download(snapshot, actor)
        return
    audit.record(actor, "fetch own pickled network", repository.full_name, version=version.label, path=entry.path)


def _is_a_network(danger: Danger) -> bool:
    return all(_names_classes_alone(finding) for finding in danger.findings)


def _names_classes_alone(finding: Finding) -> bool:
    named = finding.imports
    return finding.code == _CODE and bool(named) and all(name in _NAMES or _CLASSES.fullmatch(name) for name in named)
