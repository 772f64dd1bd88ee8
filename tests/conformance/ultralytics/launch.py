"""The client's commands in its own environment: `launch.py yolo train …`, `launch.py ul cloud …`, `launch.py -c …`.

torchvision's wheels do not load beside every torch: some lack the operators that they were built with. Then the two
that are asked for are defined before, so that the rest of it loads; the client has its own for what it computes.
"""

from __future__ import annotations

import subprocess
import sys


def main() -> None:
    if subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode:
        define_operators()
    command, *arguments = sys.argv[1:]
    sys.argv = [command, *arguments]
    if command == "-c":
        exec(arguments[0], {"__name__": "__main__"})  # noqa: S102 - a test's own script
    elif command == "yolo":
        from ultralytics.cfg import entrypoint

        entrypoint()
    else:
        from ultralytics_platform.cli import main as ul

        sys.exit(ul(arguments))


def define_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _kept.append(library)
    import torchvision

    # It looks for the library that did not load before each use.
    torchvision.ops.boxes._assert_has_ops = lambda: None


_kept: list[object] = []


def _nms(boxes, scores, threshold):
    """The indices of the boxes that no better one overlaps by more than the threshold, best first."""
    import torch

    order, kept = scores.argsort(descending=True), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        corner, other = (
            torch.maximum(boxes[best, :2], boxes[order, :2]),
            torch.minimum(boxes[best, 2:], boxes[order, 2:]),
        )
        shared = (other - corner).clamp(min=0).prod(dim=1)
        order = order[shared / (areas[best] + areas[order] - shared) <= threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.long)


if __name__ == "__main__":
    main()
