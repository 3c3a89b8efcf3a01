"""What was found of contents, and what of them is whole -> lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ntt.names import printable
from ntt.operations.verify import FINISHED, INTERRUPTED, TIME_IS_UP, DamagedBlob, VerifyReport
from ntt.operations.where import Place, Search, Where
from ntt.text import SHORT, SHOWN, more_lines, size_words, when_words


def where_lines(report: Where) -> Iterator[str]:
    for search in report.searches:
        yield _found(search)
        for place in search.places:
            yield f"  {_place(place)}"
        if search.more:
            yield f"  ... and more than these {len(search.places):,}: --limit shows them, or ask for less"


def _found(search: Search) -> str:
    count = f"{len(search.places):,}{'+' if search.more else ''}"
    if search.by == "name":
        return f"named {printable(search.what)}: {count} paths"
    content = f"content {search.blob[:SHORT]}" if search.blob else f"content {printable(search.what)}"
    of = f" of {printable(search.what)}" if search.by == "file" else ""
    if not search.stored:
        return f"{content}{of}: the store does not have it"
    return f"{content}{of} ({size_words(search.size)}): {count} paths"


def _place(place: Place) -> str:
    box = f", box {printable(place.box)}" if place.box else ""
    said = [place.type if place.type != "file" else "", size_words(place.size) if place.type == "file" else ""]
    said += [place.status if place.status != "copied" else "", f"content {place.blob[:SHORT]}" if place.blob else ""]
    told = ", ".join(part for part in said if part)
    volume = f"volume {place.volume}: " if place.volume else ""
    return f"{place.medium_hash[:SHORT]} ({printable(place.human)}{box}) {volume}{printable(place.raw)} [{told}]"


def verify_lines(report: VerifyReport) -> Iterator[str]:
    if report.since is not None:
        yield f"went on with what was begun on {when_words(report.since)}"
    yield f"read {report.blobs:,} contents ({size_words(report.bytes)} with archives) and {report.archives:,} archives"
    if report.healed_total:
        yield f"damaged and healed, from images or archives of media that have them: {report.healed_total:,} contents"
        for healed in report.healed[:SHOWN]:
            yield f"  {healed.blob} ({size_words(healed.size)}) from medium {healed.medium_hash[:SHORT]}"
        yield from more_lines(report.healed_total, min(SHOWN, len(report.healed)))
    if report.damaged_total:
        yield f"damaged, and nobody has them any more: {report.damaged_total:,} contents"
    for blob in report.damaged[:SHOWN]:
        yield from _damaged(blob)
    yield from more_lines(report.damaged_total, min(SHOWN, len(report.damaged)))
    for archive in report.damaged_archives:
        yield f"archive of {archive.medium_hash[:SHORT]} ({printable(archive.archive)}): {printable(archive.reason)}"
    yield from _ended(report)


def _damaged(blob: DamagedBlob) -> Iterator[str]:
    place = "plain file" if blob.pack_id is None else f"pack {blob.pack_id}"
    yield f"  {blob.blob} ({size_words(blob.size)}, {place}) {printable(blob.reason)}"
    for example in blob.examples:
        yield f"    needed by {example.reason[:SHORT]}: {printable(example.raw)}"
    if blob.not_healed:
        yield f"    not healed: {printable(blob.not_healed)}"


def _ended(report: VerifyReport) -> Iterator[str]:
    if report.ended in (INTERRUPTED, TIME_IS_UP):
        why = "interrupted" if report.ended == INTERRUPTED else "the time is up"
        on = "" if report.scope == "sample" else "; the same command goes on with them"
        yield f"{why}: {report.blobs_left:,} contents are left{on}"
    if not report.clean:
        yield "next: bring an image of a medium that needs them (`ntt ingest IMAGE`) and verify again: that heals them"
        yield "      `ntt where HASH` lists all files that need a content"
    elif report.ended == FINISHED:
        yield "all of it is whole again" if report.healed_total else "all of it is as it was stored"
    else:
        yield "all that was read is whole"
