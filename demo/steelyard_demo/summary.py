"""What the demo prints at its end."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from steelyard_demo.devices import SICK
from steelyard_demo.digits import SHOTS


def print_summary(results: dict[str, Any], console: Console) -> None:
    console.print(_training(results))
    console.print(f"gate: {results['gate']}\nrefused: {results['refusal']}\n", highlight=False)
    console.print(_variants(results["variants"]))
    console.print(_devices(results))


def _training(results: dict[str, Any]) -> Table:
    table = Table("versions", "how", "accuracy", "training, s", title="Training", title_justify="left")
    base = results["base"]
    table.add_row(_label(base), "from scratch on 0 to 6", f"{base['accuracy']:.4f}", f"{base['train_seconds']:.1f}")
    rows = {
        "fine_tuned": f"fine-tuned from {_label(base)} on {SHOTS} pictures each of 7 to 9",
        "scratch": "from scratch on the same pictures, same epochs",
    }
    for key, how in rows.items():
        runs = results[key]["runs"]
        seconds = sum(run["train_seconds"] for run in runs) / len(runs)
        versions, each = ", ".join(map(_label, runs)), ", ".join(f"{run['accuracy']:.4f}" for run in runs)
        table.add_row(versions, how, f"{results[key]['accuracy']:.4f} (mean of {each})", f"{seconds:.1f}")
    table.caption = f"Transfer learning gave {results['gain'] * 100:+.1f} points at the same number of epochs."
    return table


def _label(run: dict[str, Any]) -> str:
    return str(run["version"]).rpartition("@")[2]


def _variants(variants: dict[str, Any]) -> Table:
    columns = ("variant", "version", "accuracy", "lost", "kB", "ms (median)")
    table = Table(*columns, title="Variants, measured in ONNX Runtime on one thread", title_justify="left")
    for name, one in variants.items():
        if not isinstance(one, dict) or "bytes" not in one:
            continue
        table.add_row(
            name,
            one.get("version", "refused"),
            f"{one['accuracy']:.4f}",
            f"{one['accuracy_drop'] * 100:+.2f} points",
            f"{one['bytes'] / 1000:.0f}",
            f"{one['latency_ms_p50']:.3f}",
        )
    return table


def _devices(results: dict[str, Any]) -> Table:
    table = Table("device", "runs", "accuracy on held-out pictures", title="Devices", title_justify="left")
    for name, one in results["devices"].items():
        table.add_row(name, one["version"] or "nothing", f"{one['accuracy']:.4f}")
    table.caption = f"{SICK}: {results['sick']}"
    return table
