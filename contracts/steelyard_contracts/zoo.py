"""The zoo: networks that a training can name. Pure data; a worker builds them with `transformers`, untrained.

    zoo_model("resnet-small").image_size   # 224
    [one.name for one in ZOO if one.task is Task.DETECTION]

`nano` trains on a CPU in minutes, `small` is what most teams want on one GPU, `base` is for much data.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.tasks import Task

# What `parameters` are counted with: colour pictures and ten classes.
COUNTED_CHANNELS, COUNTED_CLASSES = 3, 10


class ZooModel(BaseModel):
    """A network by the name of its `transformers` configuration and that configuration's arguments."""

    model_config = ConfigDict(frozen=True)

    name: str
    task: Task
    family: str
    description: str = Field(description="One sentence: what it is good at.")
    config: str = Field(description="The class in transformers, such as ResNetConfig.")
    settings: dict[str, Any] = Field(description="What that class is called with.")
    parameters: int = Field(description="Trained numbers, with three channels and ten classes.")
    image_size: int = Field(description="Side in pixels that it is meant for.")
    multiple: int = Field(description="A picture's side must be a multiple of this.")
    takes_size: bool = Field(default=False, description="Whether its configuration has to know the side.")

    @property
    def millions(self) -> str:
        """The parameters in millions, for people."""
        return f"{self.parameters / 1e6:.2f}"


def zoo_model(name: str) -> ZooModel:
    """Raises: InvalidInputError, naming what there is."""
    found = _BY_NAME.get(name)
    if found is None:
        raise InvalidInputError(f"The zoo has no network {name!r}; it has: {', '.join(_BY_NAME)}.", model=name)
    return found


def _resnet(name: str, parameters: int, image_size: int, description: str, **settings: Any) -> ZooModel:
    return ZooModel(
        name=name, task=Task.CLASSIFICATION, family="ResNet", description=description, config="ResNetConfig",
        settings=settings, parameters=parameters, image_size=image_size, multiple=1,
    )  # fmt: skip


def _mobilenet(name: str, parameters: int, image_size: int, description: str, **settings: Any) -> ZooModel:
    return ZooModel(
        name=name, task=Task.CLASSIFICATION, family="MobileNetV2", description=description,
        config="MobileNetV2Config", settings={"classifier_dropout_prob": 0.2, **settings}, parameters=parameters,
        image_size=image_size, multiple=1, takes_size=True,
    )  # fmt: skip


def _vit(name: str, parameters: int, image_size: int, description: str, **settings: Any) -> ZooModel:
    return ZooModel(
        name=name, task=Task.CLASSIFICATION, family="ViT", description=description, config="ViTConfig",
        settings=settings, parameters=parameters, image_size=image_size, multiple=settings["patch_size"],
        takes_size=True,
    )  # fmt: skip


def _detector(
    name: str, family: str, config: str, parameters: int, image_size: int, description: str, **settings: Any
) -> ZooModel:
    return ZooModel(
        name=name, task=Task.DETECTION, family=family, description=description, config=config, settings=settings,
        parameters=parameters, image_size=image_size, multiple=32,
    )  # fmt: skip


def _segformer(name: str, parameters: int, image_size: int, description: str, **settings: Any) -> ZooModel:
    return ZooModel(
        name=name, task=Task.SEGMENTATION, family="SegFormer", description=description, config="SegformerConfig",
        settings=settings, parameters=parameters, image_size=image_size, multiple=32,
    )  # fmt: skip


def _rt_detr_backbone(layer_type: str, embedding: int, hidden: list[int], depths: list[int]) -> dict[str, Any]:
    return {
        "model_type": "rt_detr_resnet", "layer_type": layer_type, "embedding_size": embedding,
        "hidden_sizes": hidden, "depths": depths, "out_indices": [2, 3, 4],
    }  # fmt: skip


def _hgnet(out_indices: list[int]) -> dict[str, Any]:
    return {
        "model_type": "hgnet_v2", "stem_channels": [3, 16, 16], "stage_in_channels": [16, 64, 256, 512],
        "stage_mid_channels": [16, 32, 64, 128], "stage_out_channels": [64, 256, 512, 1024],
        "hidden_sizes": [64, 256, 512, 1024], "embedding_size": 16,
        "stage_num_blocks": [1, 1, 2, 1], "stage_numb_of_layers": [3, 3, 3, 3], "use_learnable_affine_block": True,
        "out_indices": out_indices,
    }  # fmt: skip


def _dinov2(hidden_size: int, *, layers: int, heads: int, out_indices: list[int]) -> dict[str, Any]:
    """In windows of two by two, so that a picture's side is a multiple of two patches."""
    return {
        "model_type": "rf_detr_dinov2", "hidden_size": hidden_size, "num_hidden_layers": layers,
        "num_attention_heads": heads, "patch_size": 16, "num_windows": 2, "out_indices": out_indices,
    }  # fmt: skip


