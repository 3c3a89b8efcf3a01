"""A stretch of an image -> bytes at a position, read in windows; and what a signature found in it says."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.model import Route
from ntt.readers.base import ImageSource

WINDOW_BYTES = 64 << 10
WINDOWS = 8


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a signature says. `size_bytes` is 0 where it does not say; `finding` is empty where a reader may open it.

    `starts_at`: where the file system begins, counted from the start of what was looked at.
    `inner`: (start, size) of what a member of an array holds, if that can be read without the other members.
    """

    fstype: str
    route: Route
    size_bytes: int
    finding: str = ""
    next_step: str = ""
    remarks: tuple[str, ...] = ()
    at_end: bool = False  # found by what stands at the volume's end, where a partition's may stand too
    starts_at: int = 0
    inner: tuple[int, int] | None = None


class Sample:
    """The bytes `[offset, offset + size)` of an image, cut at its end; a few windows of them are kept."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        self.source = source
        self.offset_bytes = offset_bytes
        self.size_bytes = max(min(size_bytes, source.size_bytes - offset_bytes), 0)
        self._windows: dict[int, bytes] = {}

    def at(self, position: int, length: int) -> bytes:
        """Bytes of the volume, empty if any of them lies outside it. OSError if the image cannot be read."""
        if position < 0 or length <= 0 or position + length > self.size_bytes:
            return b""
        start = position - position % WINDOW_BYTES
        if position + length > start + WINDOW_BYTES:
            return self.source.read(self.offset_bytes + position, length)
        window = self._windows.get(start)
        if window is None:
            if len(self._windows) >= WINDOWS:
                del self._windows[next(iter(self._windows))]
            window = self.source.read(self.offset_bytes + start, min(WINDOW_BYTES, self.size_bytes - start))
            self._windows[start] = window
        return window[position - start : position - start + length]

    def head(self, length: int) -> bytes:
        """The first bytes, fewer if there are no more."""
        return self.at(0, min(length, self.size_bytes))

    def tail(self, length: int) -> bytes:
        """The last bytes; empty if there are not so many."""
        return self.at(self.size_bytes - length, length)


class Prefix(ImageSource):
    """Bytes in memory in the place of an image."""

    def __init__(self, content: bytes) -> None:
        self.fd = -1
        self.size_bytes = len(content)
        self.unread = ((len(content), 1 << 63),)
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """As `ImageSource.read`."""
        return self._content[offset : offset + length].ljust(length, b"\0")
