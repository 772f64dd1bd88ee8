"""Machines for one job each: what Kubernetes is told, held against its own schema, and which jobs get one."""

from __future__ import annotations

import json
import stat
import sys
from uuid import uuid4

import kubernetes_validate
import pytest

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.workers import Capabilities, NextJob, Resources, fits
from steelyard_workers.launchers.dispatch import Plan, launch_next, read_plan
from steelyard_workers.launchers.kubernetes import KubernetesLauncher, KubernetesSettings, manifest, name_of
from steelyard_workers.launchers.launcher import LaunchError
from steelyard_workers.launchers.local import LocalLauncher

JOB = uuid4()
SETTINGS = KubernetesSettings(
    image="registry.example.org/steelyard:1",
    url="https://hub.example.org",
    namespace="training",
    service_account="trainer",
    gpu_products={"gpu:a100": "NVIDIA-A100-SXM4-80GB"},
    node_labels={"lab": {"example.org/room": "lab"}},
    tolerations=({"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},),
)
LARGE = Resources(labels=["gpu:a100", "lab"], gpus=2, memory_gb=200)


@pytest.mark.parametrize("needs", [Resources(), LARGE, Resources(labels=["gpu"])])
@pytest.mark.parametrize("settings", [SETTINGS, KubernetesSettings(image="i", url="https://h")])
def test_what_kubernetes_is_told_is_a_job_by_its_schema(needs, settings):
    kubernetes_validate.validate(manifest(JOB, needs, settings), "1.37", strict=True)


def test_the_schema_would_notice_a_mistake():
    wrong = manifest(JOB, LARGE, SETTINGS)
    wrong["spec"]["template"]["spec"]["restartPolicies"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_a_machine_has_what_its_job_needs_and_is_tried_once():
    spec = manifest(JOB, LARGE, SETTINGS)["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert container["command"] == ["steelyard", "worker", "--once", "--job", str(JOB)]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container["resources"]["requests"]["memory"] == "200000000000"
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "example.org/room": "lab"}
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu", "spot"]
    plain = manifest(JOB, Resources(), SETTINGS)["spec"]["template"]["spec"]
    assert "nodeSelector" not in plain
    assert "nvidia.com/gpu" not in plain["containers"][0]["resources"]["limits"]


def test_the_token_is_a_reference_to_a_secret():
    (container,) = manifest(JOB, LARGE, SETTINGS)["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one for one in container["env"]}
    assert told["STEELYARD_WORKER_TOKEN"] == {
        "name": "STEELYARD_WORKER_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "steelyard-worker", "key": "token"}},
    }
    assert told["STEELYARD_WORKER_LABELS"]["value"] == "lab"


def test_the_cluster_offers_what_its_nodes_can_be():
    has = KubernetesLauncher(SETTINGS).offers()
    assert fits(has, LARGE)
    assert not fits(has, Resources(labels=["gpu:h100"]))


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A `kubectl` that keeps what it is told in a folder, and refuses what it has, as a cluster does."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(
        f"""#!{sys.executable}
import json, pathlib, sys
kept, words = pathlib.Path({str(tmp_path)!r}), [one for one in sys.argv[1:] if one not in ("--namespace", "training")]
if words[0] == "create":
    made = json.load(sys.stdin)
    path = kept / (made["metadata"]["name"] + ".json")
    if path.exists():
        sys.exit('Error from server (AlreadyExists): jobs.batch "' + path.stem + '" already exists')
    path.write_text(json.dumps(made))
elif words[0] == "get":
    print(json.dumps({{"items": [json.loads(path.read_text()) for path in kept.glob("*.json")]}}))
elif words[0] == "delete":
    (kept / (words[2] + ".json")).unlink(missing_ok=True)
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def test_a_job_gets_one_machine_which_is_found_and_stopped_by_the_job(kubectl):
    launcher = KubernetesLauncher(SETTINGS)
    for _ in range(2):
        launcher.launch(JOB, LARGE)
    assert launcher.running() == {JOB}
    made = kubectl / f"{name_of(JOB)}.json"
    ended = {**json.loads(made.read_text()), "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    made.write_text(json.dumps(ended))
    assert launcher.running() == frozenset()
    launcher.stop(JOB)
    launcher.stop(JOB)
    assert not made.exists()


def test_without_kubectl_it_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="kubectl is not installed here"):
        KubernetesLauncher(SETTINGS).running()


class Machines:
    """A launcher of which a test sees everything."""

    def __init__(self):
        self.launched = {}

    def offers(self):
        return Capabilities()

    def launch(self, job, needs):
        self.launched[job] = needs

    def running(self):
        return frozenset(self.launched)

    def stop(self, job):
        del self.launched[job]


def test_each_job_that_waits_gets_a_machine_up_to_the_limit():
    machines, waiting = Machines(), [uuid4() for _ in range(3)]

    def next_job(*, exclude):
        found = next((job for job in waiting if job not in exclude), None)
        return NextJob(job=found, needs=LARGE, again_seconds=0 if found else 9)

    plan = Plan(machines, at_most=2)
    assert [launch_next(plan, next_job) for _ in range(3)] == [0, 0, 5]
    assert list(machines.launched) == waiting[:2]
    waiting = waiting[:2]
    assert launch_next(Plan(machines, at_most=3), next_job) == 9


def test_a_local_machine_is_a_process_that_ends_with_its_job():
    launcher = LocalLauncher({"STEELYARD_URL": "http://127.0.0.1:1", "STEELYARD_WORKER_TOKEN": "sy_x"}, Capabilities())
    launcher.launch(JOB, Resources())
    launcher.launch(JOB, Resources())
    assert launcher.running() == {JOB}
    launcher.stop(JOB)
    assert launcher.running() == frozenset()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("launcher = 'moon'", "'kubernetes' or 'local', not 'moon'"),
        ("launcher = 'kubernetes'\n[kubernetes]\nurl = 'x'", "image: Field required"),
        ("launcher = 'local'\nat_most = 0", "at_most is a number from 1 to"),
        ("launcher =", "is no TOML"),
    ],
)
def test_a_plan_that_cannot_be_meant_says_what_is_wrong(tmp_path, text, sentence):
    path = tmp_path / "launch.toml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=sentence):
        read_plan(path, Capabilities)


def test_a_plan_is_read_from_toml(tmp_path):
    path = tmp_path / "launch.toml"
    path.write_text(
        "launcher = 'kubernetes'\nat_most = 3\n[kubernetes]\nimage = 'i'\nurl = 'https://h'\n"
        "gpu_products = { 'gpu:a100' = 'NVIDIA-A100' }\ntolerations = [{ key = 'spot', operator = 'Exists' }]\n"
    )
    plan = read_plan(path, Capabilities)
    assert (plan.at_most, "gpu:a100" in plan.launcher.offers().labels) == (3, True)
