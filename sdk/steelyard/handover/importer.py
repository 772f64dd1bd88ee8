"""What a source holds, into a server: versions, then names, lineage and measures, then runs.

    bring(client, Archive(folder), Plan(into="team/name"), say=print)

Everything is brought once: what is there with the same number, branch, date, author and title is known again. So an
import that broke off is simply repeated, and a second one adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from steelyard.client import Client
from steelyard.handover.mlflow_sending import MLflowSender
from steelyard.handover.naming import Names, Plan, shown
from steelyard.handover.run_sending import send_runs
from steelyard.handover.sending import imports, send_version
from steelyard.handover.source import Source, SourceGoneError, SourceRepository, SourceVersion, moment
from steelyard_contracts.errors import ConflictError, NotFoundError, StaleParentError, SteelyardError
from steelyard_contracts.handover import MOST_AT_ONCE, ImportedVersion, VersionRecord
from steelyard_contracts.refs import DEFAULT_REVISION, Ref, RepositoryKind
from steelyard_contracts.words import count_in_words, size_in_words

Say = Callable[[str], None]


@dataclass
class Brought:
    """What an import came to. `faults`: what did not come, in sentences."""

    versions: int = 0
    known: int = 0
    records: int = 0
    runs: int = 0
    faults: list[str] = field(default_factory=list)


def foresee(client: Client, source: Source, plan: Plan) -> Iterator[str]:
    """What would come, in lines; nothing is written and no file moves."""
    repositories = source.repositories()
    names = Names(client, plan, [one.ref for one in repositories])
    for one in repositories:
        target = names.of(one.ref)
        there = _there(client, target)
        known = sum(_match(version, there) is not None for version in one.versions)
        parts = [f"{count_in_words(len(one.versions), 'version')} ({known} there already)"]
        sizes = [version.size for version in one.versions if version.size is not None]
        if sizes:
            parts.append(f"the newest with {size_in_words(sizes[-1])}")
        for what, rows in (("tag", one.tags), ("run", one.runs), ("gate", one.gates)):
            if rows:
                parts.append(count_in_words(len(rows), what))
        if one.aliases:
            parts.append(f"aliases {', '.join(alias['name'] for alias in one.aliases)}")
        yield f"{shown(one.ref)} → {target}: {', '.join(parts)}"
        yield from (f"  will not come: {fault}" for fault in one.faults)


def bring(client: Client, source: Source, plan: Plan, *, say: Say) -> Brought:
    """Raises: the source's and the server's errors; what came until then stays, and is not brought again."""
    repositories, done = source.repositories(), Brought()
    names = Names(client, plan, [one.ref for one in repositories])
    targets = [_Target(client, one, names, done, say) for one in repositories]
    for target in targets:
        target.bring_versions()
    for target in targets:  # only now: lineage and measures name versions of other repositories
        target.bring_records()
    done.faults += [fault for one in repositories for fault in one.faults]
    return done


class _Target:
    """One repository. `labels`: what each of the source's versions is called here."""

    def __init__(self, client: Client, source: SourceRepository, names: Names, done: Brought, say: Say) -> None:
        self._client, self._source, self._names, self._done, self._say = client, source, names, done, say
        self._ref, self._name = names.of(source.ref), shown(source.ref)
        self._labels: dict[str, str] = {}
        self._tips: dict[str, int | None] = {}

    def bring_versions(self) -> None:
        try:
            self._client.create_repository(self._ref, public=self._source.public)
        except NotFoundError as error:
            raise NotFoundError(f"{error} Make it, or name another one: --into TEAM.") from error
        if self._source.created_at is not None:
            self._post("repository", {"created_at": self._source.created_at.isoformat()})
        there = _there(self._client, self._ref)
        self._tips = self._branches()
        self._labels = {one.label: known for one in self._source.versions if (known := _match(one, there)) is not None}
        self._done.known += len(self._labels)
        for version, is_overtaken in _with_overtaken(self._source.versions, self._labels):
            if version.label in self._labels:
                continue
            if is_overtaken:
                self._done.faults.append(
                    f"{self._name}@{version.label}: later versions are here already, and it would become the "
                    "newest; import into a new repository to have it in its place."
                )
                continue
            try:
                self._bring(version)
            except SourceGoneError as error:
                self._done.faults.append(f"{self._name}@{version.label}: {error}")
            except SteelyardError as error:
                raise type(error)(f"{self._name}@{version.label}: {error}") from error
        for branch in self._source.branches:
            self._branch(branch["name"])

    def _bring(self, version: SourceVersion) -> None:
        self._branch(version.branch)
        record = VersionRecord(
            number=version.number,
            branch=version.branch,
            follows=self._tips.get(version.branch),
            title=version.title[:300],
            message=version.message,
            author=version.author,
            created_at=version.created_at,
            commit=version.commit,
            # What has no number and no id there is known by its files alone.
            keep_unchanged=version.number is not None or version.commit is not None,
            lineage_follows=self._source.lineage_follows,
        )
        try:
            made = send_version(self._client, self._ref, version, record)
        except (ConflictError, StaleParentError):
            made = self._made_before(version)
        self._labels[version.label] = made.version
        self._tips[version.branch] = int(made.version[1:])
        if None not in {version.files, version.size} and (made.files, made.size) != (version.files, version.size):
            raise ConflictError(
                f"it has {made.files} files and {made.size} bytes here, and {version.files} and {version.size} there"
            )
        if not made.made:
            self._done.known += 1
            return
        self._done.versions += 1
        self._say(f"{self._ref}@{made.version}: {count_in_words(made.files, 'file')}, {size_in_words(made.size)}")

    def _made_before(self, version: SourceVersion) -> ImportedVersion:
        """The version, if an earlier request has made it whose answer was lost. Raises: what it was refused with."""
        if (label := _match(version, _there(self._client, self._ref))) is None:
            raise  # noqa: PLE0704 - the refusal that is being handled
        found = self._client.version(self._ref.at(label))
        return ImportedVersion(
            version=found.version, commit=found.commit, files=found.files, size=found.size, made=False
        )

    def _branches(self) -> dict[str, int | None]:
        """With what changes there are changes to: its end, or what shows through."""
        rows = self._client.transport.items(f"{_api(self._ref)}/branches", limit=MOST_AT_ONCE)
        tips = {}
        for row in rows:
            label = row["head"] or (row["base"] if row["sees_base"] else None)
            tips[row["name"]] = int(label[1:]) if label else None
        return tips

    def _branch(self, name: str) -> None:
        """Makes it as the source has it, once what it stands on is here."""
        if name in self._tips or name == DEFAULT_REVISION:
            return
        row = next((one for one in self._source.branches if one["name"] == name), None)
        base = self._labels.get(row["base"]) if row and row["base"] else None
        shows = bool(row and row["sees_base"] and base)
        body = {"name": name, "start": base, "empty": not shows}
        self._client.transport.call("POST", f"{_api(self._ref)}/branches", body=body, repeatable=False)
        self._tips[name] = int(base[1:]) if base and shows else None

    def bring_records(self) -> None:
        self._tags()
        self._aliases()
        self._edges()
        self._evaluations()
        there = {(gate.rule, gate.applies_to) for gate in self._client.gates(self._ref)}
        for gate in self._source.gates:
            if (gate["rule"], gate["applies_to"]) not in there:
                self._client.add_gate(self._ref, gate["rule"], applies_to=gate["applies_to"])
                self._done.records += 1
        ids: dict[str, str] = {}
        if self._source.runs:
            here = ((version.run, self._labels.get(version.label)) for version in self._source.versions)
            own = [(run, label) for run, label in here if run and label]
            new, ids = send_runs(self._client, self._ref, self._source, own, self._names, self._say)
            self._done.runs += new
        if self._ref.kind is RepositoryKind.MODEL:
            mlflow = MLflowSender(self._client, self._ref)
            mlflow.send_words(self._source, self._labels)
            self._done.records += mlflow.send_logged(self._source.logged, ids, self._done.faults)

    def _tags(self) -> None:
        there = {tag.name for tag in self._client.tags(self._ref)}
        for tag in self._source.tags:
            if tag["name"] not in there and (label := self._labels.get(tag["version"])):
                self._client.tag(self._ref.at(label), tag["name"], message=tag.get("message", ""))
                self._done.records += 1

    def _aliases(self) -> None:
        came = [move for move in self._source.moves if self._has_come(move, "from_version", "to_version")]
        moves = ({**move, **self._here(move, "from_version", "to_version")} for move in came)
        self._done.records += self._in_batches("alias-moves", "moves", moves)
        aliases = [one for one in self._source.aliases if self._has_come(one, "version")]
        here = ({**one, **self._here(one, "version")} for one in aliases)
        self._done.records += self._in_batches("aliases", "aliases", here)
        self._done.faults += [
            f"the alias {one['name']} of {self._name} stands on {one['version']}, which did not come"
            for one in self._source.aliases
            if one not in aliases
        ]
        if lost := len(self._source.moves) - len(came):
            moved = count_in_words(lost, "move")
            self._done.faults.append(f"{moved} of aliases of {self._name} name versions that did not come")

    def _edges(self) -> None:
        edges = (
            {**edge, "target": self._labels[edge["target"]], "source": self._names.text(edge["source"])}
            for edge in self._source.edges()
            if edge["target"] in self._labels
        )
        self._done.records += self._in_batches("lineage", "edges", edges)

    def _evaluations(self) -> None:
        for record in self._source.evaluations():
            label = self._labels.get(record["version"])
            if label is None or self._ref.kind is not RepositoryKind.MODEL:
                continue
            report = {**record["report"], "dataset": self._names.text(record["report"]["dataset"])}
            try:
                body = {"at": record["at"], "report": report}
                self._done.records += self._post(f"versions/{label}/evaluations", body)["added"]
            except NotFoundError as error:
                what = f"the evaluation of {self._ref}@{label} on {report['dataset']}"
                self._done.faults.append(f"{what} did not come: {error}")

    def _has_come(self, record: Mapping[str, Any], *fields: str) -> bool:
        """Whether each version that the record names is here."""
        return all(record[name] in self._labels for name in fields if record[name])

    def _here(self, record: Mapping[str, Any], *fields: str) -> dict[str, str | None]:
        return {name: self._labels.get(record[name]) if record[name] else None for name in fields}

    def _in_batches(self, what: str, field_name: str, records: Iterable[dict[str, Any]]) -> int:
        waiting, added = iter(records), 0
        while batch := list(islice(waiting, MOST_AT_ONCE)):
            added += self._post(what, {field_name: batch})["added"]
        return added

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        return self._client.transport.call("POST", imports(self._ref, what), body=body)


