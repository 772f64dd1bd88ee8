"""How to use a repository from elsewhere, in the words of each tool, with this installation's own address."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.repos.models import Repository

# Files whose presence decides what can be said; asked for by name, whatever else a version holds.
SAFETENSORS, ONNX, CONFIG = "model.safetensors", "model.onnx", "config.json"
TELLING = (SAFETENSORS, ONNX, CONFIG)
_CLASSES = {
    "image-classification": "AutoModelForImageClassification",
    "object-detection": "AutoModelForObjectDetection",
    "image-segmentation": "AutoModelForSemanticSegmentation",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "text-generation": "AutoModelForCausalLM",
    "fill-mask": "AutoModelForMaskedLM",
    "automatic-speech-recognition": "AutoModelForSpeechSeq2Seq",
}


@dataclass(frozen=True, slots=True)
class Snippet:
    title: str
    text: str


def snippets(repository: Repository, *, revision: str, address: str, files: Collection[str]) -> list[Snippet]:
    """`files`: those of `TELLING` that the version has."""
    name, is_model = repository.full_name, repository.kind == RepositoryKind.MODEL
    ref = f"{name}@{revision}" if is_model else f"datasets:/{name}@{revision}"
    kind = "" if is_model else ', repo_type="dataset"'
    option = "" if is_model else " --repo-type dataset"
    found = [
        Snippet(
            "huggingface_hub",
            f"from huggingface_hub import snapshot_download\n\n"
            f'folder = snapshot_download("{name}", revision="{revision}"{kind}, endpoint="{address}")',
        ),
        Snippet(
            "hf",
            f"export HF_ENDPOINT={address}\nhf download {name} --revision {revision}{option}",
        ),
        Snippet("Python SDK", f'import steelyard\n\nhub = steelyard.connect("{address}")\nfolder = hub.pull("{ref}")'),
        Snippet("Shell", f"export STEELYARD_URL={address}\nsteelyard pull {ref} ./{repository.name}"),
    ]
    return found + (_of_model(repository, revision, address, files) if is_model else [])


def _of_model(repository: Repository, revision: str, address: str, files: Collection[str]) -> list[Snippet]:
    name, found = repository.full_name, []
    if CONFIG in files and repository.card.get("library_name", "transformers") == "transformers":
        task = repository.card.get("pipeline_tag")
        model_class = _CLASSES.get(task, "AutoModel") if isinstance(task, str) else "AutoModel"
        text = (
            f"import os\n\n"
            f'os.environ["HF_ENDPOINT"] = "{address}"  # before the import below\n'
            f"from transformers import {model_class}\n\n"
            f'model = {model_class}.from_pretrained("{name}", revision="{revision}")'
        )
        found.append(Snippet("transformers", text))
    if SAFETENSORS in files:
        text = _download(name, SAFETENSORS, revision, address, "from safetensors.torch import load_file")
        found.append(Snippet("torch", f"{text}\ntensors = load_file(path)"))
    if ONNX in files:
        text = _download(name, ONNX, revision, address, "from onnxruntime import InferenceSession")
        found.append(Snippet("onnxruntime", f"{text}\nsession = InferenceSession(path)"))
    return found


def _download(name: str, file: str, revision: str, address: str, also: str) -> str:
    return (
        f"from huggingface_hub import hf_hub_download\n{also}\n\n"
        f'path = hf_hub_download("{name}", "{file}", revision="{revision}", endpoint="{address}")'
    )
