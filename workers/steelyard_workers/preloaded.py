"""What most jobs need, loaded once by the process from which theirs are forked (see `nursery`).

ONNX Runtime is not among it: it has a thread from its import on, which no fork has.
"""

import torch
import transformers.loss.loss_utils
import transformers.modeling_utils
import transformers.models.auto.modeling_auto  # noqa: F401

import steelyard_workers.evaluation.job
import steelyard_workers.inspection.job
import steelyard_workers.prediction.job
import steelyard_workers.recipes.classification
import steelyard_workers.run_job  # noqa: F401

# What this loads at its first use takes longer than torch itself.
torch.use_deterministic_algorithms(mode=True)
torch.use_deterministic_algorithms(mode=False)
