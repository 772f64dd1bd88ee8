"""What a device is told to run: a release's manifest, signed, and the answers the model is known to give.

The signature is a DSSE envelope (github.com/secure-systems-lab/dsse, protocol v1.0.2): the signed bytes are
`pae(payload_type, payload)`, so that a payload of one type can never pass for another.
"""

from __future__ import annotations

import base64

from pydantic import BaseModel, ConfigDict, Field

from steelyard_contracts.digests import canonical_json, sha256_of
from steelyard_contracts.names import check_file_path

RELEASE_PAYLOAD_TYPE = "application/vnd.steelyard.release.v1+json"
MODEL_FILE = "model.onnx"
KNOWN_ANSWERS_FILE = "known_answers.json"
LABELS_FILE = "config.json"


class ManifestFile(BaseModel):
    model_config = ConfigDict(frozen=True)

    path: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def checked(self) -> ManifestFile:
        check_file_path(self.path)
        return self


class ReleaseManifest(BaseModel):
    """Which version, made of which bytes. Its digest names the release everywhere."""

    model_config = ConfigDict(frozen=True)

    repository: str
    version: str
    commit: str
    files: list[ManifestFile]

    def payload(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        return sha256_of(self.payload())

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Envelope(BaseModel):
    """A DSSE envelope with one signature: ECDSA P-256 over SHA-256, DER, base64."""

    payload_type: str = RELEASE_PAYLOAD_TYPE
    payload: str
    key_id: str
    signature: str

    def payload_bytes(self) -> bytes:
        return base64.b64decode(self.payload, validate=True)


class KnownAnswer(BaseModel):
    """One input and what the model said when it was measured: pixels are rows of 0 to 255, channels last."""

    pixels: list[list[list[int]]]
    label: str
    logits: list[float]


class KnownAnswers(BaseModel):
    """A device switches to a release only after its own runtime gives these answers.

    Integer kernels may differ between processors in the last bits, so the labels must agree on at least
    `min_agreement` of the samples rather than each logit exactly.
    """

    image_size: int
    mean: float
    std: float
    min_agreement: float = Field(0.9, ge=0, le=1)
    answers: list[KnownAnswer] = Field(min_length=1)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the exact bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
