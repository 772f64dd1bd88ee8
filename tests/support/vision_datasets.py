"""Small datasets of coloured shapes on noise, whose boxes and masks are known, in every layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LABELS = ["disc", "square"]
_COLOURS = {"disc": (230, 60, 40), "square": (40, 90, 235)}


@dataclass(frozen=True)
class Drawn:
    """A picture with one or two shapes.

    Attributes:
        pixels: (H, W, 3), uint8.
        boxes: (label, left, top, width, height) in pixels.
        mask: (H, W), uint8: 0 for the background, then the number of the label plus one.
    """

    pixels: np.ndarray
    boxes: list[tuple[str, int, int, int, int]]
    mask: np.ndarray


def draw(generator: np.random.Generator, width: int, height: int, shapes: int = 1) -> Drawn:
    pixels = generator.integers(0, 60, (height, width, 3)).astype(np.uint8)
    mask = np.zeros((height, width), dtype=np.uint8)
    down, across = np.mgrid[:height, :width]
    boxes = []
    for _ in range(shapes):
        label = LABELS[generator.integers(len(LABELS))]
        side = int(generator.integers(min(width, height) // 3, min(width, height) // 2))
        left, top = int(generator.integers(0, width - side)), int(generator.integers(0, height - side))
        inside = (across >= left) & (across < left + side) & (down >= top) & (down < top + side)
        if label == "disc":
            radius = side / 2
            inside &= (across - left - radius + 0.5) ** 2 + (down - top - radius + 0.5) ** 2 <= radius**2
        pixels[inside] = _COLOURS[label]
        mask[inside] = LABELS.index(label) + 1
        boxes.append((label, left, top, side, side))
    return Drawn(pixels, boxes, mask)


def draw_splits(counts: dict[str, int], size: tuple[int, int] = (64, 64)) -> dict[str, list[Drawn]]:
    generator = np.random.default_rng(7)
    return {split: [draw(generator, *size) for _ in range(count)] for split, count in counts.items()}


def save_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_coco(root: Path, splits: dict[str, list[Drawn]], *, polygons: bool = False) -> Path:
    """`annotations/instances_<split>.json` and `<split>/<number>.png`."""
    for split, pictures in splits.items():
        for number, drawn in enumerate(pictures):
            save_picture(root / split / f"{number}.png", drawn.pixels)
        write_json(root / f"annotations/instances_{split}.json", coco_json(pictures, polygons=polygons))
    return root


def coco_json(pictures: list[Drawn], *, polygons: bool = False) -> dict[str, Any]:
    annotations = [
        {"id": number, "image_id": image, "category_id": LABELS.index(label) + 1, "bbox": [x, y, w, h], "area": w * h}
        | ({"segmentation": [[x, y, x + w - 1, y, x + w - 1, y + h - 1, x, y + h - 1]]} if polygons else {})
        for number, (image, (label, x, y, w, h)) in enumerate(
            (image, box) for image, drawn in enumerate(pictures) for box in drawn.boxes
        )
    ]
    images = [
        {"id": image, "file_name": f"{image}.png", "width": drawn.mask.shape[1], "height": drawn.mask.shape[0]}
        for image, drawn in enumerate(pictures)
    ]
    categories = [{"id": number + 1, "name": label} for number, label in enumerate(LABELS)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_yolo(root: Path, splits: dict[str, list[Drawn]]) -> Path:
    write_text(root / "data.yaml", f"names:\n  0: {LABELS[0]}\n  1: {LABELS[1]}\n")
    for split, pictures in splits.items():
        for number, drawn in enumerate(pictures):
            save_picture(root / "images" / split / f"{number}.png", drawn.pixels)
            height, width = drawn.mask.shape
            lines = [
                f"{LABELS.index(label)} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n"
                for label, x, y, w, h in drawn.boxes
            ]
            write_text(root / "labels" / split / f"{number}.txt", "".join(lines))
    return root


def write_metadata(root: Path, splits: dict[str, list[Drawn]]) -> Path:
    for split, pictures in splits.items():
        lines = []
        for number, drawn in enumerate(pictures):
            save_picture(root / split / f"{number}.png", drawn.pixels)
            objects = {
                "bbox": [list(box[1:]) for box in drawn.boxes],
                "category": [box[0] for box in drawn.boxes],
            }
            lines.append(json.dumps({"file_name": f"{number}.png", "objects": objects}) + "\n")
        write_text(root / split / "metadata.jsonl", "".join(lines))
    return root


def write_masks(root: Path, splits: dict[str, list[Drawn]]) -> Path:
    write_json(root / "classes.json", ["background", *LABELS])
    for split, pictures in splits.items():
        for number, drawn in enumerate(pictures):
            save_picture(root / split / "images" / f"{number}.png", drawn.pixels)
            save_picture(root / split / "masks" / f"{number}.png", drawn.mask)
    return root


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content))


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files_of(root: Path) -> dict[str, bytes]:
    """Path to content, as a commit takes it."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
