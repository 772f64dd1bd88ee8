"""What the evaluation of each task hands back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard_contracts.evaluation import WorstSample
from steelyard_workers.evaluation.findings import Findings


@dataclass(frozen=True, slots=True)
class Outcome:
    """`one_picture`, (1, C, H, W) as the network takes it, is what latency is measured with."""

    findings: Findings
    pictures: int
    samples: list[WorstSample]
    one_picture: NDArray[np.float32]
