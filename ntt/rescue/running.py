"""Source, image, what is to be read -> one run of ddrescue, watched, ended in time, and what it came to.

What was read is what the map says: never the exit status. The map is saved every few seconds, and when ddrescue is
asked to end; a kept copy survives even a kill while it is written. A source that went away is not blamed on the medium.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import anyio.to_thread

from ntt.model import PassEnd, PassRecord
from ntt.names import storable
from ntt.progress import Stop
from ntt.ranges import Ranges, intersection, total
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.presence import FAILED, rescued_bytes
from ntt.rescue.source import Source
from ntt.rescue.stops import Limits
from ntt.rescue.telling import Progress
from ntt.rescue.watching import Orders, Watch, sectors_of
from ntt.rescue.working import WorkingImage
from ntt.tools.ddrescue import Flags
from ntt.tools.mapfile import Mapfile, domain_text

__all__ = ["Limits", "Progress", "run_pass"]


async def run_pass(
    source: Source,
    image: WorkingImage,
    name: str,
    flags: Flags,
    domain: Ranges | None,
    limits: Limits,
    advance: Callable[[Progress], None],
    stop: Stop,
    hasher: PrefixHash | None = None,
    hardware: dict[str, str] | None = None,
) -> PassRecord:
    """Runs until there is a reason to end, which the record names; image, map and record are durable on return.

    `domain`: bytes of the medium; only what is unread of it is read. `hasher` follows what is finished. Whatever
    happens, also when cancelled, ddrescue has ended or can no longer write. May be called again for what is left.
    """
    before = image.mapfile()
    orders = Orders(source, image, name, flags, domain, limits)
    wanted = before.unread if domain is None else intersection(sectors_of(domain, source), before.unread)
    watch = Watch(orders, before, total(wanted), advance, stop, hasher)
    began_s, started = time.time(), time.monotonic()
    if wanted:
        image.put_map(_from_the_start(before, flags))
        if domain is not None:
            image.domain_path.write_text(domain_text(wanted, image.size_bytes), encoding="ascii")
        try:
            end, detail = await watch.run()
            end, detail, after = await watch.settled(end, detail)
        finally:
            image.domain_path.unlink(missing_ok=True)
    else:
        end, detail, after = PassEnd.FINISHED, "", before
    record = PassRecord(
        name=name,
        source=storable(str(source.path)),
        began_s=began_s,
        seconds=time.monotonic() - started,
        wanted_bytes=total(wanted),
        rescued_before=rescued_bytes(before),
        rescued_after=rescued_bytes(after),
        bad_bytes=total(after.ranges(FAILED)),
        read_errors=watch.read_errors,
        end=end,
        detail=detail,
        hardware=hardware or {},
    )
    await anyio.to_thread.run_sync(image.record, record)
    return record


def _from_the_start(mapfile: Mapfile, flags: Flags) -> Mapfile:
    """ddrescue goes on where the last pass was, which may lie behind what this one is to read."""
    return replace(mapfile, position=mapfile.end if flags.reverse else 0, phase="?", pass_number=1)
