"""A report -> the page that people read, in Markdown, as it stands in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.record import CatalogueSize, Finding, Image, Imaging, Memory, Report, TableSize, What, quartiles
from bench.targets import verdicts

STAGES = (What.IDENTIFY_STAGE, What.ENUMERATE_STAGE, What.COPY_STAGE, What.ARCHIVE_STAGE)
COMPARED = (
    What.COPY_STAGE,
    What.CP_FRESH,
    What.CP_WARM,
    What.CP_HASH_FRESH,
    What.CP_HASH_WARM,
    What.RESTIC_FRESH,
    What.RESTIC_WARM,
    What.BORG_FRESH,
    What.BORG_WARM,
)
SMALL_FILES = (What.LIST_AND_COPY, What.MOUNT_CP, What.MOUNT_CP_SYNC)
IMAGING_HEAD = (
    "source",
    "pairs",
    "load",
    "`ddrescue`, s",
    "`ddrescue`, `b3sum`, s",
    "NTT, image and hash, s",
    "against `ddrescue`",
    "against `ddrescue`, `b3sum`",
)
LOOKUP_HEAD = ("asked for", "such as", "paths", "ms, median and quartiles")
WHOLE = (What.INGEST, What.FIRST_INGEST, *(what for what in What if what.startswith("shell pipeline")))


def page(report: Report) -> str:
    """The whole page; it ends with a line feed."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield from _preface(report)
    yield from _section("Targets", ("target", "limit", "measured", ""), _target_rows(report))
    yield from _section("Copying, in seconds", _head(report), _time_rows(report, COMPARED))
    yield from _section("All of it, in seconds", _head(report), _time_rows(report, WHOLE))
    title = "20,000 small files in each file system, in seconds" if not report.quick else "Small files, in seconds"
    yield from _section(title, _head(report, small=True), _time_rows(report, SMALL_FILES, small=True))
    yield from _section("Where NTT's time goes, in seconds", _head(report), _stage_rows(report))
    yield from _section("Imaging a healthy source: medians and quartiles of pairs", IMAGING_HEAD, _imaging_rows(report))
    head = ("image", "peak PSS", "peak RSS", "at the peak")
    yield from _section("Peak memory of NTT's processes without PostgreSQL", head, map(_memory_row, report.memory))
    head = ("image", "paths", "bytes per path", "of which (in indexes)")
    yield from _section("The database after one ingest", head, map(_catalogue_row, report.catalogue))
    for one in report.finding:
        yield from _section(f"`ntt where` among {one.paths:,} paths", LOOKUP_HEAD, _lookup_rows(one))
        yield from ("", _sizes(one))


def _preface(report: Report) -> Iterator[str]:
    machine = report.machine
    yield from ("# Benchmarks", "", "How to read this page: [bench/README.md](../bench/README.md).", "")
    yield f"`{report.command}`, {report.started_at}, medians of {report.repeat}"
    yield ""
    yield f"- {machine.processor}, {machine.cores} cores, {_megabytes(machine.memory_bytes)}; Linux {machine.kernel};"
    yield f"  load before the start {machine.load:.2f}; {', '.join(machine.versions)}"
    for image in report.images:
        size = f"{_megabytes(image.content_bytes)} in an image of {_megabytes(image.image_bytes)}"
        yield f"- image {image.name}: {image.fstype}, {image.files:,} files, {size}"
    for sentence in report.mounted_by:
        yield f"- {sentence}"
    for sentence in report.left_out:
        yield f"- **left out**: {sentence}"
    if report.quick:
        yield "- **a quick run: the images are too small for any of the figures to mean anything**"


