"""The weights that travel: a transformer's tensors, and what training and tools make of them.

    python -m benchmarks.transfer.weights FOLDER MEGABYTES

writes one folder for each scenario, every one made from `base`. The numbers are normal deviates, which compress as
badly as trained weights do; a tuned tensor is its former self with every element moved by about a thousandth.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[Any]]

BLOCKS, HEAD_SHARE, ATTENTION_SHARE = 12, 0.02, 0.30


def make(folder: Path, megabytes: float) -> None:
    base = initial(megabytes)
    changed = {
        "base": base,
        "head": tuned(base, head(base)),
        "attention": tuned(base, attention(base)),
        "full": tuned(base, base),
        "fp16": {name: tensor.astype(np.float16) for name, tensor in base.items()},
        "reordered": reordered(base),
    }
    for scenario, weights in changed.items():
        write_safetensors(_file(folder, scenario), weights)
    note = {"format": "pt", "epoch": "12", "note": "a longer header moves every byte behind it"}
    write_safetensors(_file(folder, "metadata"), base, note)
    write_pt(_file(folder, "pt").with_name("model.pt"), base)


def shapes(megabytes: float) -> dict[str, tuple[int, ...]]:
    """Of a network of that size: attention has its share of all numbers, the head its own, the embedding the rest."""
    total = megabytes * 1e6 / 4
    width = round(math.sqrt(total * ATTENTION_SHARE / (4 * BLOCKS)))
    body: dict[str, tuple[int, ...]] = {"norm.weight": (width,), "norm.bias": (width,)}
    for block in range(BLOCKS):
        body |= {
            f"blocks.{block}.{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")
        }
        layers = {"attention.in": (3, 1), "attention.out": (1, 1), "mlp.in": (4, 1), "mlp.out": (1, 4)}
        for layer, (rows, columns) in layers.items():
            body[f"blocks.{block}.{layer}.weight"] = (rows * width, columns * width)
            body[f"blocks.{block}.{layer}.bias"] = (rows * width,)
    classes = round(total * HEAD_SHARE / (width + 1))
    rest = total * (1 - HEAD_SHARE) - sum(map(math.prod, body.values()))
    body |= {"embedding.weight": (round(rest / width), width)}
    return body | {"head.weight": (classes, width), "head.bias": (classes,)}


def initial(megabytes: float) -> Weights:
    random = np.random.default_rng(1)
    return {
        name: random.standard_normal(shape, np.float32) * np.float32(0.02)
        for name, shape in sorted(shapes(megabytes).items())
    }


def head(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("head.")]


def attention(names: Iterable[str]) -> list[str]:
    """The matrices in every block: the change is spread over the whole file."""
    return [name for name in names if ".attention." in name and name.endswith(".weight")]


def tuned(base: Weights, names: Iterable[str]) -> Weights:
    random = np.random.default_rng(2)
    steps = {name: random.standard_normal(base[name].shape, np.float32) * np.float32(2e-5) for name in names}
    return {name: tensor + steps[name] if name in steps else tensor for name, tensor in base.items()}


def reordered(base: Weights) -> Weights:
    names = list(base)
    np.random.default_rng(3).shuffle(names)
    return {name: base[name] for name in names}


def write_safetensors(path: Path, weights: Weights, metadata: dict[str, str] | None = None) -> None:
    """In the order given: the format's own library would sort, and `reordered` would be no scenario."""
    header: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    end = 0
    for name, tensor in weights.items():
        start, end = end, end + tensor.nbytes
        dtype = {"float32": "F32", "float16": "F16"}[tensor.dtype.name]
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in weights.values():
            file.write(np.ascontiguousarray(tensor).data)


def write_pt(path: Path, weights: Weights) -> None:
    import torch

    torch.save({name: torch.from_numpy(tensor) for name, tensor in weights.items()}, path)


def _file(folder: Path, scenario: str) -> Path:
    """Beside a small one, as every model has it."""
    (folder / scenario).mkdir(parents=True)
    (folder / scenario / "config.json").write_text(json.dumps({"model_type": "transformer", "layers": BLOCKS}))
    return folder / scenario / "model.safetensors"


if __name__ == "__main__":
    make(Path(sys.argv[1]), float(sys.argv[2]))
