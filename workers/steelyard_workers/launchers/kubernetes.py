"""A Kubernetes Job for each job, made by `kubectl`, which knows how to reach and to sign in to every kind of cluster.

The Job's pod runs `steelyard worker --job ID` and ends with it. Kubernetes does not try it again (`backoffLimit: 0`):
the platform does, with a new machine, because it knows whether that would help. The worker's token is a reference to a
secret of the cluster, and stands in no manifest.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from steelyard_contracts.workers import GPU, Capabilities, Gpu, Resources, labels_of
from steelyard_workers.launchers.launcher import LaunchError

_MANAGED_BY = "app.kubernetes.io/managed-by"
_JOB = "steelyard.dev/job"
_SELECTOR = f"{_MANAGED_BY}=steelyard"
_PATIENCE = 60.0
_KEPT_SECONDS = 3600
_GRACE_SECONDS = 60
_GB = 1_000_000_000
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Where and as what the machines run.

    Args:
        image: has the `workers` extra; the repository's Dockerfile makes one.
        url: the platform's address, as the pods reach it.
        secret: the name of the secret whose key `token` holds a worker's token.
        namespace: of the cluster; kubectl's own when empty.
        gpu_resource: what the cluster calls a GPU.
        gpu_key: the node label whose value tells a GPU's type, and the values by our labels, as in
            {"gpu:a100": "NVIDIA-A100-SXM4-80GB"}. A job that asks for such a label is placed on such nodes.
        tolerations: of tainted nodes, as Kubernetes writes them; GPU nodes mostly have the taint of `gpu_resource`.
        offers: the most that a machine may have; what it says of labels is what the cluster's nodes can be.
        cores, memory_gb, disk_gb: asked for where a job asks for no more.
    """

    image: str
    url: str
    secret: str = "steelyard-worker"  # noqa: S105 - a secret's name
    namespace: str = ""
    service_account: str = ""
    gpu_resource: str = "nvidia.com/gpu"
    gpu_key: str = "nvidia.com/gpu.product"
    gpu_products: Mapping[str, str] = field(default_factory=dict)
    node_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    max_gpus: int = 8
    max_memory_gb: float = 1000
    gpu_memory_gb: float = 80
    cores: float = 4
    memory_gb: float = 16
    disk_gb: float = 50


class KubernetesLauncher:
    """One Job of the cluster for one job of the platform, found again by its labels."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings

    def offers(self) -> Capabilities:
        return offers(self._settings)

    def launch(self, job: UUID, needs: Resources) -> None:
        made = self._kubectl("create", "-f", "-", sent=json.dumps(manifest(job, needs, self._settings)), check=False)
        if made.returncode != 0 and "AlreadyExists" not in made.stderr:
            raise LaunchError(f"kubectl made no machine for job {job}: {_last_line(made.stderr)}", job=str(job))

    def running(self) -> frozenset[UUID]:
        listed = self._kubectl("get", "jobs", "--selector", _SELECTOR, "--output", "json").stdout
        return frozenset(UUID(item["metadata"]["labels"][_JOB]) for item in json.loads(listed)["items"] if _is_on(item))

    def stop(self, job: UUID) -> None:
        self._kubectl("delete", "job", name_of(job), "--ignore-not-found", "--wait=false")

    def _kubectl(self, *arguments: str, sent: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["--namespace", self._settings.namespace] if self._settings.namespace else []
        command = ["kubectl", *where, *arguments]
        try:
            done = subprocess.run(command, input=sent, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except FileNotFoundError as error:
            raise LaunchError("kubectl is not installed here; it makes the machines.") from error
        except subprocess.TimeoutExpired as error:
            raise LaunchError(f"kubectl {arguments[0]} did not answer within {_PATIENCE:.0f} s.") from error
        if check and done.returncode != 0:
            raise LaunchError(f"kubectl {arguments[0]} failed: {_last_line(done.stderr)}")
        return done


def manifest(job: UUID, needs: Resources, settings: KubernetesSettings) -> dict[str, Any]:
    """The Job (batch/v1) whose pod does this job and ends. Pure: what it says is tested against Kubernetes' schema."""
    labels = {_MANAGED_BY: "steelyard", _JOB: str(job)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name_of(job), "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(job, needs, settings)},
        },
    }


