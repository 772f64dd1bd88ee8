"""What a commit costs: three files onto an empty repository, and onto one of a hundred thousand files.

    make bench

Steelyard writes rows for what changed; git, the peer in the same run, writes a tree object for every folder on the
way and looks at its index, which lists every file. Figures are medians of seven commits, and ratios of them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steelyard_platform.repos.models import Repository

FILES, RUNS, BATCH = 100_000, 7, 10_000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as folder:
        ours = steelyard(Path(folder) / "steelyard")
        theirs = git(Path(folder) / "git")
    print(f"{'three files onto':<22}{'nothing':>12}{FILES:>12,}{'ratio':>9}")
    for name, (small, large) in {"steelyard": ours, "git add + commit": theirs}.items():
        print(f"{name:<22}{small * 1000:>9.1f} ms{large * 1000:>9.1f} ms{large / small:>9.2f}")


def steelyard(var: Path) -> tuple[float, float]:
    """Seconds for three files onto nothing, and onto many, through the service that every client's commit uses."""
    var.mkdir()
    os.environ["STEELYARD_VAR"] = str(var)  # noqa: TID251 - before the settings are read
    os.environ["DJANGO_SETTINGS_MODULE"] = "steelyard_platform.config.settings"  # noqa: TID251 - as above
    import django

    django.setup()
    from django.core.management import call_command

    from steelyard_contracts.refs import RepositoryKind
    from steelyard_platform.accounts.permissions import OPERATOR
    from steelyard_platform.accounts.services import create_user
    from steelyard_platform.accounts.tokens import actor_for_user
    from steelyard_platform.repos import commits
    from steelyard_platform.repos.blobs import Pack
    from steelyard_platform.repos.services import create_repository

    call_command("migrate", verbosity=0)
    user = create_user(username="bench", password=None, actor=OPERATOR)
    actor, team = actor_for_user(user), user.teams.get()

    def commit(repository: Repository, files: dict[str, bytes]) -> None:
        with Pack() as pack:
            operations = [commits.AddFile(path, pack.add(data), is_lfs=False) for path, data in files.items()]
            pack.store(team)
        commits.commit(
            repository=repository,
            branch_name="main",
            operations=list(operations),
            message=commits.Message("bench"),
            actor=actor,
        )

    small, large = (
        create_repository(team=team, name=name, kind=RepositoryKind.DATASET, actor=actor) for name in ("small", "large")
    )
    for start in range(0, FILES, BATCH):
        commit(large, {f"data/{n // 1000:03}/{n:06}.txt": str(n).encode() for n in range(start, start + BATCH)})
    return _median(lambda run: commit(small, _three(run))), _median(lambda run: commit(large, _three(run + 100)))


def git(folder: Path) -> tuple[float, float]:
    def make(name: str, count: int) -> Path:
        root = folder / name
        root.mkdir(parents=True)
        _git(root, "init", "--quiet")
        for number in range(count):
            path = root / f"data/{number // 1000:03}/{number:06}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
        _git(root, "add", ".")
        _git(root, "commit", "--quiet", "--allow-empty", "--message", "start")
        return root

    def commit(root: Path, run: int) -> None:
        for path, data in _three(run).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        _git(root, "add", ".")
        _git(root, "commit", "--quiet", "--message", "three")

    small, large = make("small", 0), make("large", FILES)
    return _median(lambda run: commit(small, run)), _median(lambda run: commit(large, run))


def _git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True)


def _three(run: int) -> dict[str, bytes]:
    return {f"data/{part}/new-{run}.txt": f"{part} {run}".encode() for part in ("000", "050", "099")}


def _median(act: Callable[[int], None]) -> float:
    times = []
    for run in range(RUNS):
        started = time.perf_counter()
        act(run)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
