"""An image -> the same files kept by cp, restic and borg, each over a fresh mount and once more over the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.commands import run, shell
from bench.record import What
from bench.workspace import Workspace, warm

Timings = tuple[tuple[What, float], ...]
HASH_ALL = "find . -type f -print0 | xargs -0 b3sum > ../sums"


@dataclass(frozen=True, slots=True)
class Competitor:
    """`keep(source, output)` reads all of `source` and keeps it below `output`: seconds, one per figure."""

    programs: tuple[str, ...]
    fresh: tuple[What, ...]
    warm: tuple[What, ...]
    keep: Callable[[Path, Path], tuple[float, ...]]


def measure(competitor: Competitor, image: Path, workspace: Workspace) -> Timings:
    """A run over a fresh mount and one over the same mount again, each to a file system of its own."""
    found: list[tuple[What, float]] = []
    warm(image)
    with workspace.source(image) as source:
        for figures in (competitor.fresh, competitor.warm):
            with workspace.output() as output:
                found += zip(figures, competitor.keep(source, output), strict=True)
    return tuple(found)


def _copy(source: Path, output: Path) -> tuple[float, ...]:
    """(copied and durable, and then hashed too)"""
    copies = output / "copies"
    copied = run("cp", "-a", f"{source}/.", copies).seconds + run("sync", "--file-system", copies).seconds
    return copied, copied + shell(HASH_ALL, copies).seconds


def _restic(source: Path, output: Path) -> tuple[float, ...]:
    env = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(output / "repository")}
    cache = ("--cache-dir", output / "cache")
    run("restic", "init", "--quiet", *cache, env=env)
    # restic syncs each of its files itself, so no sync is added
    return (run("restic", "backup", "--quiet", *cache, source, env=env).seconds,)


def _borg(source: Path, output: Path) -> tuple[float, ...]:
    env = {"BORG_BASE_DIR": str(output / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    repository = output / "repository"
    run("borg", "init", "--encryption=none", repository, env=env)
    return (run("borg", "create", f"{repository}::one", ".", env=env, cwd=source).seconds,)


COMPETITORS = (
    Competitor(("cp", "b3sum"), (What.CP_FRESH, What.CP_HASH_FRESH), (What.CP_WARM, What.CP_HASH_WARM), _copy),
    Competitor(("restic",), (What.RESTIC_FRESH,), (What.RESTIC_WARM,), _restic),
    Competitor(("borg",), (What.BORG_FRESH,), (What.BORG_WARM,), _borg),
)
