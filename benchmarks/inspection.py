"""What looking into weights costs, and comparing two versions of them.

    python -m benchmarks.inspection [--megabytes 1000] [--compare-megabytes 500]

Inspection: every tensor's digest, statistics and histogram, in a process of its own whose peak memory is read; beside
it torch, which loads the file and asks for the same numbers. Comparing: two versions that share 98%, pushed into an
installation of its own; beside it the same numbers from both files whole.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.machine import machine

_TENSOR = 2_500_000  # values: 10 MB
_SHARE = 0.02

# The peak is read from the kernel's table: what getrusage says begins with the parent's.
_PEAK = """
import json, sys, time
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""
_OURS = """
from pathlib import Path
from steelyard_workers.inspection.files import inspect_file
before = peak()
started, used = time.perf_counter(), time.process_time()
report = inspect_file(Path(sys.argv[1]))
print(json.dumps([time.perf_counter() - started, time.process_time() - used, peak(), before]))
"""
_THEIRS = """
import hashlib
import torch
from safetensors.torch import load_file
torch.set_num_threads(1)
before = peak()
started, used = time.perf_counter(), time.process_time()
tensors = load_file(sys.argv[1])
for one in tensors.values():
    hashlib.sha256(memoryview(one.numpy()).cast("B")).hexdigest()
    one.min(), one.max(), one.mean(), one.std(), (one == 0).float().mean(), one.isnan().sum(), one.isinf().sum()
    torch.histc(one, 32)
print(json.dumps([time.perf_counter() - started, time.process_time() - used, peak(), before]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--compare-megabytes", type=int, default=500)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as folder:
        inspection(Path(folder), options.megabytes)
        comparison(Path(folder), options.compare_megabytes)


def inspection(folder: Path, megabytes: int) -> None:
    path = folder / "model.safetensors"
    write(path, megabytes, changed=0)
    size = path.stat().st_size / 1e6
    print(f"\n{'inspecting':<28}{'seconds':>9}{'of CPU':>8}{'MB/s':>8}{'peak MB':>9}{'imports MB':>12}")
    for name, script in (("steelyard", _OURS), ("torch, the file loaded", _THEIRS)):
        seconds, used, peak, before = measured(script, path)
        print(f"{name:<28}{seconds:>9.2f}{used:>8.2f}{size / seconds:>8.0f}{peak / 1000:>9.0f}{before / 1000:>12.0f}")
    path.unlink()


def comparison(folder: Path, megabytes: int) -> None:
    """Through an installation, as a user would: push, push, diff."""
    import steelyard
    from tests.support.installations import RunningInstallation

    installation = RunningInstallation(folder / "installation")
    installation.start()
    weights = folder / "weights"
    weights.mkdir()
    try:
        with steelyard.connect(installation.url, installation.token, quiet=True) as hub:
            for changed in (0, _SHARE):
                write(weights / "model.safetensors", megabytes, changed=changed)
                hub.push(weights, "lab/bench")
                hub.inspect("lab/bench")
            started = time.perf_counter()
            view = hub.compare("lab/bench@v1", "lab/bench@v2")
            seconds = time.perf_counter() - started
            (job,) = (job for job in hub.jobs() if job.kind == "compare")
    finally:
        installation.stop()
    size = 2 * (weights / "model.safetensors").stat().st_size / 1e6
    read = job.result["bytes_read"] / 1e6
    print(f"\n{'comparing two of':<28}{'seconds':>9}{'MB read':>9}{'share':>8}")
    print(f"{f'{megabytes} MB that share 98%':<28}{seconds:>9.2f}{read:>9.1f}{read / size:>8.1%}")
    print(f"{'both files whole':<28}{'':>9}{size:>9.1f}{1:>8.0%}")
    print(f"{len(view.changed)} tensors changed, {view.unchanged_count} did not: {view.summary}")


def write(path: Path, megabytes: int, *, changed: float) -> None:
    """Blocks of 10 MB, and a head that is `changed` of all."""
    generator = np.random.default_rng(0)
    count = max(1, megabytes * 250_000 // _TENSOR)
    tensors = {f"backbone.{n}.weight": generator.standard_normal(_TENSOR, np.float32) for n in range(count)}
    head = generator.standard_normal(int(count * _TENSOR * _SHARE), np.float32)
    tensors["head.weight"] = head + 0.01 if changed else head
    save_file(tensors, path)


def measured(script: str, path: Path) -> list[float]:
    command = [sys.executable, "-c", _PEAK + script, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(number) for number in json.loads(done.stdout)]


if __name__ == "__main__":
    main()
