"""A report -> which of the project's targets it reaches, with the numbers; a slow machine fails no build."""

from __future__ import annotations

from dataclasses import dataclass

from bench.record import Finding, Imaging, Lookup, Report, What, quartiles

MEMORY_LIMIT_BYTES = 400_000_000
BYTES_PER_PATH_LIMIT = 250
IMAGING_LIMIT = 1.05
LOOKUP_LIMIT_MS = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target. `measured` is None when a figure that it needs is missing."""

    target: str
    limit: str
    measured: str
    reached: bool | None

    @property
    def word(self) -> str:
        match self.reached:
            case None:
                return "not measured"
            case True:
                return "reached"
            case False:
                return "**missed**"


@dataclass(frozen=True, slots=True)
class Ratio:
    """`ours` takes at most `limit` times as long as `theirs`."""

    image: str
    ours: What
    theirs: What
    limit: float


RATIOS = (
    Ratio("A", What.COPY_STAGE, What.RESTIC_FRESH, 0.35),
    Ratio("A", What.COPY_STAGE, What.CP_FRESH, 0.4),
    Ratio("B", What.COPY_STAGE, What.RESTIC_FRESH, 0.5),
    Ratio("B", What.COPY_STAGE, What.CP_FRESH, 0.3),
    Ratio("A", What.INGEST, What.PIPELINE, 0.6),
    Ratio("B", What.INGEST, What.PIPELINE, 0.6),
)


SMALL_FILE_RATIOS = tuple(
    Ratio(fstype, What.LIST_AND_COPY, What.MOUNT_CP, 0.5) for fstype in ("ext4", "fat32", "ntfs", "iso9660")
)


def verdicts(report: Report) -> list[Verdict]:
    """Every target in the order of the figures in bench/README.md."""
    found = [_ratio(report, ratio) for ratio in RATIOS]
    found += [_memory(report, image) for image in ("A", "B", "C")]
    found.append(_growth(report))
    for ratio in SMALL_FILE_RATIOS:
        found.append(_ratio(report, ratio))
    found += [_row_bytes(report, image) for image in ("A", "B")]
    found += [_imaging(one) for one in report.imaging]
    found += [_lookup(one, lookup) for one in report.finding for lookup in one.lookups if lookup.indexed]
    return found


def _ratio(report: Report, ratio: Ratio) -> Verdict:
    ours, theirs = report.median(ratio.image, ratio.ours), report.median(ratio.image, ratio.theirs)
    target, limit = f"{ratio.image}: {ratio.ours}, against {ratio.theirs}", f"≤ {ratio.limit} ×"
    if ours is None or theirs is None:
        return Verdict(target, limit, "", None)
    measured = f"{ours / theirs:.2f} × ({ours:.2f} s against {theirs:.2f} s)"
    return Verdict(target, limit, measured, ours <= ratio.limit * theirs)


def _imaging(one: Imaging) -> Verdict:
    """Paired: what counts is the median over the pairs."""
    lower, middle, upper = quartiles(one.overheads)
    ours, theirs = quartiles(one.ntt)[1], quartiles(one.ddrescue)[1]
    measured = f"{middle:.3f} × ({lower:.3f}-{upper:.3f}; {ours:.2f} s against {theirs:.2f} s)"
    target = f"{one.source}: NTT, image and hash, against `ddrescue` with the same flags"
    return Verdict(target, f"≤ {IMAGING_LIMIT} ×", measured, middle <= IMAGING_LIMIT)


def _lookup(one: Finding, lookup: Lookup) -> Verdict:
    middle = quartiles(lookup.seconds)[1] * 1e3
    target = f"`ntt where` among {one.paths:,} paths: {lookup.what}"
    return Verdict(target, f"≤ {LOOKUP_LIMIT_MS} ms", f"{middle:.1f} ms", middle <= LOOKUP_LIMIT_MS)


def _memory(report: Report, image: str) -> Verdict:
    peak = report.peak(image)
    target, limit = f"{image}: peak memory of NTT without PostgreSQL", f"< {MEMORY_LIMIT_BYTES // 10**6} MB"
    if peak is None:
        return Verdict(target, limit, "", None)
    return Verdict(target, limit, f"{peak / 1e6:.0f} MB", peak < MEMORY_LIMIT_BYTES)


def _growth(report: Report) -> Verdict:
    many, few = report.peak("B"), report.peak("C")
    target, limit = "B: peak memory, against that of C with a tenth of the files", "≤ 1.15 ×"
    if many is None or few is None:
        return Verdict(target, limit, "", None)
    return Verdict(target, limit, f"{many / few:.2f} ×", many <= 1.15 * few)


def _row_bytes(report: Report, image: str) -> Verdict:
    measured = report.bytes_per_path(image)
    target, limit = f"{image}: bytes in the database per path, indexes included", f"≤ {BYTES_PER_PATH_LIMIT}"
    if measured is None:
        return Verdict(target, limit, "", None)
    return Verdict(target, limit, f"{measured:.0f}", measured <= BYTES_PER_PATH_LIMIT)
