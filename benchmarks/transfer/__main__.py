"""Pushing and pulling weights, beside what else a team would use, in one run.

    make bench-transfer                                      # five rounds of 500 MB: an hour or more
    make bench-transfer ARGS="--rounds 1 --megabytes 100"    # a quick look, which is printed and written nowhere

Every round begins with fresh servers and machines that have nothing, and every pull is compared byte by byte. The first
round goes through relays that count bytes and is not timed; the others are timed and go the direct way.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.transfer import table
from benchmarks.transfer.measure import size
from benchmarks.transfer.peer import ROOT, Peer
from benchmarks.transfer.peers import dvc, git_lfs, hf, mlflow, steelyard
from benchmarks.transfer.rounds import SCENARIOS, play

KINDS: list[type[Peer]] = [steelyard.Steelyard, hf.Hf, mlflow.MLflow, dvc.DVC, git_lfs.GitLFS]
_MAKER = "benchmarks.transfer.weights"
RESULTS = Path(__file__).with_name("RESULTS.md")
ROUNDS, MEGABYTES = 5, 500.0
PREAMBLE = """\
# Moving weights

Written by `make bench-transfer`. {rounds} of {megabytes:.0f} MB of float32 in 149 tensors; medians.

- Figures are of whole processes, as a shell sees them; the first row of the times is what starting one takes.
- `steelyard` is `steelyard push` and `pull`. `hf` is the unmodified `hf upload` and `download`, with a Steelyard as its
  endpoint. MLflow's server proxies artifacts; its job runner is off, as our compute worker is. DVC and git-lfs write to
  a folder: no network and no server at all.
- HTTP goes over the loopback, where bytes cost next to nothing. The slower a network, the more the bytes decide.
- Bytes moved are counted on the wire, both ways, headers and all; for DVC and git-lfs they are what the receiving
  folder grew by.
- Cold is a machine that has nothing of these weights, not an empty page cache. Each push after the first is made from
  what the first one pushed, and goes to where that is.

{machine}
"""


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # no server outlives the run
    bench = ROOT / "var" / "bench"
    made = bench / "weights"
    shutil.rmtree(made, ignore_errors=True)
    # In a process of its own: no client's peak memory is less than that of the process that starts it.
    subprocess.run([sys.executable, "-m", _MAKER, str(made), str(options.megabytes)], cwd=ROOT, check=True)
    tools = (
        f"huggingface_hub {version('huggingface_hub')}, hf-xet {version('hf-xet')}, {mlflow.PACKAGE}, {dvc.PACKAGE}."
    )
    rounds = []
    for number in range(options.rounds + 1):
        print(f"round {number} of {options.rounds}" if number else "counting bytes, untimed", flush=True)
        costs, absent = play(KINDS, made, bench / "round", options.port, counted=number == 0)
        rounds.append(costs)
    counted, *timed = rounds
    sizes = {scenario: size(made / scenario) for scenario in SCENARIOS}
    head = PREAMBLE.format(
        rounds=f"{options.rounds} round{'s' * (options.rounds != 1)}",
        megabytes=options.megabytes,
        machine=f"{machine()} {tools}",
    )
    missing = "".join(f"\nNot installed: {sentence}\n" for sentence in absent)
    page = f"{head}{missing}\n{table.page(table.medians(timed, counted), sizes)}\n"
    print(f"\n{page}")
    if options.results:
        options.results.write_text(page)
    shutil.rmtree(made)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-transfer", description="Pushing and pulling weights.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timed rounds; one more counts bytes")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--port", type=int, default=8160, help="the first of ten free ports")
    parser.add_argument("--results", type=Path, help="where to write the page; a full run writes RESULTS.md")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if options.results is None and (options.rounds, options.megabytes) == (ROUNDS, MEGABYTES):
        options.results = RESULTS
    return options


if __name__ == "__main__":
    main()