def _section(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    found = list(rows)
    if found:
        yield from ("", f"## {title}", "")
        yield from (_row(head), _row(tuple("---" for _ in head)), *map(_row, found))


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _head(report: Report, *, small: bool = False) -> tuple[str, ...]:
    return ("", *(image.name for image in _images(report, small)))


def _images(report: Report, small: bool) -> list[Image]:
    """Those of the small files in each file system, or the others."""
    return [image for image in report.images if (image.name == image.fstype) is small]


def _target_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for verdict in verdicts(report):
        yield verdict.target, verdict.limit, verdict.measured, verdict.word


def _time_rows(report: Report, figures: Iterable[What], *, small: bool = False) -> Iterator[tuple[str, ...]]:
    """Median, and the least and the most where there is more than one."""
    for what in figures:
        found = {series.image: series for series in report.series if series.what is what}
        if not found:
            continue
        cells: list[str] = []
        for image in _images(report, small):
            series = found.get(image.name)
            text = "" if series is None else f"{series.median:.2f}"
            if series is not None and len(series.seconds) > 1:
                text += f" ({min(series.seconds):.2f}-{max(series.seconds):.2f})"
            cells.append(text)
        yield (what.value, *cells)


def _stage_rows(report: Report) -> Iterator[tuple[str, ...]]:
    yield from _time_rows(report, STAGES)
    rest: list[str] = []
    for image in _images(report, small=False):
        whole = report.median(image.name, What.INGEST)
        parts = [report.median(image.name, what) or 0.0 for what in STAGES]
        rest.append("" if whole is None else f"{whole - sum(parts):.2f}")
    if any(rest):
        yield ("NTT, the rest: start of Python and PostgreSQL, recognition, report, end", *rest)


def _imaging_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for one in report.imaging:
        yield (
            f"{one.source}: {_megabytes(one.size_bytes)}, {_rate(one)}",
            str(len(one.ntt)),
            f"{min(one.load):.1f}-{max(one.load):.1f}",
            *(_middle(seconds, 2) for seconds in (one.ddrescue, one.ddrescue_b3sum, one.ntt)),
            *(f"{_middle(times, 3)} ×" for times in (one.overheads, one.overheads_hashed)),
        )


def _rate(one: Imaging) -> str:
    return f"{one.bytes_per_s / 1e6:.0f} MB/s" if one.bytes_per_s else "from memory"


def _middle(values: tuple[float, ...], digits: int) -> str:
    lower, middle, upper = quartiles(values)
    quarters = f" ({lower:.{digits}f}-{upper:.{digits}f})" if len(values) > 1 else ""
    return f"{middle:.{digits}f}{quarters}"


def _memory_row(memory: Memory) -> tuple[str, ...]:
    pss = "not visible" if memory.pss_bytes is None else _megabytes(memory.pss_bytes)
    shares = ", ".join(f"{share.process} {_megabytes(share.bytes)}" for share in memory.at_peak if share.bytes > 10**6)
    return memory.image, pss, _megabytes(memory.rss_bytes), shares


def _catalogue_row(size: CatalogueSize) -> tuple[str, ...]:
    tables = [table for table in size.tables if table.bytes >= size.paths]  # what adds a byte per path or more
    shares = [f"{t.name} {t.bytes / size.paths:.0f} ({t.index_bytes / size.paths:.0f})" for t in tables]
    return size.image, f"{size.paths:,}", f"{size.bytes_per_path:.1f}", ", ".join(shares)


def _lookup_rows(one: Finding) -> Iterator[tuple[str, ...]]:
    for lookup in one.lookups:
        yield lookup.what, f"`{lookup.asked}`", str(lookup.found), _middle(tuple(s * 1e3 for s in lookup.seconds), 1)


def _sizes(one: Finding) -> str:
    def shares(tables: tuple[TableSize, ...]) -> str:
        return ", ".join(f"{table.name} {table.bytes / one.paths:.1f}" for table in tables)

    return (
        f"{one.media:,} media, {one.names:,} different names, {one.database_bytes / one.paths:.1f} bytes per path in "
        f"all: {shares(one.tables)}. The indexes for this, in bytes per path: {shares(one.indexes)}."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
