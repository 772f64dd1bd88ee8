"""Reading a version's files. Every query costs what it returns, not what the repository holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Sum, Value

from steelyard_contracts.errors import EntryNotFoundError
from steelyard_platform.repos.models import Branch, Entry, Version
from steelyard_platform.storage.batches import batches

# A folder takes one row to find; fetching a page of rows for each would read a million to show a thousand.
_FIRST_BATCH = 8
_FOLDERS_AT_ONCE = 100
_RARE = 1000


@dataclass(frozen=True, slots=True)
class Layer:
    """A branch as it was at a version number."""

    branch_id: int
    number: int


def layers_of(version: Version) -> list[Layer]:
    """Nearest first: the version's own branch, then those that show through."""
    return _layers(version.branch, version.number)


def _layers(branch: Branch, number: int) -> list[Layer]:
    layers = [Layer(branch.pk, number)]
    while branch.base_id is not None and branch.sees_base:
        base = Version.objects.select_related("branch").get(pk=branch.base_id)
        layers.append(Layer(base.branch_id, base.number))
        branch = base.branch
    return layers


def branch_layers(branch: Branch) -> list[Layer]:
    """A branch's newest state, also before its first commit."""
    return _layers(branch, branch.head.number if branch.head else 0)


def entries_of(layers: list[Layer]) -> QuerySet[Entry]:
    """The live entries, with their blobs, in no order yet."""
    nearer: list[Layer] = []
    found = Q()
    for layer in layers:
        condition = _alive(layer)
        if nearer:
            in_front = Entry.objects.filter(_any_alive(nearer), path=OuterRef("path"))
            condition = Q(condition, ~Exists(in_front))
        found |= condition
        nearer.append(layer)
    return Entry.objects.filter(found, blob__isnull=False).select_related("blob__xet")


def _alive(layer: Layer) -> Q:
    return Q(branch_id=layer.branch_id) & _alive_since(layer)


def _alive_since(layer: Layer) -> Q:
    return Q(added_in__lte=layer.number) & (Q(removed_in=None) | Q(removed_in__gt=layer.number))


def _any_alive(layers: list[Layer]) -> Q:
    found = Q()
    for layer in layers:
        found |= _alive(layer)
    return found


def entries_at(version: Version | None) -> QuerySet[Entry]:
    return entries_of(layers_of(version)) if version else Entry.objects.none()


def rare_entries_at(version: Version, condition: Q) -> QuerySet[Entry]:
    """Those that meet a condition which few entries of all repositories do: one query while none does.

    A database that does not know how few would read the whole version for it. The sum hides the index by branch from
    it, so that it begins with the condition.
    """
    layers = layers_of(version)
    somewhere = Q()
    for layer in layers:
        somewhere |= Q(on=layer.branch_id) & _alive_since(layer)
    rare = Entry.objects.annotate(on=F("branch_id") + 0).filter(condition, somewhere)
    paths = list(rare.values_list("path", flat=True)[:_RARE])
    return entries_of(layers).filter(condition, path__in=paths) if paths else Entry.objects.none()


def rare_contents_among(versions: Sequence[Version], condition: Q) -> dict[int, set[str]]:
    """The contents that meet a condition which few entries do, by the version that holds them: for lists.

    Costs a query for each step of side branches, and one while nothing meets the condition.
    """
    layers = _layers_among(versions)
    everywhere = [layer for found in layers.values() for layer in found]
    if not everywhere:
        return {}
    branches, numbers = {layer.branch_id for layer in everywhere}, [layer.number for layer in everywhere]
    met_then = Q(added_in__lte=max(numbers)) & (Q(removed_in=None) | Q(removed_in__gt=min(numbers)))
    rare = Entry.objects.annotate(on=F("branch_id") + 0).filter(condition, met_then, on__in=branches)[:_RARE]
    wanted = {entry.pk: entry.path for entry in rare}
    if not wanted:
        return {}
    on: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in Entry.objects.filter(met_then, branch__in=branches, path__in=set(wanted.values())):
        on[entry.branch_id].append(entry)
    held = {key: _held(found, on, wanted.keys()) for key, found in layers.items()}
    return {key: contents for key, contents in held.items() if contents}


def _layers_among(versions: Sequence[Version]) -> dict[int, list[Layer]]:
    """`layers_of` each, by a query for each step of side branches."""
    layers = {version.pk: [Layer(version.branch_id, version.number)] for version in versions}
    below = {version.pk: version.branch for version in versions}
    while below := {key: branch for key, branch in below.items() if branch.base_id and branch.sees_base}:
        bases = Version.objects.select_related("branch").in_bulk({branch.base_id for branch in below.values()})
        for key, branch in below.items():
            assert branch.base_id is not None  # noqa: S101 - see the condition above
            base = bases[branch.base_id]
            layers[key].append(Layer(base.branch_id, base.number))
            below[key] = base.branch
    return layers


