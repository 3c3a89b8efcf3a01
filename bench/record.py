"""What a benchmark run found out, as it is kept in bench/results."""

from __future__ import annotations

import enum
from statistics import median, quantiles

import msgspec


class What(enum.StrEnum):
    """What was timed, in seconds. "Fresh": the first run over a mount; "warm": the second over the same."""

    COPY_STAGE = "NTT, copy stage"
    IDENTIFY_STAGE = "NTT, identify stage"
    ENUMERATE_STAGE = "NTT, enumerate stage"
    ARCHIVE_STAGE = "NTT, archive stage"
    INGEST = "NTT, whole `ntt ingest`"
    FIRST_INGEST = "NTT, whole `ntt ingest`, into a home that does not exist yet"
    CP_FRESH = "`cp -a` + sync, fresh mount"
    CP_WARM = "`cp -a` + sync, warm mount"
    CP_HASH_FRESH = "`cp -a` + sync + `b3sum`, fresh mount"
    CP_HASH_WARM = "`cp -a` + sync + `b3sum`, warm mount"
    RESTIC_FRESH = "`restic backup`, fresh mount"
    RESTIC_WARM = "`restic backup`, warm mount"
    BORG_FRESH = "`borg create`, fresh mount"
    BORG_WARM = "`borg create`, warm mount"
    LIST_AND_COPY = "NTT, enumerate and copy stages"
    MOUNT_CP = "mount, `cp -a`"
    MOUNT_CP_SYNC = "mount, `cp -a`, sync"
    PIPELINE = "shell pipeline, all steps"
    STEP_IMAGE_HASH = "shell pipeline: b3sum of the image"
    STEP_LIST = "shell pipeline: mount, find -printf"
    STEP_LOAD = "shell pipeline: psql \\copy"
    STEP_COPY = "shell pipeline: cp -a, sync"
    STEP_HASH = "shell pipeline: b3sum of the copies"
    STEP_ARCHIVE = "shell pipeline: tar | zstd, sync"
    STEP_TEST = "shell pipeline: zstd -t"


class Image(msgspec.Struct, frozen=True):
    name: str
    files: int
    content_bytes: int
    image_bytes: int
    fstype: str = "ext4"


class Series(msgspec.Struct, frozen=True):
    """One figure of one image, once per repetition."""

    image: str
    what: What
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)


class Imaging(msgspec.Struct, frozen=True):
    """Seconds of NTT and of ddrescue for one healthy source, pair by pair; `load` is that before each pair.

    All of them end with a durable image. NTT's includes the hash, `ddrescue_b3sum` is `ddrescue` and then the hash.
    `bytes_per_s` 0: not limited.
    """

    source: str
    size_bytes: int
    bytes_per_s: int
    ntt: tuple[float, ...]
    ddrescue: tuple[float, ...]
    ddrescue_b3sum: tuple[float, ...]
    load: tuple[float, ...]

    @property
    def overheads(self) -> tuple[float, ...]:
        """NTT's time as a multiple of ddrescue's, of each pair."""
        return tuple(ours / theirs for ours, theirs in zip(self.ntt, self.ddrescue, strict=True))

    @property
    def overheads_hashed(self) -> tuple[float, ...]:
        """The same, of ddrescue with `b3sum` after it."""
        return tuple(ours / theirs for ours, theirs in zip(self.ntt, self.ddrescue_b3sum, strict=True))


class Share(msgspec.Struct, frozen=True):
    """A process at the moment of the peak."""

    process: str
    bytes: int


class Memory(msgspec.Struct, frozen=True):
    """Peaks of one `ntt ingest`: sums over NTT's processes without PostgreSQL. No PSS without the right to see it."""

    image: str
    pss_bytes: int | None
    rss_bytes: int
    samples: int
    at_peak: tuple[Share, ...]


class TableSize(msgspec.Struct, frozen=True):
    """`pg_total_relation_size`: rows, what does not fit into a row, and indexes; `index_bytes` are the latter alone."""

    name: str
    bytes: int
    index_bytes: int


class CatalogueSize(msgspec.Struct, frozen=True):
    """The database with the schema and no rows, and after `ntt ingest` of one image."""

    image: str
    paths: int
    empty_bytes: int
    full_bytes: int
    tables: tuple[TableSize, ...]

    @property
    def bytes_per_path(self) -> float:
        return (self.full_bytes - self.empty_bytes) / self.paths


class Lookup(msgspec.Struct, frozen=True):
    """How long `ntt where` took for questions of one kind; `asked` is one of them, `found` the most paths found.

    `indexed`: an index is there for them.
    """

    what: str
    asked: str
    found: int
    seconds: tuple[float, ...]
    indexed: bool


class Finding(msgspec.Struct, frozen=True):
    """Finding names and contents in a generated catalogue. `names`: different ones; sizes as in `CatalogueSize`.

    `indexes` are those that only `ntt where` needs.
    """

    name: str
    media: int
    paths: int
    names: int
    database_bytes: int
    fill_seconds: float
    tables: tuple[TableSize, ...]
    indexes: tuple[TableSize, ...]
    lookups: tuple[Lookup, ...]


class Machine(msgspec.Struct, frozen=True):
    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    load: float  # of the minute before the start
    versions: tuple[str, ...]


class Report(msgspec.Struct, frozen=True):
    """One run. `left_out` are sentences: what was not measured and why."""

    started_at: str
    command: str
    quick: bool
    repeat: int
    machine: Machine
    images: tuple[Image, ...]
    series: tuple[Series, ...]
    memory: tuple[Memory, ...]
    catalogue: tuple[CatalogueSize, ...]
    left_out: tuple[str, ...]
    mounted_by: tuple[str, ...] = ()
    imaging: tuple[Imaging, ...] = ()
    finding: tuple[Finding, ...] = ()

    def median(self, image: str, what: What) -> float | None:
        """Seconds; None when it was not measured."""
        return next((s.median for s in self.series if s.image == image and s.what is what), None)

    def peak(self, image: str) -> float | None:
        """Median over the runs, of PSS where it could be seen, else of RSS; bytes."""
        peaks = [m.rss_bytes if m.pss_bytes is None else m.pss_bytes for m in self.memory if m.image == image]
        return median(peaks) if peaks else None

    def bytes_per_path(self, image: str) -> float | None:
        return next((c.bytes_per_path for c in self.catalogue if c.image == image), None)


def quartiles(values: tuple[float, ...]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, between the values where there is none; of one value that value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return lower, middle, upper
