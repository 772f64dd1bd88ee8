"""Makes `.venv` and installs Steelyard into it, with the CPU build of torch.

On some systems a package index serves a torch that pulls gigabytes of CUDA libraries. Nothing here needs
them, so the script asks the index first what it *would* install, and stops with a sentence instead of
filling the disk. Where that happens, name an index that has the CPU build:

    make demo TORCH_INDEX=<address of PyTorch's own CPU wheel index>

or accept the CUDA build on a machine that has a GPU: `make demo TORCH_CUDA=1`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST, NEWEST = (3, 11), (3, 13)


RUNTIME = [".[platform,workers,edge]", "--group", "demo"]
TOOLS = ["--group", "dev"]
# Where `pyproject.toml` finds the packages.
FOLDERS = ["contracts", "broker", "platform", "workers", "sdk", "edge", "demo"]


def main() -> None:
    """`install.py` is for `make demo` and `make run`; `install.py dev` adds what tests and linters need."""
    check_python()
    if sys.argv[1:] == ["dev"]:
        say("installing the test tools")
        pip("install", *TOOLS)
        (VENV / ".installed-dev").touch()
        return
    if not has_pip():
        say("making .venv")
        venv.create(VENV, with_pip=True, symlinks=True, clear=True)
    started = time.monotonic()
    pip("install", "--upgrade", "pip>=25.1", "setuptools>=77", "wheel")
    install_torch()
    say("installing Steelyard and its tools (some minutes on a new machine)")
    pip("install", "--no-build-isolation", "--editable", *RUNTIME)
    name_our_folders()
    (VENV / ".installed").touch()
    say(f"installed in {time.monotonic() - started:.0f} s: {size_of(VENV) / 1e9:.2f} GB in .venv")


def check_python() -> None:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Steelyard runs on Python 3.11 to 3.13; this is {found}. Name another: make demo PYTHON=python3.12")


def has_pip() -> bool:
    """False also for an environment whose making was interrupted; it is made anew."""
    if not PYTHON.exists():
        return False
    return subprocess.run([str(PYTHON), "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0


def install_torch() -> None:
    index = os.environ.get("TORCH_INDEX")  # noqa: TID251 - the installer's one setting, read before there is a settings module
    cuda_is_welcome = os.environ.get("TORCH_CUDA") == "1"  # noqa: TID251 - as above
    source = ["--index-url", index] if index else []
    if not cuda_is_welcome and (extra := cuda_packages(source)):
        sys.exit(
            f"This index's torch would bring {len(extra)} CUDA packages (gigabytes) that Steelyard does not need.\n"
            "Name an index with the CPU build: make demo TORCH_INDEX=<PyTorch's CPU wheel index>\n"
            "or, on a machine with a GPU, accept them: make demo TORCH_CUDA=1"
        )
    say("installing torch (CPU build)" if not cuda_is_welcome else "installing torch")
    pip("install", *source, torch_pin())


def torch_pin() -> str:
    return next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))


def cuda_packages(source: list[str]) -> list[str]:
    """The names of CUDA packages that installing torch from here would bring."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", *source, torch_pin()]
    asked = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if asked.returncode != 0:
        sys.exit(f"The package index did not answer for torch:\n{asked.stderr.strip()}")
    report = json.loads(asked.stdout or "{}")
    names = [item["metadata"]["name"] for item in report.get("install", [])]
    return [name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))]


def pip(*arguments: str) -> None:
    # --no-compile: Python compiles what it imports; compiling everything would take 300 MB more.
    options = ["--disable-pip-version-check", "--quiet", "--no-compile", "--constraint", str(CONSTRAINTS)]
    command = [str(PYTHON), "-m", "pip", *arguments, *options]
    # setuptools warns of folders named like packages; they are the packages.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}  # noqa: TID251 - as above
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        sys.exit("The installation failed: see the lines above. Run the same command again once that is mended.")


def name_our_folders() -> None:
    """On Python's path as well: an editable install alone gives way to any folder `steelyard` where Python is started.

    A clone of this repository is one, seen from beside it.
    """
    [packages] = (VENV / "lib").glob("python*/site-packages")
    (packages / "steelyard-folders.pth").write_text("".join(f"{ROOT / folder}\n" for folder in FOLDERS))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def say(sentence: str) -> None:
    print(f"steelyard: {sentence}", flush=True)


if __name__ == "__main__":
    main()
