"""Trainings through a whole installation: what was frozen is stored once, and an adapter stands on its base."""

from __future__ import annotations

import pytest

from steelyard_contracts.jobs import JobState
from tests.support.vision_datasets import LABELS, draw_splits, save_picture, write_masks, write_yolo

pytestmark = [pytest.mark.end_to_end]


def succeed(hub, job):
    final = hub.wait(job.id)
    assert final.state is JobState.SUCCEEDED, final.error
    return final


def test_what_is_frozen_has_the_same_digests_in_the_store(hub, dataset, quick):
    first = succeed(hub, hub.train(dataset=dataset, output="lab/rooted", **quick, optimizer="sgd"))
    assert first.result["optimizers"]["sgd"] > 0
    tuned = {**quick, "architecture": None, "base": "lab/rooted@v1", "freeze": "backbone", "ema": 0.9}
    second = succeed(hub, hub.train(dataset=dataset, output="lab/rooted", **tuned))
    assert second.result["transfer"] == {"loaded": first_tensors(hub), "reshaped": 0, "missing": 0, "unexpected": 0}
    hub.inspect("lab/rooted@v1")
    hub.inspect("lab/rooted@v2")
    before, after = ({one.name: one.digest for one in hub.tensors(f"lab/rooted@{name}")} for name in ("v1", "v2"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}


def first_tensors(hub):
    hub.inspect("lab/rooted@v1")
    return len(list(hub.tensors("lab/rooted@v1")))


def test_a_kept_adapter_stands_on_its_base(hub, installation, dataset, quick):
    succeed(hub, hub.train(dataset=dataset, output="lab/trunk", **quick))
    given = {**quick, "architecture": None, "base": "lab/trunk@v1", "adapter": {"rank": 2, "fate": "kept"}}
    made = succeed(hub, hub.train(dataset=dataset, output="lab/twig", **given)).result
    version = hub.version(made["version"])
    assert ("fine-tuned-from", "lab/trunk@v1") in {(edge.relation, edge.source) for edge in version.lineage}
    folder = hub.pull(made["version"])
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= {one.name for one in folder.iterdir()}
    assert "base_model_relation: adapter" in (folder / "README.md").read_text()
    assert "resnet-nano" in installation.run("steelyard", "zoo", "--task", "image-classification").stdout
    assert "rt-detr-v2-nano" in installation.run("steelyard", "zoo").stdout


@pytest.mark.parametrize(
    ("task", "model", "write", "measure"),
    [
        ("object-detection", "rt-detr-v2-nano", write_yolo, "map50"),
        ("image-segmentation", "segformer-nano", write_masks, "mean_iou"),
    ],
)
def test_boxes_and_masks_are_learned_measured_and_tried(hub, tmp_path, task, model, write, measure):
    splits = draw_splits({"train": 16, "val": 4})
    hub.push(write(tmp_path / "data", splits), f"datasets:/lab/{task}")
    fields = {"task": task, "model": model, "dataset": f"lab/{task}", "output": f"lab/{task}-net"}
    small = {"image_size": 64, "batch_size": 8, "epochs": 2, "learning_rate": 2e-3, "seed": 4}
    made = succeed(hub, hub.train(**fields, **small)).result["version"]
    succeed(hub, hub.evaluate(made, f"lab/{task}@v1"))
    assert {measure in one.metrics for one in hub.version(made).evaluations} == {True}
    save_picture(tmp_path / "one.png", splits["val"][0].pixels)
    answer = hub.predict(made, [tmp_path / "one.png"], threshold=0.0)
    (found,) = answer.pictures
    assert (answer.task, answer.runtime) == (task, "onnxruntime-cpu")
    assert {one.label for one in [*found.boxes, *found.shares]} <= {*LABELS, "background"}
    assert found.boxes or found.shares