def _held(layers: list[Layer], on: Mapping[int, list[Entry]], wanted: Collection[int]) -> set[str]:
    """What a version holds of the wanted entries: nearer layers hide the same paths of those behind them."""
    found, hidden = set[str](), set[str]()
    for layer in layers:
        alive = [entry for entry in on[layer.branch_id] if _is_alive(entry, layer)]
        found |= {str(entry.blob_id) for entry in alive if entry.pk in wanted and entry.path not in hidden}
        hidden |= {entry.path for entry in alive}
    return found


def _is_alive(entry: Entry, layer: Layer) -> bool:
    return entry.added_in <= layer.number and (entry.removed_in is None or entry.removed_in > layer.number)


def entry_at(version: Version | None, path: str) -> Entry:
    """Raises: EntryNotFoundError."""
    entry = entries_at(version).filter(path=path).first()
    if entry is None:
        where = version.label if version else "an empty repository"
        raise EntryNotFoundError(f"There is no file {path!r} in {where}.", path=path)
    return entry


@dataclass(frozen=True, slots=True)
class Folder:
    path: str


def page_of_tree(
    version: Version | None, *, folder: str = "", recursive: bool = False, after: str = "", limit: int = 1000
) -> tuple[list[Entry | Folder], str | None]:
    """One page of a folder's content, sorted by path, and the path to continue after (None at the end).

    Without `recursive`, a sub-folder is one item, found by skipping over what it holds: a folder of a million
    files costs one query, not a million rows.

    Raises:
        EntryNotFoundError: there is no such folder.
    """
    prefix = f"{folder}/" if folder else ""
    entries = entries_at(version).order_by("path")
    if prefix:
        # A half-open range instead of LIKE: it uses the index on both databases, and '_' is no wildcard.
        entries = entries.filter(path__gte=prefix, path__lt=prefix[:-1] + "0")
        if not entries.exists():
            raise EntryNotFoundError(f"There is no folder {folder!r}.", path=folder)
    if recursive:
        found = list((entries.filter(path__gt=after) if after else entries)[: limit + 1])
        more = len(found) > limit
        return list(_with_folders(found[:limit], prefix, after)), found[limit - 1].path if more else None
    return _skipping(entries, prefix, after, limit)


def _with_folders(entries: Iterable[Entry], prefix: str, after: str) -> Iterator[Entry | Folder]:
    """Each folder before the first file in it; those that an earlier page began are not named again."""
    before = after
    for entry in entries:
        parents = entry.path.removeprefix(prefix).split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            folder = prefix + "/".join(parents[:depth])
            if not before.startswith(f"{folder}/"):
                yield Folder(folder)
        yield entry
        before = entry.path


def _skipping(entries: QuerySet[Entry], prefix: str, after: str, limit: int) -> tuple[list[Entry | Folder], str | None]:
    items: list[Entry | Folder] = []
    position, size = after, _FIRST_BATCH
    while len(items) <= limit:
        batch = list((entries.filter(path__gt=position) if position else entries)[:size])
        if not batch:
            return items, None
        for entry in batch:
            name, slash, _ = entry.path.removeprefix(prefix).partition("/")
            if slash:
                items.append(Folder(prefix + name))
                position, size = f"{prefix}{name}/\U0010ffff", _FIRST_BATCH
                break
            items.append(entry)
            position = entry.path
            if len(items) > limit:
                break
        else:
            if len(batch) < size:
                return items, None
            size = min(size * 4, limit + 1)  # files follow files: fetch more at once
    kept = items[:limit]
    last = kept[-1]
    return kept, last.path if isinstance(last, Entry) else f"{last.path}/\U0010ffff"


def entries_for_paths(version: Version | None, paths: Iterable[str]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries_at(version).filter(path__in=list(paths))}


def last_changes(version: Version, folders: Iterable[str]) -> dict[str, int]:
    """The number of the version that last changed anything in each of these folders."""
    found: dict[str, int] = {}
    for layer in layers_of(version):
        for batch in batches(folders, _FOLDERS_AT_ONCE):
            first, *others = [_last_change(layer, folder) for folder in batch]
            for row in first.union(*others, all=True):
                numbers = [row["added"] or 0, row["removed"] or 0, found.get(row["folder"], 0)]
                found[row["folder"]] = max(numbers)
    return found


def _last_change(layer: Layer, folder: str) -> QuerySet[Entry, Any]:
    """Costs what the folder holds and has held; each is looked at once."""
    inside = Entry.objects.filter(branch_id=layer.branch_id, added_in__lte=layer.number)
    inside = inside.filter(path__gte=f"{folder}/", path__lt=f"{folder}0").order_by()
    return inside.values("branch_id").annotate(
        folder=Value(folder),
        added=Max("added_in"),
        removed=Max("removed_in", filter=Q(removed_in__lte=layer.number)),
    )


def measure(version: Version | None) -> tuple[int, int]:
    """(files, bytes) of a version, by one query; commits keep the sums up to date without it."""
    entries = entries_at(version)
    return entries.count(), entries.aggregate(total=Sum("blob__size"))["total"] or 0