def _pod(job: UUID, needs: Resources, settings: KubernetesSettings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # The worker reaches the platform and nothing of the cluster's.
        "automountServiceAccountToken": False,
        "containers": [_container(job, needs, settings)],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": _bytes(settings.disk_gb)}},
            # Processes that train together exchange batches through shared memory.
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if chosen := _nodes(needs, settings):
        pod["nodeSelector"] = chosen
    if tolerated := _tolerations(needs, settings):
        pod["tolerations"] = tolerated
    return pod


def _container(job: UUID, needs: Resources, settings: KubernetesSettings) -> dict[str, Any]:
    own = [label for label in needs.labels if label in settings.node_labels]
    asked = _quantities(needs, settings)
    token = {"secretKeyRef": {"name": settings.secret, "key": "token"}}
    return {
        "name": "worker",
        "image": settings.image,
        "command": ["steelyard", "worker", "--once", "--job", str(job)],
        "env": [
            {"name": "STEELYARD_URL", "value": settings.url},
            {"name": "STEELYARD_WORKER_TOKEN", "valueFrom": token},
            *([{"name": "STEELYARD_WORKER_LABELS", "value": ",".join(own)}] if own else []),
        ],
        "workingDir": "/work",
        "resources": {"requests": asked, "limits": {key: value for key, value in asked.items() if key != "cpu"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "work", "mountPath": "/work"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - where it is mounted in every container
        ],
    }


def _quantities(needs: Resources, settings: KubernetesSettings) -> dict[str, str]:
    """Memory and disk are limits as well; cores are not, because an idle core may be used."""
    gpus = _gpus_of(needs)
    return {
        "cpu": f"{settings.cores:g}",
        "memory": _bytes(max(needs.memory_gb, settings.memory_gb)),
        "ephemeral-storage": _bytes(settings.disk_gb),
        **({settings.gpu_resource: str(gpus)} if gpus else {}),
    }


def _nodes(needs: Resources, settings: KubernetesSettings) -> dict[str, str]:
    """The node labels that the job's labels ask for."""
    chosen: dict[str, str] = {}
    for label in needs.labels:
        chosen |= settings.node_labels.get(label, {})
        if label in settings.gpu_products:
            chosen[settings.gpu_key] = settings.gpu_products[label]
    return chosen


def _tolerations(needs: Resources, settings: KubernetesSettings) -> list[dict[str, Any]]:
    for_gpu = {"key": settings.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}
    return [*([for_gpu] if _gpus_of(needs) else []), *(dict(one) for one in settings.tolerations)]


def _gpus_of(needs: Resources) -> int:
    """A label or a memory of GPUs asks for one, where no number does."""
    wants_one = needs.gpu_memory_gb > 0 or any(label.partition(":")[0] == GPU for label in needs.labels)
    return max(needs.gpus, int(wants_one))


def offers(settings: KubernetesSettings) -> Capabilities:
    """The most that the cluster gives one machine, for the platform to look jobs out for."""
    labels = {*settings.node_labels, *settings.gpu_products}
    gpus = [Gpu(name="gpu", memory_gb=settings.gpu_memory_gb)] * settings.max_gpus
    has = Capabilities(labels=sorted(labels), no_quick=True, memory_gb=settings.max_memory_gb, gpus=gpus)
    return has.model_copy(update={"labels": sorted(labels_of(has))})


def name_of(job: UUID) -> str:
    return f"steelyard-{job}"


def _is_on(item: Mapping[str, Any]) -> bool:
    """Whether a Job's machine is starting or at work."""
    conditions = item.get("status", {}).get("conditions") or []
    return not any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions)


def _bytes(gigabytes: float) -> str:
    return str(round(gigabytes * _GB))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing."
