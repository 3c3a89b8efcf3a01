"""What a medium is, and how hard it is to be tried -> what ddrescue does in the first pass, and in those after it.

Meant for `ntt/rescue/running.py`. Reasons, from the GNU ddrescue manual, "Algorithm": the copying phase skips what is
bad and comes back from the other side; trimming finds the edges of bad areas, scraping reads them sector by sector.
"""

from __future__ import annotations

from typing import assert_never

from ntt.model import Effort
from ntt.rescue.source import Source, SourceKind
from ntt.tools.ddrescue import Flags

MAP_INTERVAL_S = 5
SYNC_INTERVAL_S = 30
RETRIES = 1
DEEP_RETRIES = 3
_ALL_COPY_PASSES = "1-5"


def first_pass(source: Source, effort: Effort) -> Flags:
    """Once over all of it, fast: what reads well is read, what does not is skipped for later passes.

    A skip begins with a twentieth of the medium's percent and doubles: a scratch costs few reads before it is left.
    `deep` begins the same way: what reads well is safe first, whatever is tried then.
    """
    del effort  # the same for all: it only decides what follows
    skip = max(64 << 10, min(source.size_bytes // 2000, 16 << 20))
    return _flags(source, copy_passes="1", skip_bytes=str(skip - skip % source.sector_bytes))


def further_passes(source: Source, effort: Effort, attempt: int) -> tuple[Flags, ...]:
    """What is tried, in this order, with unread bytes; `attempt` counts from 1 how often this was done with them.

    `quick`: all is read once, each time, and the edges of what is bad are found. `normal`: down to every sector, and
    once more. `deep`: then backwards, thrice each, from the edges again. From the second attempt on the sectors that
    failed are tried at once, every other time from behind. All of them go past the kernel's cache where the source lets
    them: it reads pages of 4 KiB, and one bad sector in a page costs the good ones beside it.
    """
    direct = source.direct
    copied = _flags(source, copy_passes=_ALL_COPY_PASSES, trim=True, direct=direct)
    once_more = _flags(source, copy_passes=_ALL_COPY_PASSES, trim=True, retries=RETRIES, direct=direct)
    scraped = _flags(source, copy_passes=_ALL_COPY_PASSES, trim=True, scrape=True, retries=RETRIES, direct=direct)
    again = _flags(
        source,
        copy_passes=_ALL_COPY_PASSES,
        trim=True,
        scrape=True,
        retries=RETRIES if effort is not Effort.DEEP else DEEP_RETRIES,
        reverse=attempt % 2 == 0,
        direct=direct,
    )
    backwards = _flags(
        source,
        copy_passes=_ALL_COPY_PASSES,
        trim=True,
        scrape=True,
        retries=DEEP_RETRIES,
        reverse=attempt % 2 == 1,
        direct=direct,
        retrim=True,
    )
    match effort:
        case Effort.QUICK:
            return (copied if attempt == 1 else once_more,)
        case Effort.NORMAL:
            return (scraped,) if attempt == 1 else (again,)
        case Effort.DEEP:
            return (scraped, backwards) if attempt == 1 else (again, backwards)
        case _:
            assert_never(effort)


def _flags(
    source: Source,
    *,
    copy_passes: str,
    trim: bool = False,
    scrape: bool = False,
    retries: int = 0,
    reverse: bool = False,
    direct: bool = False,
    retrim: bool = False,
    skip_bytes: str | None = None,
) -> Flags:
    return Flags(
        sector_bytes=source.sector_bytes,
        cluster_sectors=max(1, _cluster_bytes(source.kind) // source.sector_bytes),
        copy_passes=copy_passes,
        trim=trim,
        scrape=scrape,
        retries=retries,
        reverse=reverse,
        direct=direct,
        retrim=retrim,
        try_again=False,
        size_bytes=source.size_bytes,
        skip_bytes=skip_bytes,
        map_interval_s=MAP_INTERVAL_S,
        sync_interval_s=SYNC_INTERVAL_S,
    )


def _cluster_bytes(kind: SourceKind) -> int:
    """How much is read at once: as much as is read without a pause, and not more than is worth losing to one error."""
    match kind:
        case SourceKind.FLOPPY:
            return 9 * 1024  # a cylinder of 1.44 MB has 18 KiB: half of it a track
        case SourceKind.OPTICAL:
            return 64 << 10  # 32 sectors: an ECC block of a DVD has 16
        case SourceKind.DISK:
            return 128 << 10
        case SourceKind.FILE:
            return 128 << 10
        case _:
            assert_never(kind)
