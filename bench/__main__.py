"""`python -m bench`: images, every tool's turn, a table on standard output and the figures in bench/results."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec

from bench.commands import CommandFailed
from bench.finding import CATALOGUE, QUICK_CATALOGUE
from bench.images import PLANS, QUICK_PLANS, QUICK_SMALL_FILES, SMALL_FILES
from bench.imaging import QUICK_SOURCES, SOURCES
from bench.machine import machine
from bench.measuring import PARTS, Findings, Request, measure, say
from bench.record import Report
from bench.table import page
from bench.workspace import workspace
from ntt.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, NttError

RESULTS = Path(__file__).resolve().parent / "results"
DISK_BYTES = 6 << 30  # sparse: what is not written takes no space
QUICK_DISK_BYTES = 512 << 20
PAIRS = 5  # of imaging, where a few per cent are to be told apart


@dataclass(frozen=True, slots=True)
class Options:
    """The command line; `repeat` None: three times (pairs of imaging: five), once when quick."""

    quick: bool
    repeat: int | None
    images: tuple[str, ...]
    parts: tuple[str, ...]
    results: Path
    show: Path | None

    @property
    def repetitions(self) -> int:
        return self.repeat or (1 if self.quick else 3)

    @property
    def request(self) -> Request:
        plans = QUICK_PLANS if self.quick else PLANS
        small_files = QUICK_SMALL_FILES if self.quick else SMALL_FILES
        sources = QUICK_SOURCES if self.quick else SOURCES
        return Request(
            tuple(plan for plan in plans if plan.name in self.images),
            tuple(plan for plan in small_files if plan.name in self.images),
            self.parts,
            self.repetitions,
            tuple(plan for plan in sources if plan.name in self.images),
            self.repeat or (1 if self.quick else PAIRS),
            tuple(plan for plan in (QUICK_CATALOGUE if self.quick else CATALOGUE,) if plan.name in self.images),
        )


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench", description="NTT beside cp, restic, borg and a shell.")
    names = [*(plan.name for plan in (*PLANS, *SMALL_FILES)), *(plan.name for plan in SOURCES), CATALOGUE.name]
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions, of which medians are shown")
    parser.add_argument("--quick", action="store_true", help="tiny images, once: does everything work?")
    parser.add_argument("--image", action="append", choices=names, help="only this one; may be given again")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given again")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where the figures go")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing, print the table of these figures")
    given = parser.parse_args(arguments)
    if given.repeat is not None and given.repeat < 1:
        parser.error("--repeat: at least 1")
    images, parts = tuple(given.image or names), tuple(given.part or PARTS)
    return Options(given.quick, given.repeat, images, parts, given.results, given.show)


def cache_folder() -> Path:
    """`NTT_BENCH_CACHE`, else `$XDG_CACHE_HOME/ntt-bench` (`~/.cache/ntt-bench`): on the disk that is measured."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ntt-bench"
    return Path(os.environ.get("NTT_BENCH_CACHE") or default).absolute()


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.show is not None:
        print(page(msgspec.json.decode(options.show.read_bytes(), type=Report)), end="")
        return EXIT_OK
    cache = cache_folder()
    for name in [name for name in os.environ if name.startswith("NTT_")]:
        del os.environ[name]  # measured are the defaults
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _measure(options, arguments, cache)
    except KeyboardInterrupt:
        say("interrupted; nothing is left mounted or running")
        return EXIT_INTERRUPTED
    except (CommandFailed, NttError) as error:
        say(str(error))
        return EXIT_FAILED


def _measure(options: Options, arguments: Sequence[str], cache: Path) -> int:
    now, here, findings = datetime.now(UTC), machine(), Findings()
    with workspace(cache, QUICK_DISK_BYTES if options.quick else DISK_BYTES) as space:
        if space.no_mounts:
            say(f"only NTT is measured: {space.no_mounts}")
        measure(options.request, cache, space, findings)
    report = Report(
        started_at=f"{now:%Y-%m-%d %H:%M} UTC",
        command=" ".join(("python -m bench", *arguments)),
        quick=options.quick,
        repeat=options.repetitions,
        machine=here,
        images=tuple(findings.images),
        series=findings.series,
        memory=tuple(findings.memory),
        catalogue=tuple(findings.catalogue),
        left_out=tuple(findings.left_out),
        mounted_by=tuple(findings.mounted_by),
        imaging=tuple(findings.imaging),
        finding=tuple(findings.finding),
    )
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"{now:%Y-%m-%dT%H%M%S}Z.json"
    target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    print(page(report), end="", flush=True)
    say(f"the figures are in {target}")
    return EXIT_OK


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends the run; a second one must not end the cleaning up."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
