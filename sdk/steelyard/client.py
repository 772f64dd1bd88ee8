"""`Client`: everything a person or a script does with a Steelyard, as methods that return typed values."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from uuid import UUID

from steelyard.evaluating import Evaluations
from steelyard.files import Files
from steelyard.predicting import predict
from steelyard.records import Alias, AliasMove, Gate, LogLine, Repository, Series, Tag, Version
from steelyard.retention import Deletion, Expiry, Trash
from steelyard.runs import Runs
from steelyard.searches import Searches
from steelyard.settings import find_credentials
from steelyard.transport import Transport
from steelyard.workers import Workers
from steelyard_contracts.errors import ConflictError, InvalidInputError
from steelyard_contracts.fleet import DeviceView, ReleaseRequest, ReleaseView, RolloutRequest, RolloutView
from steelyard_contracts.jobs import (
    AttemptView,
    CloneRequest,
    ConvertSpec,
    EvaluateSpec,
    JobRequest,
    JobSpec,
    JobState,
    JobView,
    OptimiseSpec,
)
from steelyard_contracts.lineage import Deployment, Direction, LineageEdge
from steelyard_contracts.prediction import PredictionAnswer
from steelyard_contracts.promotions import (
    CarryOutRequest,
    GateVerdict,
    PromotionChange,
    PromotionDetail,
    PromotionRemark,
    PromotionRequest,
    PromotionState,
    PromotionView,
)
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_contracts.tasks import Task
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.weights import CompareView, InspectionState, InspectionView, QuarantineView, TensorInFile
from steelyard_contracts.workers import Resources
from steelyard_contracts.zoo import ZooModel

if TYPE_CHECKING:
    from steelyard.verifying import PublishedKey

_API = "/api/v1"
# What one answer has of a job's series, and how many fit into an address by their names.
_SERIES_AT_ONCE, _NAMES_IN_ADDRESS = 200, 20
_WAIT_SECONDS = 0.5
_PAGE = 500


def connect(url: str | None = None, token: str | None = None, *, quiet: bool = False) -> Client:
    """A client for `url` with `token`; what is not given comes from the environment or `steelyard login`.

    Raises: AuthenticationError when there is no token anywhere.
    """
    if url is None or token is None:
        found = find_credentials(url)
        url, token = found.url, token or found.token
    return Client(url, token, quiet=quiet)


class Client:
    """One server, one token. Methods raise the server's errors as `SteelyardError` classes."""

    def __init__(self, url: str, token: str, *, quiet: bool = False) -> None:
        self.transport = Transport(url, token)
        self.files = Files(self.transport, quiet=quiet)
        self.trash = Trash(self.transport)
        self.expiry = Expiry(self.transport)
        self.evaluations = Evaluations(self.transport)
        self.workers = Workers(self.transport)
        self.searches = Searches(self.transport)
        self.runs = Runs(self.transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self.transport.close()

    # --- who ---------------------------------------------------------------------------------

    def whoami(self) -> dict[str, Any]:
        """`name`, `scope` and the role in each team."""
        return dict(self.transport.call("GET", f"{_API}/whoami"))

    def create_team(self, name: str) -> None:
        self.transport.call("POST", f"{_API}/teams", body={"name": name}, repeatable=False)

    # --- repositories and versions -----------------------------------------------------------

    def create_repository(self, ref: str | Ref, *, public: bool | None = None, exist_ok: bool = True) -> None:
        one = _ref(ref)
        try:
            body = {"name": one.repository, "public": public}
            self.transport.call("POST", f"{_API}/{one.kind.plural}", body=body, repeatable=False)
        except ConflictError:
            if not exist_ok:
                raise

    def repositories(self, kind: RepositoryKind = RepositoryKind.MODEL, text: str = "") -> Iterator[dict[str, Any]]:
        """What the token may read, last changed first."""
        return self._pages(f"{_API}/{kind.plural}", text=text)

    def search(
        self,
        text: str = "",
        *,
        kind: RepositoryKind = RepositoryKind.MODEL,
        tags: Sequence[str] = (),
        task: str | None = None,
        library: str | None = None,
        framework: str | None = None,
        license: str | None = None,  # noqa: A002 - the card's own word
        language: str | None = None,
        size: str | None = None,
        metrics: Sequence[str] = (),
        sort: str = "updated",
    ) -> Iterator[Repository]:
        """What meets all of it, of what the token may read.

        hub.search("resnet", task="image-classification", size="<1GB", metrics=["accuracy>0.9"], sort="metric")

        Raises: InvalidInputError, which says what was not understood.
        """
        found = self._pages(
            f"{_API}/{kind.plural}",
            q=text,
            tag=list(tags),
            task=task,
            library=library,
            framework=framework,
            license=license,
            language=language,
            size=size,
            metric=list(metrics),
            sort=sort,
        )
        return (Repository.model_validate(item) for item in found)

    def push(self, source: str | Path, ref: str | Ref, *, message: str = "") -> Version:
        """Uploads a file or folder as one new version, into a repository that is made if need be."""
        one = _ref(ref)
        self.create_repository(one)
        commit = self.files.push(Path(source), one, message=message)
        return self.version(one.at(commit))

    def pull(self, ref: str | Ref, target: str | Path | None = None, *, patterns: list[str] | None = None) -> Path:
        """Downloads a version; returns its folder."""
        return self.files.pull(_ref(ref), target=Path(target) if target else None, patterns=patterns)

    def version(self, ref: str | Ref) -> Version:
        one = _ref(ref)
        return self.transport.get(Version, _version(one))

    def versions(self, ref: str | Ref) -> Iterator[Version]:
        """Of every branch, newest first."""
        return (Version.model_validate(item) for item in self._pages(f"{_home(_ref(ref))}/versions"))

    def foresee_deletion(self, ref: str | Ref) -> Deletion:
        """What deleting the version, or without a revision the whole repository, would do and break."""
        one = _ref(ref)
        return self.transport.get(Deletion, f"{_version(one) if one.revision else _home(one)}/deletion")

    def delete_repository(self, ref: str | Ref) -> None:
        """Puts it into the trash with all its versions. Raises: ConflictError while something refers to it."""
        one = _ref(ref)
        if one.revision is not None:
            raise InvalidInputError(f"{ref} names a version; use `delete_version`.")
        self.transport.call("DELETE", _home(one), repeatable=False)

    def delete_version(self, ref: str | Ref) -> None:
        """Puts the version that `ref` names into the trash. Raises: ConflictError while something refers to it."""
        one = _ref(ref)
        if one.revision is None:
            raise InvalidInputError(f"Say which version: {ref}@vN.")
        self.transport.call("DELETE", f"{_home(one)}/versions/{_segment(one.revision)}", repeatable=False)

    def lineage(
        self, ref: str | Ref, *, direction: Direction | str = Direction.ANCESTORS, depth: int | None = None
    ) -> list[LineageEdge]:
        """What the version was made from; with `direction`, what was made from it ("descendants"), or "both".

        All of it, or what is within `depth` steps, as far as the token may see.
        """
        one, asked = _ref(ref), Direction(direction)
        items = self._pages(f"{_version(one)}/lineage", direction=str(asked), depth=depth, limit=_PAGE)
        return [LineageEdge.model_validate(item) for item in items]

    def deployments(self, ref: str | Ref) -> Iterator[Deployment]:
        """The devices that run the version, or anything that was made from it or trained on it."""
        items = self._pages(f"{_version(_ref(ref))}/lineage/devices", limit=_PAGE)
        return (Deployment.model_validate(item) for item in items)

    # --- signatures --------------------------------------------------------------------------

    def signature(self, ref: str | Ref) -> bytes:
        """The version's signature, for `steelyard verify` and others that read OpenSSF Model Signing."""
        bundle = self.transport.call("GET", f"{_version(_ref(ref))}/signature")
        return json.dumps(bundle).encode()

    def bom(self, ref: str | Ref) -> dict[str, Any]:
        """The model version's bill of materials, as CycloneDX JSON."""
        return dict(self.transport.call("GET", f"{_version(_ref(ref))}/bom"))

    def signing_keys(self) -> list[PublishedKey]:
        """The server's public keys, those that it no longer signs with and those that it revoked among them."""
        from steelyard.verifying import PublishedKey  # here: cryptography is loaded by those who verify alone

        found = self.transport.call("GET", "/.well-known/steelyard-signing-keys.json")
        return [PublishedKey.model_validate(key) for key in found["keys"]]

    # --- what is inside ----------------------------------------------------------------------

    def inspect(self, ref: str | Ref, *, wait: bool = True) -> InspectionView:
        """A version's models: format, parameters by module, kinds of numbers, and what is wrong with its files.

        With `wait`, until a worker has read every file; else what is known now, perhaps `pending`.
        """
        one = _ref(ref)
        while True:
            view = self.transport.get(InspectionView, f"{_version(one)}/inspection")
            if not wait or view.state is not InspectionState.PENDING:
                return view
            time.sleep(_WAIT_SECONDS)

    def tensors(self, ref: str | Ref, *, module: str = "", model: str = "") -> Iterator[TensorInFile]:
        """Each tensor in and below `module`, with its statistics; of the version's main model unless one is named."""
        one = _ref(ref)
        items = self._pages(f"{_version(one)}/tensors", module=module, model=model, limit=_PAGE)
        return (TensorInFile.model_validate(item) for item in items)

    # --- quarantine ----------------------------------------------------------------------------

    def quarantine(self, ref: str | Ref) -> QuarantineView:
        """Whether the version's files may be downloaded, and what is dangerous in them."""
        return self.transport.get(QuarantineView, f"{_version(_ref(ref))}/quarantine")

    def lift_quarantine(self, ref: str | Ref, *, reason: str) -> QuarantineView:
        """Lets a version with dangerous files go out. Needs a maintainer's token; the reason is kept and shown."""
        return self.transport.post(QuarantineView, f"{_version(_ref(ref))}/quarantine/lift", {"reason": reason})

    def restore_quarantine(self, ref: str | Ref, *, reason: str) -> QuarantineView:
        """Puts a version back whose quarantine was lifted."""
        return self.transport.post(QuarantineView, f"{_version(_ref(ref))}/quarantine/put-back", {"reason": reason})

    def compare(self, left: str | Ref, right: str | Ref, *, wait: bool = True) -> CompareView:
        """What differs between two versions of a model, or of two: tensors, modules, files, the card.

        With `wait`, until the tensors that differ are measured; else with the measures that are known.
        """
        one, other = _ref(left), _ref(right)
        same = (one.kind, one.repository) == (other.kind, other.repository)
        revision = other.revision_or_default
        named = revision if same else f"{other.repository}@{revision}"
        path = f"{_home(one)}/compare/{_segment(one.revision_or_default)}...{_segment(named)}"
        while True:
            view = self.transport.get(CompareView, path)
            if not wait or view.state is not InspectionState.PENDING:
                return view
            time.sleep(_WAIT_SECONDS)

    # --- names and gates ---------------------------------------------------------------------

    def promote(self, ref: str | Ref, alias: str, *, reason: str = "", override: bool = False) -> Alias:
        """Moves `alias` to the version; a maintainer may override its gates, with a reason.

        Raises: GateRefusedError, which says what was measured and what is asked.
        """
        one = _ref(ref)
        body = {"revision": one.revision_or_default, "reason": reason, "override": override}
        return Alias.model_validate(self.transport.call("PUT", f"{_home(one)}/aliases/{_segment(alias)}", body=body))

    def aliases(self, ref: str | Ref) -> list[Alias]:
        return [Alias.model_validate(item) for item in self.transport.call("GET", f"{_home(_ref(ref))}/aliases")]

    def alias_history(self, ref: str | Ref, alias: str | None = None) -> Iterator[AliasMove]:
        """Who moved which alias, when, from where to where and why: newest first, of all aliases or one."""
        return (
            AliasMove.model_validate(item) for item in self._pages(f"{_home(_ref(ref))}/alias-history", alias=alias)
        )

    def protect_alias(self, ref: str | Ref, alias: str, *, protected: bool = True) -> None:
        """Only maintainers may move or delete a protected alias."""
        path = f"{_home(_ref(ref))}/aliases/{_segment(alias)}"
        self.transport.call("PATCH", path, body={"protected": protected})

    def delete_alias(self, ref: str | Ref, alias: str, *, reason: str = "") -> None:
        """Its history stays."""
        path, query = f"{_home(_ref(ref))}/aliases/{_segment(alias)}", {"reason": reason}
        self.transport.call("DELETE", path, query=query, repeatable=False)

    def tags(self, ref: str | Ref) -> Iterator[Tag]:
        """Newest first."""
        return (Tag.model_validate(item) for item in self._pages(f"{_home(_ref(ref))}/tags"))

    def tag(self, ref: str | Ref, name: str, *, message: str = "") -> Tag:
        """A name for the version that stays where it is."""
        one = _ref(ref)
        body = {"name": name, "revision": one.revision_or_default, "message": message}
        return self.transport.post(Tag, f"{_home(one)}/tags", body, repeatable=False)

    def delete_tag(self, ref: str | Ref, name: str) -> None:
        self.transport.call("DELETE", f"{_home(_ref(ref))}/tags/{_segment(name)}", repeatable=False)

    def add_gate(self, ref: str | Ref, rule: str, *, applies_to: str = "*") -> Gate:
        """A rule such as `accuracy >= 0.95 on team/data@v1` that guards an alias, `release`, or all (`*`)."""
        return self.transport.post(Gate, f"{_home(_ref(ref))}/gates", {"rule": rule, "applies_to": applies_to})

    def gates(self, ref: str | Ref) -> list[Gate]:
        return [Gate.model_validate(item) for item in self.transport.call("GET", f"{_home(_ref(ref))}/gates")]

    def remove_gate(self, ref: str | Ref, gate: int) -> None:
        self.transport.call("DELETE", f"{_home(_ref(ref))}/gates/{gate}", repeatable=False)

    def verdicts(self, ref: str | Ref, applies_to: str = "*") -> list[GateVerdict]:
        """What each gate of an alias (or `release`, or all) says of the version now."""
        one = _ref(ref)
        path = f"{_home(one)}/versions/{_segment(one.revision_or_default)}/verdicts"
        found = self.transport.call("GET", path, query={"applies_to": applies_to})
        return [GateVerdict.model_validate(item) for item in found]

    # --- requests for promotion --------------------------------------------------------------

    def request_promotion(self, ref: str | Ref, target: str, *, words: str = "") -> PromotionDetail:
        """Asks that the alias `target` be moved to the version, or, with `release`, that it go to devices."""
        one = _ref(ref)
        body = PromotionRequest(revision=one.revision_or_default, target=target, words=words)
        return self.transport.post(PromotionDetail, f"{_home(one)}/promotions", body, repeatable=False)

    def promotions(self, ref: str | Ref, *, state: PromotionState | None = None) -> Iterator[PromotionView]:
        """Newest first."""
        query = {"state": str(state) if state else None}
        return (PromotionView.model_validate(item) for item in self._pages(f"{_home(_ref(ref))}/promotions", **query))

    def promotion(self, ref: str | Ref, number: int) -> PromotionDetail:
        """With what was said, and what the gates say now."""
        return self.transport.get(PromotionDetail, f"{_home(_ref(ref))}/promotions/{number}")

    def change_promotion(
        self, ref: str | Ref, number: int, *, revision: str | None = None, target: str | None = None, words: str = ""
    ) -> PromotionDetail:
        """Another version or another name; approvals until now were of something else."""
        body = PromotionChange(revision=revision, target=target, words=words)
        path = f"{_home(_ref(ref))}/promotions/{number}"
        return PromotionDetail.model_validate(self.transport.call("PATCH", path, body=body.model_dump()))

    def comment_on_promotion(self, ref: str | Ref, number: int, words: str) -> PromotionDetail:
        return self._remark(ref, number, "comments", words)

    def approve(self, ref: str | Ref, number: int, *, words: str = "") -> PromotionDetail:
        """A revision in `ref` says what was looked at: something else that is asked for by now is not approved."""
        return self._remark(ref, number, "approve", words)

    def reject(self, ref: str | Ref, number: int, *, words: str = "") -> PromotionDetail:
        return self._remark(ref, number, "reject", words)

    def withdraw_promotion(self, ref: str | Ref, number: int, *, words: str = "") -> PromotionDetail:
        return self._remark(ref, number, "withdraw", words)

    def carry_out(self, ref: str | Ref, number: int, *, reason: str = "", override: bool = False) -> PromotionDetail:
        """Moves the alias, if every gate allows it. Raises: GateRefusedError."""
        body = CarryOutRequest(reason=reason, override=override)
        path = f"{_home(_ref(ref))}/promotions/{number}/carry-out"
        return self.transport.post(PromotionDetail, path, body, repeatable=False)

    def _remark(self, ref: str | Ref, number: int, verb: str, words: str) -> PromotionDetail:
        one = _ref(ref)
        body, path = PromotionRemark(words=words, revision=one.revision), f"{_home(one)}/promotions/{number}/{verb}"
        return self.transport.post(PromotionDetail, path, body, repeatable=False)

    # --- jobs --------------------------------------------------------------------------------

    def train(self, **fields: Any) -> JobView:
        """Queues a training; the fields are those of `TrainSpec`, and `resources`: what it needs of its machine."""
        resources: Resources | None = fields.pop("resources", None)
        return self.submit(TrainSpec.model_validate(_texts(fields)), resources=resources)

    def zoo(self, task: Task | None = None) -> list[ZooModel]:
        """The networks that a training's `model` can name."""
        found = self.transport.call("GET", f"{_API}/zoo", query={"task": task})
        return [ZooModel.model_validate(item) for item in found]

    def evaluate(
        self, model: str | Ref, dataset: str | Ref, *, split: str = "validation", samples: int = 12
    ) -> JobView:
        """Queues an evaluation; what it finds is in `evaluations`."""
        return self.submit(EvaluateSpec(model=str(model), dataset=str(dataset), split=split, samples=samples))

    def predict(self, ref: str | Ref, pictures: Sequence[str | Path], **options: Any) -> PredictionAnswer:
        """What a version makes of up to 16 pictures; `top` labels of each, boxes from `threshold` on."""
        return predict(self.transport, ref, pictures, **options)

    def optimise(self, **fields: Any) -> JobView:
        """Queues an optimisation; the fields are those of `OptimiseSpec`."""
        return self.submit(OptimiseSpec.model_validate(_texts(fields)))

    def convert(self, model: str | Ref, *, path: str | None = None) -> JobView:
        """Queues the conversion of what torch pickled to safetensors, onto a side branch of the version."""
        return self.submit(ConvertSpec(model=str(model), path=path))

    def submit(self, spec: JobSpec, *, resources: Resources | None = None) -> JobView:
        """Queues a job; `resources` is what it needs of the machine that does it."""
        request = JobRequest(spec=spec, resources=resources or Resources())
        return self.transport.post(JobView, f"{_API}/jobs", request)

    def job(self, job: UUID | str) -> JobView:
        return self.transport.get(JobView, f"{_API}/jobs/{job}")

    def jobs(
        self, *, team: str | None = None, state: JobState | None = None, kind: str | None = None, text: str = ""
    ) -> Iterator[JobView]:
        """Newest first. `text`: words of what was asked for, who asked, or what the job says."""
        query = {"team": team, "state": str(state) if state else None, "kind": kind, "text": text or None}
        return (JobView.model_validate(item) for item in self._pages(f"{_API}/jobs", **query))

    def cancel(self, job: UUID | str) -> JobView:
        return self.transport.post(JobView, f"{_API}/jobs/{job}/cancel", {}, repeatable=False)

    def stop(self, job: UUID | str) -> JobView:
        """A training ends at its next step; its best state so far becomes a version."""
        return self.transport.post(JobView, f"{_API}/jobs/{job}/stop", {}, repeatable=False)

    def resume(self, job: UUID | str) -> JobView:
        """A job that ended without success goes on from its last checkpoint."""
        return self.transport.post(JobView, f"{_API}/jobs/{job}/resume", {}, repeatable=False)

    def clone(self, job: UUID | str, **changes: Any) -> JobView:
        """A job like `job`, on the same versions, but for the changes: `clone(job, epochs=20, base=None)`."""
        return self.transport.post(JobView, f"{_API}/jobs/{job}/clone", CloneRequest(changes=changes))

    def attempts(self, job: UUID | str) -> Iterator[AttemptView]:
        """Newest first."""
        return (AttemptView.model_validate(item) for item in self._pages(f"{_API}/jobs/{job}/attempts"))

    def wait(self, job: UUID | str, *, on_change: Callable[[JobView], None] | None = None) -> JobView:
        """Blocks until the job has ended, whatever its end; calls `on_change` at each look."""
        while True:
            view = self.job(job)
            if on_change is not None:
                on_change(view)
            if view.state.is_final:
                return view
            time.sleep(_WAIT_SECONDS)

    def metrics(self, job: UUID | str) -> dict[str, Series]:
        """Every series of a job or a run, by its name."""
        address = f"{_API}/jobs/{job}/metrics"
        found = self.transport.call("GET", address)
        if len(found) >= _SERIES_AT_ONCE:
            known = {item["name"] for item in found}
            others = (item["name"] for item in self._pages(f"{_API}/jobs/{job}/metric-names", limit="500"))
            waiting = (name for name in others if name not in known)
            while names := list(islice(waiting, _NAMES_IN_ADDRESS)):
                found += self.transport.call("GET", address, query={"names": names})
        return {item["name"]: Series.model_validate(item) for item in found}

    def logs(self, job: UUID | str, *, after: int = 0) -> list[LogLine]:
        found = self.transport.call("GET", f"{_API}/jobs/{job}/logs", query={"after": after})
        return [LogLine.model_validate(line) for line in found["lines"]]

    # --- the fleet ---------------------------------------------------------------------------

    def enrolment_token(self, team: str) -> str:
        """A token that devices enrol with, and that opens nothing else."""
        answer = self.transport.call("POST", f"{_API}/teams/{team}/enrolment-token", repeatable=False)
        return str(answer["token"])

    def devices(self, team: str) -> Iterator[DeviceView]:
        return (DeviceView.model_validate(item) for item in self._pages(f"{_API}/teams/{team}/devices"))

    def accept_device(self, team: str, name: str) -> DeviceView:
        return self.transport.post(DeviceView, f"{_API}/teams/{team}/devices/{name}/accept", {})

    def revoke_device(self, team: str, name: str) -> DeviceView:
        return self.transport.post(DeviceView, f"{_API}/teams/{team}/devices/{name}/revoke", {})

    def release(
        self, model: str | Ref, *, variant: str | None = None, reason: str = "", override: bool = False
    ) -> ReleaseView:
        """Signs a version, or a variant of it, for devices; a maintainer may override its gates, with a reason."""
        body = ReleaseRequest(model=str(model), variant=variant, reason=reason, override=override)
        return self.transport.post(ReleaseView, f"{_API}/releases", body)

    def roll_out(
        self,
        release: UUID,
        devices: list[str],
        *,
        first: int = 1,
        max_failures: int = 0,
        reason: str = "",
        override: bool = False,
    ) -> RolloutView:
        body = RolloutRequest(
            release=release,
            devices=devices,
            first=first,
            max_failures=max_failures,
            reason=reason,
            override=override,
        )
        return self.transport.post(RolloutView, f"{_API}/rollouts", body)

    def rollout(self, rollout: UUID | str) -> RolloutView:
        return self.transport.get(RolloutView, f"{_API}/rollouts/{rollout}")

    def rollouts(self, team: str) -> Iterator[RolloutView]:
        return (RolloutView.model_validate(item) for item in self._pages(f"{_API}/teams/{team}/rollouts"))

    def wait_for_rollout(
        self, rollout: UUID | str, *, on_change: Callable[[RolloutView], None] | None = None
    ) -> RolloutView:
        while True:
            view = self.rollout(rollout)
            if on_change is not None:
                on_change(view)
            if view.state.is_final:
                return view
            time.sleep(_WAIT_SECONDS)

    def _pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        return self.transport.items(path, **query)


def _ref(ref: str | Ref) -> Ref:
    return parse_ref(ref) if isinstance(ref, str) else ref


def _texts(fields: dict[str, Any]) -> dict[str, Any]:
    """A job's fields, with its references as they are written."""
    return {name: str(value) if isinstance(value, Ref) else value for name, value in fields.items()}


def _segment(name: str) -> str:
    """A name as one segment of an address."""
    return quote(name, safe="")


def _home(ref: Ref) -> str:
    return f"{_API}/{ref.kind.plural}/{ref.repository}"


def _version(ref: Ref) -> str:
    return f"{_home(ref)}/versions/{_segment(ref.revision_or_default)}"
