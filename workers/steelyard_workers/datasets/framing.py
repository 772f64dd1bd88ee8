"""Augmentation that moves pictures and what is marked on them alike: flipped, scaled, shifted, lit differently.

A frame says what part of its picture is looked at: the point (x, y) of the new picture, from -1 to 1, comes from
(zoom_x * x + shift_x, zoom_y * y + shift_y) of the old one. A negative zoom mirrors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Of a box, the share of its area that must stay visible for it to be kept.
_VISIBLE = 0.25


@dataclass(frozen=True, slots=True)
class Framing:
    """How far training pictures may be moved.

    Attributes:
        flip: the probability of a mirrored picture.
        scale: how much larger or smaller, as a share.
        shift: how far to a side, as a share of it.
        light: how much brighter or darker, as a share.
    """

    flip: float = 0.5
    scale: float = 0.25
    shift: float = 0.1
    light: float = 0.2


@dataclass(frozen=True, slots=True)
class Frames:
    """One frame for each picture of a batch.

    Attributes:
        zoom: (B, 2), along x and y.
        shift: (B, 2).
        light: (B,), what brightness is multiplied by.
    """

    zoom: Tensor
    shift: Tensor
    light: Tensor


def draw_frames(count: int, generator: torch.Generator, how: Framing) -> Frames:
    def spread(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    zoom = (1 + spread(count, 1) * how.scale).repeat(1, 2)
    mirrored = torch.rand(count, generator=generator) < how.flip
    zoom[:, 0] = torch.where(mirrored, -zoom[:, 0], zoom[:, 0])
    # The frame spans -1..1, so a share of the side is twice as much there.
    return Frames(zoom, spread(count, 2) * how.shift * 2, 1 + spread(count) * how.light)


def frame_pictures(pictures: Tensor, frames: Frames) -> Tensor:
    """(B, C, H, W) in 0..1; what lies outside is black."""
    moved = functional.grid_sample(pictures, _grid(pictures, frames), padding_mode="zeros", align_corners=False)
    return (moved * frames.light.to(pictures.device).view(-1, 1, 1, 1)).clamp(0, 1)


def frame_masks(masks: Tensor, frames: Frames, *, outside: int) -> Tensor:
    """(B, H, W), uint8, without blending; what lies outside becomes `outside`."""
    shifted = masks.unsqueeze(1).float() + 1  # so that the zeros of the padding are told apart
    grid = _grid(shifted, frames)
    moved = functional.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    numbers = moved.squeeze(1).round().long() - 1
    return torch.where(numbers < 0, outside, numbers).to(torch.uint8)


def frame_boxes(boxes: Tensor, frames: Frames, row: int) -> tuple[Tensor, Tensor]:
    """Where the boxes (n, 4) of picture `row` lie afterwards, and (n,) which of them are still to be seen."""
    zoom, shift = frames.zoom[row].repeat(2), frames.shift[row].repeat(2)
    moved = ((boxes * 2 - 1 - shift) / zoom + 1) / 2
    corners = torch.cat([torch.minimum(moved[:, :2], moved[:, 2:]), torch.maximum(moved[:, :2], moved[:, 2:])], dim=1)
    clipped = corners.clamp(0, 1)
    return clipped, _area(clipped) > _VISIBLE * _area(corners)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _grid(pictures: Tensor, frames: Frames) -> Tensor:
    zero = torch.zeros(len(pictures))  # frames are drawn on the CPU, so that they are the same on every device
    rows = [
        torch.stack([frames.zoom[:, 0], zero, frames.shift[:, 0]], dim=1),
        torch.stack([zero, frames.zoom[:, 1], frames.shift[:, 1]], dim=1),
    ]
    matrix = torch.stack(rows, dim=1).to(pictures.device)
    return functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
