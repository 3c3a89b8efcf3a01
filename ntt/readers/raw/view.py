"""Raw CD sectors -> the 2,048 user bytes of each, as if they were an image of nothing else (ECMA-130; CD-ROM XA)."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache

from ntt.ranges import Range, normalised, within
from ntt.readers.base import ImageSource
from ntt.readers.raw.checksums import checksum_fits
from ntt.readers.raw.headers import (
    DATA_AT,
    LEAD_BLOCKS,
    USER_BYTES,
    WITH_HEADER,
    Run,
    block_of,
    header_of,
    runs,
)

NOWHERE = 1 << 61  # added to the place of bytes that the image does not hold: it counts as behind its end
_END = 1 << 63
_CHUNK_SECTORS = 2048
_FORM_2 = bytes(byte & 0x20 for byte in range(256))  # bit 5 of the submode (CD-ROM XA)


class ForeignSector(OSError):
    """A sector that holds no 2,048 bytes of user data: audio, XA form 2 (video), or another than its place says."""


class SectorView(ImageSource):
    """The blocks of a disc, block 0 first: sectors of `sector_bytes` with their user data at `data_at`.

    `base_bytes` is where block 0 lies in the image, negative where the image begins with a later one. Blocks that the
    image does not hold read as zeros and count as unread, like what `source` says is unread; `unread` and
    `size_bytes` are in bytes of the view. If sectors carry addresses (2352 bytes and more), gaps between sessions
    that the image leaves out are honoured.

    While `strict` is set, sectors that are read and yet no data are refused (`ForeignSector`); otherwise what stands
    there is given. A sector with a broken header is taken if its checksum proves its data.
    """

    def __init__(self, source: ImageSource, sector_bytes: int, data_at: int, base_bytes: int) -> None:
        if sector_bytes < data_at + USER_BYTES or data_at < 0:
            raise ForeignSector(f"no sector of {sector_bytes} bytes holds 2048 at byte {data_at}")
        self.fd = source.fd
        self.raw = source
        self.sector_bytes = sector_bytes
        self.data_at = data_at
        self._runs, self._shift = runs(source, sector_bytes, base_bytes)
        self.strict = False
        self._mode = next((mode for mode, place in DATA_AT.items() if place == data_at), 0)
        self.size_bytes = max((self._view_offset(run, source.size_bytes) for run in self._runs), default=0)
        self.unread = normalised(self._unread())

    def read(self, offset: int, length: int) -> bytes:
        """See `ImageSource.read`."""
        parts: list[bytes] = []
        at, end = offset, offset + length
        while at < end:
            run, stop = self._run_at(at, end)
            parts.append(self._user_data(run, at, stop) if run is not None else bytes(stop - at))
            at = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def image_offset(self, offset: int) -> int:
        """Where this byte of the view lies in the image; `NOWHERE` or more if it holds it not."""
        run, _ = self._run_at(offset, offset + 1)
        return self._place(run, offset) if run is not None else NOWHERE + offset

    def offset_of(self, place: int) -> int:
        """The first byte of the view that lies at a place in the image or behind it; the view's end if none does."""
        for run in self._runs:
            if place < run.position + run.blocks * self.sector_bytes:
                return self._view_offset(run, max(place, run.position))
        return self.size_bytes

    def pieces(self, offset: int, length: int) -> list[Range]:
        """`[offset, offset + length)` as (place in the image, bytes), in order, each inside of one sector."""
        found: list[Range] = []
        at, end = offset, offset + length
        while at < end:
            run, stop = self._run_at(at, end)
            if run is None:
                found.append((NOWHERE + at, stop - at))
            elif self.sector_bytes == USER_BYTES:
                found.append((self._place(run, at), stop - at))
            else:
                head = min(-at % USER_BYTES, stop - at)
                if head:
                    found.append((self._place(run, at), head))
                whole = at + head
                count, tail = divmod(stop - whole, USER_BYTES)
                place = self._place(run, whole)
                found.extend((place + index * self.sector_bytes, USER_BYTES) for index in range(count))
                if tail:
                    found.append((place + count * self.sector_bytes, tail))
            at = stop
        return found

    def _run_at(self, at: int, end: int) -> tuple[Run | None, int]:
        """The run that holds the byte, and how far it (or the gap between runs) goes at most."""
        block = at // USER_BYTES
        index = bisect_right(self._runs, block, key=lambda run: run.block) - 1
        if index >= 0 and block < self._runs[index].block + self._runs[index].blocks:
            run = self._runs[index]
            return run, min(end, (run.block + run.blocks) * USER_BYTES)
        follows = self._runs[index + 1].block * USER_BYTES if index + 1 < len(self._runs) else end
        return None, min(end, follows)

    def _place(self, run: Run, offset: int) -> int:
        block, inside = divmod(offset, USER_BYTES)
        return run.position + (block - run.block) * self.sector_bytes + self.data_at + inside

    def _view_offset(self, run: Run, place: int) -> int:
        """The first byte of the view at or behind a place in the image that lies in the run, or at its end."""
        end = run.position + run.blocks * self.sector_bytes
        sectors, inside = divmod(min(place, end) - run.position, self.sector_bytes)
        return (run.block + sectors) * USER_BYTES + min(max(inside - self.data_at, 0), USER_BYTES)

    def _unread(self) -> list[Range]:
        found: list[Range] = [(self.size_bytes, _END)]
        at = 0
        for run in self._runs:
            end = run.position + run.blocks * self.sector_bytes
            found.append((at, run.block * USER_BYTES))
            for low, high in within(self.raw.unread, run.position, end):
                found.append((self._view_offset(run, low), self._view_offset(run, high)))
            at = (run.block + run.blocks) * USER_BYTES
        return found

    def _user_data(self, run: Run, at: int, stop: int) -> bytes:
        pieces: list[bytes] = []
        while at < stop:
            first = at // USER_BYTES
            until = min(stop, (first + _CHUNK_SECTORS) * USER_BYTES)
            count = -(-until // USER_BYTES) - first
            place = run.position + (first - run.block) * self.sector_bytes
            raw = self.raw.read(place, count * self.sector_bytes)
            if self.strict:
                self._check(raw, place, first, count)
            data = b"".join([raw[low : low + USER_BYTES] for low in range(self.data_at, len(raw), self.sector_bytes)])
            pieces.append(data[at - first * USER_BYTES : until - first * USER_BYTES])
            at = until
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # ---- is it data, and the data that was asked for

    def _check(self, raw: bytes, place: int, first: int, count: int) -> None:
        """ForeignSector unless each of these sectors is user data, or unread."""
        step = self.sector_bytes
        if self._all_fit(raw, first, count):
            return
        for index in range(count):
            start = place + index * step
            header = (start, start + self.data_at)
            if header[1] > self.raw.size_bytes or within(self.raw.unread, *header):
                continue
            sector = raw[index * step : (index + 1) * step]
            if not self._all_fit(sector, first + index, 1) and not self._is_proven(sector, first + index):
                why = self._why_foreign(sector)
                raise ForeignSector(f"block {first + index} (byte {start} of the image) holds no user data: {why}")

    def _all_fit(self, raw: bytes, first: int, count: int) -> bool:
        step = self.sector_bytes
        if self.data_at in (8, 24) and raw[self.data_at - 6 :: step].translate(_FORM_2).strip(b"\0"):
            return False
        if step not in WITH_HEADER or self._shift is None:
            return True
        low, high = first + self._shift, first + self._shift + count
        return (
            raw[15::step] == bytes((self._mode,)) * count
            and raw[0::step] == bytes(count)
            and raw[1::step] == b"\xff" * count
            and raw[10::step] == b"\xff" * count
            and low >= 0
            and all(raw[12 + at :: step] == track[low:high] for at, track in enumerate(_addresses()))
        )

    def _is_proven(self, sector: bytes, block: int) -> bool:
        """Whether no more than the header is broken. In XA the checksum leaves it out: an address there is believed."""
        if self._mode == 1:
            return checksum_fits(header_of(block + (self._shift or 0), 1) + sector[16:], self.data_at) is True
        is_form_1 = self._mode == 2 and not sector[self.data_at - 6] & 0x20
        return is_form_1 and block_of(sector) is None and checksum_fits(sector, self.data_at) is True

    def _why_foreign(self, sector: bytes) -> str:
        if self.data_at in (8, 24) and sector[self.data_at - 6] & 0x20 and (sector[15] == 2 or self.data_at == 8):
            return "XA form 2, 2324 bytes of video or sound without error correction"
        if sector[:2] != b"\0\xff":
            return "it has no sync pattern, as audio has none"
        if DATA_AT.get(sector[15]) != self.data_at:
            return f"its header says mode {sector[15]}"
        return "its header has the address of another block"


@cache
def _addresses() -> tuple[bytes, bytes, bytes]:
    """Minute, second and frame of each block of a disc from block 0 on, as in the headers."""
    digits = bytes(value // 10 << 4 | value % 10 for value in range(100))
    minutes = b"".join(digits[minute : minute + 1] * 4500 for minute in range(100))
    seconds = b"".join(digits[second : second + 1] * 75 for second in range(60)) * 100
    frames = digits[:75] * 6000
    return minutes[LEAD_BLOCKS:], seconds[LEAD_BLOCKS:], frames[LEAD_BLOCKS:]
