"""Making ONNX files: float32 by export, float16 by conversion, int8 by static quantisation."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steelyard_workers.images import ImageFolder

_CALIBRATION_BATCH = 20
_MAX_CALIBRATION = 1000
INPUT, OUTPUT = "pixel_values", "logits"


class _Logits(nn.Module):
    """The network with plain logits as its only output, as runtimes want it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixel_values).logits
        return logits


def export_float32(network: nn.Module, path: Path, *, channels: int, size: int) -> None:
    """One self-contained file with a free batch dimension."""
    import onnx

    # The exporter mentions each library it could also have used; none is needed here.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # raised inside torch
        torch.onnx.export(
            _Logits(network).eval(),
            (torch.zeros(2, channels, size, size),),
            str(path),
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    onnx.checker.check_model(str(path))


def convert_float16(source: Path, path: Path) -> None:
    """Half the bytes; input and output stay float32, so that a device feeds both files alike."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)


def quantise_int8(source: Path, path: Path, calibration: ImageFolder) -> None:
    """Static quantisation (QDQ, uint8 activations, int8 weights per channel), ranges from the training split.

    `reduce_range` keeps weights to 7 bits: without it, AVX2 processors that lack VNNI saturate their 16-bit sums
    and silently ruin small networks.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def _reader(calibration: ImageFolder) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """ONNX Runtime's interface: the next batch, or None."""

        def __init__(self, batches: Iterator[dict[str, Any]]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, Any] | None:
            return next(self._batches, None)

    return Reader(_calibration_batches(calibration))


def _calibration_batches(calibration: ImageFolder) -> Iterator[dict[str, Any]]:
    seen = 0
    for pictures, _ in calibration.batches(_CALIBRATION_BATCH):
        if seen >= _MAX_CALIBRATION:
            return
        seen += len(pictures)
        yield {INPUT: pictures.numpy()}
