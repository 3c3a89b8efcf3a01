"""Images and parts -> a report: in each repetition every tool has its turn, so that all meet the same weather."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import competitors, finding, imaging, other_mounts, pipeline, slow_file
from bench.commands import CommandFailed
from bench.competitors import COMPETITORS, Competitor, Timings
from bench.finding import CatalogPlan
from bench.images import ImagePlan, cached_image
from bench.imaging import SourcePlan
from bench.ntt_runs import Ingest, home_in, ingest, ingest_sampled, prepare
from bench.other_images import cached_file_system
from bench.record import CatalogueSize, Finding, Image, Imaging, Memory, Series, What
from bench.workspace import Workspace, warm

PARTS = ("ntt", "competitors", "pipeline", "memory", "file-systems", "imaging", "where")
LOOKUPS = 9  # of each kind
TIMED = ("A", "B")  # C is there for its memory only
STAGES = {
    What.IDENTIFY_STAGE: "identify",
    What.ENUMERATE_STAGE: "enumerate",
    What.COPY_STAGE: "copy",
    What.ARCHIVE_STAGE: "archive",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure, and how many times; `small_files` are the same tree in several file systems.

    `sources` are imaged in `pairs`, once by NTT and once without in each.
    """

    plans: tuple[ImagePlan, ...]
    small_files: tuple[ImagePlan, ...]
    parts: tuple[str, ...]
    repeat: int
    sources: tuple[SourcePlan, ...] = ()
    pairs: int = 1
    catalogues: tuple[CatalogPlan, ...] = ()


@dataclass(slots=True)
class Findings:
    """What was measured so far."""

    images: list[Image] = field(default_factory=list)
    seconds: dict[tuple[str, What], list[float]] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    catalogue: list[CatalogueSize] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    mounted_by: list[str] = field(default_factory=list)
    imaging: list[Imaging] = field(default_factory=list)
    finding: list[Finding] = field(default_factory=list)

    def add(self, image: str, timings: Timings) -> None:
        for what, seconds in timings:
            self.seconds.setdefault((image, what), []).append(seconds)
            say(f"{image}: {what}: {seconds:.2f} s")

    @property
    def series(self) -> tuple[Series, ...]:
        return tuple(Series(image, what, tuple(seconds)) for (image, what), seconds in self.seconds.items())


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def measure(request: Request, cache: Path, workspace: Workspace, findings: Findings) -> None:
    """Fills `findings`; whatever it raises, what was measured until then is in there."""
    contests = tuple(_contests(request, workspace, findings))
    for plan in request.plans if contests or "memory" in request.parts else ():
        say(f"{plan.name}: {plan.files:,} files, {plan.content_bytes:,} bytes")
        image = cached_image(plan, cache, workspace.folder)
        findings.images.append(Image(plan.name, plan.files, plan.content_bytes, image.stat().st_size))
        for _ in range(request.repeat):
            if plan.name in TIMED:
                for contest in contests:
                    findings.add(plan.name, contest(plan, image))
            if "memory" in request.parts:
                _sample(plan, image, workspace, findings)
    measure_file_systems(request, cache, workspace, findings)
    measure_imaging(request, cache, workspace, findings)
    if "where" in request.parts:
        for one in request.catalogues:
            say(f"{one.name}: {one.media:,} media with {one.files:,} files each")
            findings.finding.append(finding.measure(one, LOOKUPS, workspace, say))


def measure_file_systems(request: Request, cache: Path, workspace: Workspace, findings: Findings) -> None:
    """NTT's readers beside a mount and `cp -a`, for the same small files in each file system."""
    if "file-systems" not in request.parts:
        return
    if workspace.no_mounts:
        findings.left_out.append(f"file systems beside their mounts: {workspace.no_mounts}")
        return
    for plan in request.small_files:
        say(f"{plan.name}: {plan.files:,} files, {plan.content_bytes:,} bytes")
        try:
            way = other_mounts.way_of(plan.fstype)
            image = cached_file_system(plan, cache, workspace.folder)
        except CommandFailed as error:
            findings.left_out.append(f"{plan.fstype}: {error}")
            continue
        findings.images.append(Image(plan.name, plan.files, plan.content_bytes, image.stat().st_size, plan.fstype))
        findings.mounted_by.append(f"{plan.fstype} is mounted by {way}")
        for _ in range(request.repeat):
            findings.add(plan.name, _list_and_copy(workspace, plan, image))
            findings.add(plan.name, other_mounts.measure(plan.fstype, image, workspace))