def _with_overtaken(versions: Iterable[SourceVersion], known: Mapping[str, str]) -> list[tuple[SourceVersion, bool]]:
    """Each with whether a later one of its branch is here before it: it was left out once, and is there now."""
    overtaken, found = set[str](), []
    for version in reversed(list(versions)):
        found.append((version, version.branch in overtaken))
        if version.label in known:
            overtaken.add(version.branch)
    return found[::-1]


def _there(client: Client, ref: Ref) -> dict[str, dict[str, Any]]:
    """The versions of a repository by their labels; none where there is no such repository."""
    try:
        return {item["version"]: item for item in client.transport.items(f"{_api(ref)}/versions", limit=MOST_AT_ONCE)}
    except NotFoundError:
        return {}


def _match(version: SourceVersion, there: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What the version is called here, if it is. Raises: ConflictError when its number is another one's."""
    wanted = _identity(version.branch, version.created_at.isoformat(), version.author, version.title)
    if version.number is not None:
        found = there.get(f"v{version.number}")
        if found is not None and _identity_of(found) != wanted:
            raise ConflictError(
                f"v{version.number} is another version there already ({found['title']!r} by {found['author']}). "
                "Import into another repository: --into team/name."
            )
        return f"v{version.number}" if found else None
    return next((label for label, found in there.items() if _identity_of(found) == wanted), None)


def _identity_of(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return _identity(found["branch"], found["created_at"], found["author"], found["title"])


def _identity(branch: str, at: str, author: str, title: str) -> tuple[Any, ...]:
    """Dates as fine as the API shows them."""
    when = moment(at)
    return branch, when.replace(microsecond=when.microsecond // 1000 * 1000), author, title[:300] or "Commit"


def _api(ref: Ref) -> str:
    return f"/api/v1/{ref.kind.plural}/{ref.repository}"
