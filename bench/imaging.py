"""A healthy source -> the time NTT takes to image and hash it, beside ddrescue with the flags that NTT gives it.

Pairs in the order A B, B A, A B, ...: a machine that gets slower or faster meanwhile favours nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from blake3 import blake3

from bench.commands import CommandFailed, run
from bench.ntt_runs import home_in, imaged, prepare
from bench.record import Imaging
from bench.slow_file import slow_file
from bench.workspace import Workspace, warm
from ntt.model import Effort
from ntt.rescue.passes import first_pass
from ntt.rescue.source import probe
from ntt.tools.ddrescue import MINIMUM_VERSION, rescue_argv, version_of
from ntt.tools.mapfile import parse_mapfile

PROGRAMS = ("ddrescue", "b3sum")
VERSION = 1  # of what is generated
_PIECE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """Random bytes; `bytes_per_s` 0: from memory, as fast as they can be read."""

    name: str
    size_bytes: int
    bytes_per_s: int


SOURCES = (
    SourcePlan("cd", 160 << 20, 8_000_000),  # 52x
    SourcePlan("usb2", 672 << 20, 35_000_000),
    SourcePlan("unlimited", 3584 << 20, 0),
)
QUICK_SOURCES = (
    SourcePlan("cd", 2 << 20, 8_000_000),
    SourcePlan("usb2", 6 << 20, 35_000_000),
    SourcePlan("unlimited", 16 << 20, 0),
)


@dataclass(frozen=True, slots=True)
class Plainly:
    """`ddrescue` until its image is durable, and the same run until `b3sum` of it has ended."""

    seconds: float
    hashed_seconds: float
    image_hash: str


def measure(plan: SourcePlan, pairs: int, cache: Path, workspace: Workspace, say: Callable[[str], None]) -> Imaging:
    """CommandFailed when the images differ, or one is not whole."""
    file = cached_source(plan, cache, workspace.folder)
    ntt: list[float] = []
    plain: list[Plainly] = []
    load: list[float] = []
    for number in range(pairs):
        warm(file)
        load.append(os.getloadavg()[0])
        if number % 2:
            plain.append(_plainly(plan, file, workspace))
        seconds, image_hash = _by_ntt(plan, file, workspace)
        ntt.append(seconds)
        if not number % 2:
            plain.append(_plainly(plan, file, workspace))
        if plain[-1].image_hash != image_hash:
            raise CommandFailed(f"{plan.name}: the two images are not the same")
        say(f"{plan.name}: NTT {seconds:.2f} s, ddrescue {plain[-1].seconds:.2f} s, with b3sum "
            f"{plain[-1].hashed_seconds:.2f} s")  # fmt: skip
    return Imaging(
        source=plan.name,
        size_bytes=plan.size_bytes,
        bytes_per_s=plan.bytes_per_s,
        ntt=tuple(ntt),
        ddrescue=tuple(one.seconds for one in plain),
        ddrescue_b3sum=tuple(one.hashed_seconds for one in plain),
        load=tuple(load),
    )


def cached_source(plan: SourcePlan, cache: Path, work: Path) -> Path:
    """The file with the bytes; made now if it is not there. All plans of one size or less share it."""
    size_bytes = max(one.size_bytes for one in (SOURCES if plan in SOURCES else QUICK_SOURCES))
    name = f"imaging-{size_bytes}-bytes-v{VERSION}.img"
    file, part = cache / name, work / name
    if file.exists():
        return file
    stream = blake3(b"NTT bench imaging")
    try:
        with part.open("wb") as out:
            for at in range(0, size_bytes, _PIECE_BYTES):
                out.write(stream.digest(length=min(_PIECE_BYTES, size_bytes - at), seek=at))
        os.sync()
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    return file


@contextmanager
def _source(plan: SourcePlan, file: Path, workspace: Workspace) -> Iterator[Path]:
    """As new each time: of a slow one nothing is in memory."""
    if not plan.bytes_per_s:
        yield file
        return
    with slow_file(file, plan.size_bytes, plan.bytes_per_s, workspace.points) as path:
        yield path


def _by_ntt(plan: SourcePlan, file: Path, workspace: Workspace) -> tuple[float, str]:
    """Seconds of its image stage until the hash is known and all is durable, and that hash."""
    with workspace.output() as output, home_in(output) as home, _source(plan, file, workspace) as source:
        prepare(home)
        run("sync", "--file-system", output)
        return imaged(source, home, plan.size_bytes)


def _plainly(plan: SourcePlan, file: Path, workspace: Workspace) -> Plainly:
    with workspace.output() as output, _source(plan, file, workspace) as source:
        image, mapfile = output / "image", output / "map"
        flags = first_pass(anyio.run(probe, source), Effort.NORMAL)
        version = version_of(run("ddrescue", "--version").stdout.decode(errors="replace")) or MINIMUM_VERSION
        run("sync", "--file-system", output)
        seconds = run(*rescue_argv(source, image, mapfile, flags, None, version)).seconds
        seconds += run("sync", image, mapfile).seconds
        hashed = run("b3sum", "--no-names", image)
        if image.stat().st_size != plan.size_bytes or parse_mapfile(mapfile.read_text(), mapfile.name).unread:
            raise CommandFailed(f"ddrescue did not read all of {plan.name}")
    return Plainly(seconds, seconds + hashed.seconds, hashed.stdout.decode().strip())
