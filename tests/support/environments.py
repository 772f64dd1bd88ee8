"""Other people's programs, each in an environment of its own below `var/environments`, made when it is first wanted."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "var" / "environments"


class NotInstalledError(Exception):
    """What pip said last."""


def python_of(name: str, *wanted: str, requirements: Path | None = None, sees_ours: bool = False) -> Path:
    """Its interpreter; programs lie beside it. It is made anew when what it should hold has changed.

    Args:
        name: the environment's.
        wanted: words for `pip install`.
        requirements: a file with more of them.
        sees_ours: what it lacks is looked for in this environment. torch is large, and here already.

    Raises:
        NotInstalledError: pip could not; the next call tries again.
    """
    folder = FOLDER / name
    python, mark = folder / "bin" / "python", folder / ".installed"
    contents = "\n".join([*wanted, requirements.read_text() if requirements else "", sysconfig.get_path("purelib")])
    if mark.exists() and mark.read_text() == contents:
        return python
    print(f"installing {name} into {folder}", flush=True)
    venv.create(folder, with_pip=True, symlinks=True, clear=True)
    more = ["--requirement", str(requirements)] if requirements else []
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted, *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalledError(said[-1] if said else f"{name} cannot be installed")
    if sees_ours:
        [packages] = (folder / "lib").glob("python*/site-packages")
        (packages / "of_steelyard.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    mark.write_text(contents)
    return python