ZOO: tuple[ZooModel, ...] = (
    _resnet(
        "resnet-nano", 79_962, 32, "Residual convolutions for small, simple pictures such as digits and marks.",
        embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic",
    ),
    _resnet(
        "resnet-small", 11_181_642, 224, "ResNet-18: the first network to try on photographs.",
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic",
    ),
    _resnet(
        "resnet-base", 23_528_522, 224,
        "ResNet-50: more accurate than ResNet-18 where there are many thousand pictures.",
        embedding_size=64, hidden_sizes=[256, 512, 1024, 2048], depths=[3, 4, 6, 3], layer_type="bottleneck",
    ),
    _mobilenet(
        "mobilenet-v2-nano", 305_770, 96,
        "The smallest that still reads photographs: for microcontrollers and old phones.",
        depth_multiplier=0.35, finegrained_output=False,
    ),
    _mobilenet(
        "mobilenet-v2-small", 1_368_234, 160, "Depthwise convolutions for phones: little work for each picture.",
        depth_multiplier=0.75,
    ),
    _mobilenet(
        "mobilenet-v2-base", 2_236_682, 224, "MobileNetV2 as it was published.",
        depth_multiplier=1.0,
    ),
    _vit(
        "vit-nano", 208_074, 32, "A transformer over patches of 4 pixels, for small pictures; its matrices suit Muon.",
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, patch_size=4,
    ),
    _vit(
        "vit-small", 5_526_346, 224, "ViT-Tiny/16: a transformer that wants a base or many pictures.",
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, patch_size=16,
    ),
    _vit(
        "vit-base", 85_806_346, 224, "ViT-Base/16: for fine-tuning large pre-trained weights.",
        hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, patch_size=16,
    ),
    _detector(
        "rt-detr-v2-nano", "RT-DETRv2", "RTDetrV2Config", 763_202, 320,
        "A detector that a CPU trains: few queries, two decoder layers.",
        backbone_config=_rt_detr_backbone("basic", 16, [16, 32, 64, 128], [1, 1, 1, 1]),
        encoder_in_channels=[32, 64, 128], encoder_hidden_dim=64, encoder_ffn_dim=128, encoder_attention_heads=4,
        d_model=64, decoder_in_channels=[64, 64, 64], decoder_ffn_dim=128, decoder_attention_heads=4, decoder_layers=2,
        num_queries=100, num_denoising=50, hidden_expansion=0.5, freeze_backbone_batch_norms=False,
    ),
    _detector(
        "rt-detr-v2-small", "RT-DETRv2", "RTDetrV2Config", 20_094_584, 640,
        "RT-DETRv2 on ResNet-18: real-time detection without NMS.",
        backbone_config=_rt_detr_backbone("basic", 64, [64, 128, 256, 512], [2, 2, 2, 2]),
        encoder_in_channels=[128, 256, 512], hidden_expansion=0.5, decoder_layers=3, freeze_backbone_batch_norms=False,
    ),
    _detector(
        "rt-detr-v2-base", "RT-DETRv2", "RTDetrV2Config", 42_800_770, 640,
        "RT-DETRv2 on ResNet-50: for small objects and many classes.",
        backbone_config=_rt_detr_backbone("bottleneck", 64, [256, 512, 1024, 2048], [3, 4, 6, 3]),
        freeze_backbone_batch_norms=False,
    ),
    _detector(
        "d-fine-nano", "D-FINE", "DFineConfig", 3_737_613, 640,
        "D-FINE-N: boxes as distributions, at the size of a phone's detector.",
        backbone_config=_hgnet([3, 4]), encoder_in_channels=[512, 1024], feat_strides=[16, 32], encoder_hidden_dim=128,
        encoder_ffn_dim=512, encode_proj_layers=[1], d_model=128, decoder_in_channels=[128, 128], decoder_ffn_dim=512,
        num_feature_levels=2, decoder_n_points=[6, 6], decoder_layers=3, hidden_expansion=0.34, depth_mult=0.5,
        freeze_backbone_batch_norms=False,
    ),
    _detector(
        "d-fine-small", "D-FINE", "DFineConfig", 10_231_997, 640,
        "D-FINE-S: sharper boxes than RT-DETRv2 at half the size.",
        backbone_config=_hgnet([2, 3, 4]), encoder_in_channels=[256, 512, 1024], decoder_layers=3,
        decoder_n_points=[3, 6, 3], hidden_expansion=0.5, depth_mult=0.34, freeze_backbone_batch_norms=False,
    ),
    _detector(
        "rf-detr-nano", "RF-DETR", "RfDetrConfig", 1_437_124, 320,
        "RF-DETR small enough to learn from scratch: a transformer over windows of the picture.",
        backbone_config=_dinov2(96, layers=4, heads=3, out_indices=[2, 4]),
        d_model=128, decoder_layers=2, decoder_ffn_dim=256, decoder_self_attention_heads=4,
        decoder_cross_attention_heads=8, decoder_n_points=2, intermediate_size=256, c2f_num_blocks=1, num_queries=100,
        group_detr=5,
    ),
    _detector(
        "rf-detr-small", "RF-DETR", "RfDetrConfig", 31_819_732, 512,
        "RF-DETR on a windowed DINOv2-S: for fine-tuning pre-trained weights.",
        backbone_config=_dinov2(384, layers=12, heads=6, out_indices=[3, 6, 9, 12]), decoder_layers=3,
        decoder_n_points=2,
    ),
    _detector(
        "rf-detr-base", "RF-DETR", "RfDetrConfig", 33_396_020, 576,
        "RF-DETR with a deeper decoder: for small objects and many classes.",
        backbone_config=_dinov2(384, layers=12, heads=6, out_indices=[3, 6, 9, 12]), decoder_layers=4,
        decoder_n_points=2,
    ),
    _segformer(
        "segformer-nano", 456_426, 128, "A class for each pixel of small pictures; trains on a CPU.",
        hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 4], decoder_hidden_size=64,
    ),
    _segformer(
        "segformer-small", 3_716_714, 512, "SegFormer-B0: scenes and parts of things, on one GPU.",
    ),
    _segformer(
        "segformer-base", 27_354_314, 512, "SegFormer-B2: for fine outlines.",
        hidden_sizes=[64, 128, 320, 512], depths=[3, 4, 6, 3], decoder_hidden_size=768,
    ),
)  # fmt: skip

_BY_NAME = {one.name: one for one in ZOO}
