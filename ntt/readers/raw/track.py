"""One data track of raw sectors -> where the disc's block 0 would lie, its sessions, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ntt.ranges import within
from ntt.readers.base import ImageSource
from ntt.readers.iso.records import OWN_IDENTIFIER
from ntt.readers.iso.sessions import names_itself, sessions_found
from ntt.readers.raw.checksums import checksum_fits
from ntt.readers.raw.headers import DATA_AT, SYNC, USER_BYTES, WITH_HEADER, block_of
from ntt.readers.raw.view import SectorView

PLAIN = USER_BYTES
_FORM_2 = 0x20  # of the submode (CD-ROM XA)
_SAMPLES = 32
_SEARCHED_BYTES = 8 << 20  # behind a session's start, for its root directory
_LEAD_SECTORS = 150  # a pregap, where the image holds it
_FEW = 64
_HEADERLESS = {PLAIN: 0, 2336: 8}  # 2336: from the subheader on


class Span(NamedTuple):
    """Where a track lies: `begin` with its pregap, `start` without; bytes of the image."""

    number: int
    mode: str  # "mode1", "mode2" or "audio"
    sector_bytes: int
    begin: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RawTrack:
    """A track of an image. `mode` is "mode1", "mode2", "form2" (XA form 2 only: video, no file system) or "audio".

    `sector_bytes`, `data_at` and `base_bytes` are what `ntt.model.Volume` calls `sector_bytes`, `data_at` and
    `offset_bytes`; `sector_bytes` is 0 where the blocks lie as in an ordinary image, from `base_bytes` on.
    `sessions` are the starts of the ISO 9660 sessions in this track, in bytes of its view (as `find_sessions` gives
    them); empty if it has none, it may hold another file system then. Tracks of one disc share their block numbers,
    so a view shows the blocks of all of them: what is in `sessions` belongs to this one.
    """

    number: int
    mode: str
    sector_bytes: int
    data_at: int
    base_bytes: int
    start_bytes: int
    end_bytes: int
    sessions: tuple[int, ...]
    remark: str = ""

    @property
    def may_hold_files(self) -> bool:
        return self.mode in ("mode1", "mode2")


def data_track(source: ImageSource, span: Span) -> RawTrack:
    """OSError if the image file itself cannot be read."""
    remarks: list[str] = []
    mode = _mode(source, span)
    if mode != span.mode:
        remarks.append(f"its sectors are of {mode}, not {span.mode}")
    data_at = (
        DATA_AT[2 if mode == "mode2" else 1]
        if span.sector_bytes in WITH_HEADER
        else _HEADERLESS.get(span.sector_bytes, -1)
    )
    if data_at < 0 or span.end - span.start < USER_BYTES:
        remark = f"sectors of {span.sector_bytes} bytes, {span.end - span.begin} bytes in all: no file system"
        return RawTrack(span.number, "form2", span.sector_bytes, 0, span.begin, span.begin, span.end, (), remark)
    form_2, wrong, looked = _sampled(source, span, data_at)
    if form_2:
        remarks.append(
            f"{form_2} of {looked} sampled sectors are XA form 2 (video or sound of 2324 bytes without error "
            "correction): files made of them are not read"
        )
    if wrong:
        remarks.append(f"{wrong} of {looked} sampled sectors disagree with their checksum (EDC): read errors stand in")
    base = _base(source, span, data_at)
    view = SectorView(source, span.sector_bytes, data_at, base)
    sessions = _sessions(view, span)
    track = RawTrack(
        span.number, mode, span.sector_bytes, data_at, base, span.begin, span.end, sessions, "; ".join(remarks)
    )
    if not sessions and form_2 and form_2 == looked:
        return replace(track, mode="form2")
    return replace(track, sector_bytes=0) if span.sector_bytes == PLAIN and base >= 0 else track


def _sessions(view: SectorView, span: Span) -> tuple[int, ...]:
    """Those that begin in the span; block numbers only rise within one."""
    begin, end = view.offset_of(span.begin), view.offset_of(span.end)
    return sessions_found(view, 0, end, begin) if end > begin else ()


def _mode(source: ImageSource, span: Span) -> str:
    if span.sector_bytes in WITH_HEADER:
        for place in _places(span)[:_FEW]:
            header = source.read(place, 16)
            if header[:12] == SYNC and header[15] in DATA_AT:
                return f"mode{header[15]}"
    return span.mode


def _places(span: Span) -> range:
    return range(span.start, span.end - span.sector_bytes + 1, span.sector_bytes)


# ---- where blocks count from


def _base(source: ImageSource, span: Span, data_at: int) -> int:
    """The first of what the sectors and the file system say that the root directory confirms; else what is said."""
    said = [*_base_by_address(source, span), *_base_by_root(source, span, data_at), span.start]
    for base in dict.fromkeys(said):
        view = SectorView(source, span.sector_bytes, data_at, base)
        first = view.offset_of(span.start)
        if any(names_itself(view, 0, start) for start in (first, first + _LEAD_SECTORS * USER_BYTES)):
            return base
    return said[0]


def _base_by_address(source: ImageSource, span: Span) -> Iterator[int]:
    if span.sector_bytes not in WITH_HEADER:
        return
    for place in _places(span)[:_FEW]:
        block = block_of(source.read(place, 16))
        if block is not None and block_of(source.read(place + span.sector_bytes, 16)) == block + 1:
            yield place - block * span.sector_bytes
            return


def _base_by_root(source: ImageSource, span: Span, data_at: int) -> Iterator[int]:
    """The root directory names its own block: where it lies tells where block 0 would."""
    view = SectorView(source, span.sector_bytes, data_at, span.start)
    descriptor = view.read(16 * USER_BYTES, USER_BYTES)
    if descriptor[:6] != b"\x01CD001" or int.from_bytes(descriptor[128:130], "little") != USER_BYTES:
        return
    root = descriptor[158:166]  # its block in both byte orders
    searched = view.read(0, min(_SEARCHED_BYTES, view.size_bytes))
    place = searched.find(root)
    while place >= 0:
        sector, inside = divmod(place, USER_BYTES)
        if inside == 2 and searched[place + 30 : place + 32] == b"\x01" + OWN_IDENTIFIER:
            yield span.start + (sector - int.from_bytes(root[:4], "little")) * span.sector_bytes
            return
        place = searched.find(root, place + 1)


# ---- samples


def _sampled(source: ImageSource, span: Span, data_at: int) -> tuple[int, int, int]:
    """(sectors of XA form 2, sectors whose checksum is wrong, sectors looked at) of a few that were read."""
    if span.sector_bytes == PLAIN:
        return 0, 0, 0
    places = _places(span)
    form_2 = wrong = looked = 0
    for place in places[:: max(len(places) // _SAMPLES, 1)]:
        if within(source.unread, place, place + span.sector_bytes):
            continue
        sector = source.read(place, span.sector_bytes)
        if span.sector_bytes in WITH_HEADER and sector[:12] != SYNC:
            continue
        looked += 1
        if data_at != DATA_AT[1] and sector[data_at - 6] & _FORM_2:
            form_2 += 1
        elif checksum_fits(sector, data_at) is False:
            wrong += 1
    return form_2, wrong, looked