def measure_imaging(request: Request, cache: Path, workspace: Workspace, findings: Findings) -> None:
    """NTT's image stage beside ddrescue with the same flags, over sources without errors."""
    if "imaging" not in request.parts or not request.sources or not _are_here(imaging.PROGRAMS, findings):
        return
    obstacle = slow_file.obstacle()
    for plan in request.sources:
        if plan.bytes_per_s and obstacle:
            findings.left_out.append(f"imaging of {plan.name}: {obstacle}")
            continue
        say(f"{plan.name}: {request.pairs} pairs, {plan.size_bytes:,} bytes")
        findings.imaging.append(imaging.measure(plan, request.pairs, cache, workspace, say))


def _list_and_copy(workspace: Workspace, plan: ImagePlan, image: Path) -> Timings:
    with workspace.output() as output, home_in(output) as home:
        prepare(home)
        warm(image)
        found = ingest(image, plan.files, home, "--no-archive")
    return ((What.LIST_AND_COPY, found.stage("enumerate") + found.stage("copy")),)


def _contests(
    request: Request, workspace: Workspace, findings: Findings
) -> Iterator[Callable[[ImagePlan, Path], Timings]]:
    """What takes its turn in each repetition; what cannot is named in `findings`."""
    if "ntt" in request.parts:
        yield partial(_ingest, workspace)
        yield partial(_first_ingest, workspace)
    others = [part for part in ("competitors", "pipeline") if part in request.parts]
    if others and workspace.no_mounts:
        findings.left_out.append(f"{' and '.join(others)}, only NTT is measured: {workspace.no_mounts}")
        return
    if "competitors" in others:
        for competitor in COMPETITORS:
            if _are_here(competitor.programs, findings):
                yield partial(_compete, competitor, workspace)
    if "pipeline" in others and _are_here(pipeline.PROGRAMS, findings):
        yield partial(_pipeline, workspace)


def _are_here(programs: tuple[str, ...], findings: Findings) -> bool:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        findings.left_out.append(f"what needs {', '.join(missing)}: not installed, `scripts/setup.sh bench` does it")
    return not missing


def _ingest(workspace: Workspace, plan: ImagePlan, image: Path) -> Timings:
    with workspace.output() as output, home_in(output) as home:
        prepare(home)
        warm(image)
        found = ingest(image, plan.files, home)
    return (*_stage_timings(found), (What.INGEST, found.seconds))


def _first_ingest(workspace: Workspace, plan: ImagePlan, image: Path) -> Timings:
    with workspace.output() as output, home_in(output) as home:
        warm(image)
        return ((What.FIRST_INGEST, ingest(image, plan.files, home).seconds),)


def _compete(competitor: Competitor, workspace: Workspace, _: ImagePlan, image: Path) -> Timings:
    return competitors.measure(competitor, image, workspace)


def _pipeline(workspace: Workspace, _: ImagePlan, image: Path) -> Timings:
    return pipeline.measure(image, workspace)


def _stage_timings(found: Ingest) -> Timings:
    return tuple((what, found.stage(name)) for what, name in STAGES.items())


def _sample(plan: ImagePlan, image: Path, workspace: Workspace, findings: Findings) -> None:
    with workspace.output() as output, home_in(output) as home:
        memory, size = ingest_sampled(image, plan.name, plan.files, home)
    findings.memory.append(memory)
    if all(known.image != plan.name for known in findings.catalogue):
        findings.catalogue.append(size)  # the same each time
    say(f"{plan.name}: peak memory {(memory.pss_bytes or memory.rss_bytes) / 1e6:.0f} MB")
