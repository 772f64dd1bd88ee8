"""What a training is asked to do: the data, the network, where it starts from, and how it learns.

A spec is checked in two places: what can be told from the spec alone is told here, when it is sent; what needs
the data, the base or the machine is told by the worker. Every refusal says what to change.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tasks import Task
from steelyard_contracts.wire import WireModel
from steelyard_contracts.zoo import ZooModel, zoo_model

__all__ = [
    "AUTO",
    "LOADED_AT",
    "AdapterFate",
    "Architecture",
    "Augmentation",
    "LoRA",
    "OptimizerName",
    "Precision",
    "ScheduleName",
    "Task",
    "TrainSpec",
]

AUTO: Literal["auto"] = "auto"
# The share of its progress at which a training has its data, and makes its first step.
LOADED_AT = 0.05
_DEFAULT_SIDE = 32
_PATTERN = re.compile(r"^[A-Za-z0-9_.*?\[\]!-]+$")


class OptimizerName(StrEnum):
    SGD = "sgd"
    ADAMW = "adamw"
    MUON = "muon"


class ScheduleName(StrEnum):
    """How the learning rate goes after the warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    LINEAR = "linear"
    ONE_CYCLE = "one-cycle"


class Precision(StrEnum):
    """What the network computes in. Weights, and what is committed, stay float32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class AdapterFate(StrEnum):
    """What becomes of an adapter when the training is done."""

    MERGED = "merged"  # into the base's weights: an ordinary version
    KEPT = "kept"  # as a version of the adapter alone, which stands on its base


class Architecture(WireModel):
    """A `transformers` ResNet, small enough for a CPU. Depths and widths are per stage."""

    family: Literal["resnet"] = "resnet"
    embedding_size: int = Field(16, ge=4, le=256)
    hidden_sizes: list[int] = Field(default_factory=lambda: [16, 32, 64], min_length=1, max_length=5)
    depths: list[int] = Field(default_factory=lambda: [1, 1, 1], min_length=1, max_length=5)
    layer_type: Literal["basic", "bottleneck"] = "basic"

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError("hidden_sizes and depths must have one number for each stage")
        return self


class Augmentation(WireModel):
    """How far a training picture may be moved and changed, anew each time it is seen."""

    rotation: float = Field(8.0, ge=0, le=180, description="Degrees to either side.")
    shift: float = Field(0.08, ge=0, le=0.5, description="Share of the picture's side.")
    scale: float = Field(0.1, ge=0, le=0.9, description="Share by which it grows or shrinks.")
    flip: bool = Field(default=False, description="Mirrored left to right, half of the time.")
    brightness: float = Field(0.0, ge=0, le=1, description="Share by which it gets lighter or darker.")
    contrast: float = Field(0.0, ge=0, le=1, description="Share by which its contrast grows or shrinks.")


class LoRA(WireModel):
    """Low-rank adapters on a frozen base: a few thousand parameters learn, and the head."""

    rank: int = Field(8, ge=1, le=256)
    alpha: int = Field(16, ge=1, le=1024)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: list[str] = Field(
        default_factory=list,
        max_length=50,
        description="Names of the modules that get one; every matrix and convolution of the backbone when none is.",
    )
    fate: AdapterFate = AdapterFate.MERGED


class TrainSpec(WireModel):
    """Train a network for `task`, from scratch or from `base`, and commit it to `output`.

    With `base`, tensors are matched by name and shape, the head is replaced when the classes differ, and what
    `freeze` names stays bit-identical.
    """

    kind: Literal["train"] = "train"
    task: Task = Task.CLASSIFICATION
    dataset: str = Field(description="A dataset reference, e.g. team/digits@v1.")
    output: str = Field(description="The model repository that receives the version, e.g. team/reader.")
    branch: str = Field("main", description="The branch to commit to; a new one starts empty.")

    # Which network, and where its weights come from.
    model: str | None = Field(None, max_length=60, description="A network of the zoo, e.g. resnet-small.")
    architecture: Architecture | None = Field(None, description="A ResNet of your own instead of one of the zoo.")
    base: str | None = Field(None, description="A model reference to start from; none trains from scratch.")
    base_file: str | None = Field(None, max_length=1024, description="The base's file to read, if it has several.")
    image_size: int | None = Field(
        None, ge=8, le=2048, description="Side in pixels; the zoo's or the base's when none is given."
    )

    # What of a base learns, and how fast.
    freeze: Literal["none", "backbone"] | Annotated[list[str], Field(min_length=1, max_length=100)] = Field(
        "none", description="The backbone, or modules by name or pattern, e.g. ['*.stages.0', '*norm*']."
    )
    unfrozen_stages: int = Field(
        0, ge=0, le=100, description="Last stages of a frozen backbone that train all the same."
    )
    unfreeze_every: int | None = Field(
        None, ge=1, description="Open another stage of a frozen backbone after this many epochs, from the last on."
    )
    layer_decay: float = Field(1.0, gt=0, le=1, description="Each stage further from the head learns this much slower.")
    adapter: LoRA | None = Field(None, description="Learn low-rank adapters instead of the base's own weights.")

    # How long, and with how much at once.
    epochs: int = Field(10, ge=1, le=10_000)
    batch_size: Annotated[int, Field(ge=2, le=4096)] | Literal["auto"] = Field(
        64, description="Pictures at once; 'auto' takes what the memory holds."
    )
    memory_share: float = Field(0.8, gt=0, le=0.95, description="Of the memory that an automatic batch may fill.")
    accumulate: int = Field(1, ge=1, le=1024, description="Batches whose gradients make one step.")
    patience: int | None = Field(None, ge=1, description="Stop after this many epochs without a better measure.")
    keep: Literal["best", "last"] = Field("best", description="Which epoch's weights are committed.")

    # How it learns.
    optimizer: OptimizerName = OptimizerName.ADAMW
    learning_rate: float = Field(3e-3, gt=0, le=10)
    weight_decay: float = Field(0.05, ge=0, le=1, description="Of matrices and kernels; biases and norms have none.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    nesterov: bool = False
    schedule: ScheduleName = ScheduleName.COSINE
    warm_up: float = Field(0.1, ge=0, le=0.9, description="Share of the steps in which the learning rate rises.")
    final_rate: float = Field(0.0, ge=0, le=1, description="Where the schedule ends, as a share of the learning rate.")
    clip_norm: float | None = Field(None, gt=0, description="Longest gradient that is let through.")
    ema: float | None = Field(
        None, gt=0, lt=1, description="Decay of an average of the weights, which is what is measured and committed."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] | Annotated[dict[str, float], Field(min_length=1)] = Field(
        "none", description="'balanced' makes rare classes count as much as common ones; or a weight by label."
    )
    augment: bool = True
    augmentation: Augmentation = Field(default_factory=Augmentation)

    # How it runs.
    precision: Precision = Precision.AUTO
    compile: bool = Field(default=False, description="Let torch.compile make a faster program of the network first.")
    deterministic: bool = Field(
        default=True,
        description="The same steps bit by bit from the same seed, and from a checkpoint; slower on a GPU.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1)
    checkpoint_every: int = Field(1, ge=1, description="Epochs between checkpoints.")
    checkpoint_seconds: float | None = Field(
        600.0, gt=0, description="Seconds after which a checkpoint is made within an epoch."
    )

    @property
    def zoo(self) -> ZooModel | None:
        return zoo_model(self.model) if self.model is not None else None

    @property
    def side(self) -> int:
        """Pixels of a picture's side: what was asked for, else what the zoo's network was made for."""
        return self.image_size or (self.zoo.image_size if self.zoo is not None else _DEFAULT_SIDE)

    @property
    def keeps_adapter(self) -> bool:
        """Whether the version is an adapter alone."""
        return self.adapter is not None and self.adapter.fate is AdapterFate.KEPT

    @model_validator(mode="after")
    def _zoo_has_it(self) -> Self:
        try:
            found = self.zoo
        except InvalidInputError as error:
            raise ValueError(str(error)) from error
        if found is not None and self.side % found.multiple:
            raise ValueError(
                f"{found.name} takes pictures whose side is a multiple of {found.multiple}; change image_size"
            )
        return self

    @model_validator(mode="after")
    def _network_is_one(self) -> Self:
        if self.model is not None and self.architecture is not None:
            raise ValueError("model and architecture both name a network; name one")
        if self.zoo is not None and self.zoo.task is not self.task:
            raise ValueError(f"{self.model} is for {self.zoo.task}; the task here is {self.task}")
        if self.architecture is not None and self.task is not Task.CLASSIFICATION:
            raise ValueError(f"architecture makes classifiers; name a network of the zoo for {self.task} with model")
        if self.task is not Task.CLASSIFICATION and self.model is None and self.base is None:
            raise ValueError(f"{self.task} needs a network: name one of the zoo with model, or weights with base")
        return self

    @model_validator(mode="after")
    def _transfer_has_a_base(self) -> Self:
        if self.base is None:
            wanting = [name for name, is_asked in self._of_a_base().items() if is_asked]
            if wanting:
                raise ValueError(f"{wanting[0]} needs weights to start from; name them with base")
        if self.freeze != "backbone" and (self.unfrozen_stages or self.unfreeze_every):
            raise ValueError(
                "unfrozen_stages and unfreeze_every open stages of a frozen backbone; set freeze to backbone"
            )
        if self.adapter is not None and (self.freeze != "none" or self.layer_decay != 1.0):
            raise ValueError("an adapter freezes the base by itself; leave out freeze and layer_decay")
        if self.adapter is not None and self.task is Task.DETECTION:
            raise ValueError("adapters are for classification and segmentation; a detector learns with freeze instead")
        if isinstance(self.freeze, list) and (odd := [one for one in self.freeze if not _PATTERN.match(one)]):
            raise ValueError(f"{odd[0]!r} is no pattern of module names; write one like '*.stages.0' or '*norm*'")
        return self

    def _of_a_base(self) -> dict[str, bool]:
        return {
            "freeze": self.freeze != "none",
            "base_file": self.base_file is not None,
            "adapter": self.adapter is not None,
        }

    @model_validator(mode="after")
    def _learning_fits_together(self) -> Self:
        if self.nesterov and (self.optimizer is not OptimizerName.SGD or self.momentum == 0):
            raise ValueError("nesterov is a kind of SGD's momentum; set optimizer to sgd and momentum above 0")
        if isinstance(self.class_weights, dict):
            if self.task is not Task.CLASSIFICATION:
                raise ValueError(f"class_weights are for image classification; leave them out for {self.task}")
            if any(not 0 < weight < float("inf") for weight in self.class_weights.values()):
                raise ValueError("class_weights must be positive numbers")
        return self
