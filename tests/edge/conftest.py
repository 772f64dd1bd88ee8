"""A platform for the agent to talk to: the real wire types and signatures, in memory."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from uuid import uuid4

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import UnavailableError
from steelyard_contracts.fleet import DeviceState, InstallReport, PollAnswer, ReleaseOffer
from steelyard_contracts.manifests import (
    KNOWN_ANSWERS_FILE,
    MODEL_FILE,
    RELEASE_PAYLOAD_TYPE,
    Envelope,
    KnownAnswer,
    KnownAnswers,
    ManifestFile,
    ReleaseManifest,
    pae,
)
from steelyard_edge.agent import Agent
from steelyard_edge.identity import Identity


def bright_or_dark(weight=1.0):
    """An ONNX classifier of 2 x 2 pictures: logits (-sum, sum), so that bright pictures are `bright`."""
    kernel = np.array([[-weight, weight]] * 4, dtype=np.float32)
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 1, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def answers():
    def one(value, label):
        return KnownAnswer(pixels=[[[value], [value]]] * 2, label=label, logits=[0, 0])

    known = KnownAnswers(image_size=2, mean=0.5, std=0.5, answers=[one(0, "dark"), one(255, "bright")])
    return known.model_dump_json().encode()


class FakePlatform:
    """Implements the agent's transport: polls, reports and files. `cut` breaks downloads off after so many bytes."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.reports: list[InstallReport] = []
        self.files: dict[str, bytes] = {}
        self.offer: ReleaseOffer | None = None
        self.cut: int | None = None
        self.is_down = False
        self.requested: list[tuple[str, int]] = []

    @property
    def public_key(self):
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def offer_release(self, *, version="v1", weight=1.0, **files):
        self.files = {
            MODEL_FILE: bright_or_dark(weight),
            KNOWN_ANSWERS_FILE: answers(),
            "config.json": json.dumps({"id2label": {"0": "dark", "1": "bright"}, "num_channels": 1}).encode(),
            **files,
        }
        manifest = ReleaseManifest(
            repository="lab/reader",
            version=version,
            commit="0" * 40,
            files=[
                ManifestFile(path=path, size=len(data), sha256=sha256_of(data)) for path, data in self.files.items()
            ],
        )
        self.offer = ReleaseOffer(release=uuid4(), digest=manifest.digest, manifest=self.sign(manifest))
        return manifest.digest

    def sign(self, manifest):
        payload = manifest.payload()
        signature = self.key.sign(pae(RELEASE_PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        return Envelope(
            payload=base64.b64encode(payload).decode(), key_id="k", signature=base64.b64encode(signature).decode()
        )

    # --- the transport's interface -----------------------------------------------------------

    def post(self, model, path, body, *, repeatable=False):
        self._check()
        assert path.endswith("/poll")
        offer = self.offer if not self.reports or not self.reports[-1].state.is_final else None
        if self.offer and self.reports and self.reports[-1].release != self.offer.release:
            offer = self.offer
        return PollAnswer(state=DeviceState.ACCEPTED, offer=offer, poll_seconds=0)

    def call(self, method, path, *, body=None, query=None, repeatable=True):
        self._check()
        assert path.endswith("/report")
        self.reports.append(body)

    @contextmanager
    def stream(self, path, *, start=0):
        self._check()
        name = path.partition("/files/")[2]
        self.requested.append((name, start))
        data = self.files[name][start:]
        yield start > 0, iter([data if self.cut is None else data[: self.cut]])

    def _check(self):
        if self.is_down:
            raise UnavailableError("The platform is down.")


@pytest.fixture
def platform():
    return FakePlatform()


@pytest.fixture
def agent_in(tmp_path, platform):
    """An agent in the test's folder; called again, it is the same device after a restart."""
    folder = tmp_path / "device"
    folder.mkdir()
    Identity(url="http://hub.test", name="gate-1", key="sy_device", public_key=platform.public_key).save(folder)

    def make(health_command=""):
        agent = Agent(folder, health_command=health_command)
        agent.transport = platform
        return agent

    return make
