"""A manifest file -> its header, and its lines in pieces; nothing of it is held but the piece in hand."""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import zstandard

from ntt.db.manifest import LINES_AT_ONCE, MANIFEST_VERSION, Header, Line
from ntt.errors import MediumError

LINE_LIMIT_BYTES = 1 << 30


class ManifestReader:
    """`header`, and the entries of the tree, once each."""

    def __init__(self, stream: io.BufferedReader, name: str) -> None:
        self._stream = stream
        self._name = name
        self._decoder = msgspec.json.Decoder(Line)
        self.header = self._first()

    def _first(self) -> Header:
        try:
            header = msgspec.json.decode(self._stream.readline(LINE_LIMIT_BYTES), type=Header)
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise MediumError(f"{self._name} is no manifest: {error}") from None
        if not 1 <= header.ntt_manifest <= MANIFEST_VERSION:
            raise MediumError(
                f"{self._name} is a manifest of version {header.ntt_manifest}, this program reads {MANIFEST_VERSION}",
                "use a newer NTT",
            )
        return header

    def pieces(self) -> Iterator[list[Line]]:
        """At most a thousand lines at a time. MediumError where it is damaged or ends in mid-line."""
        try:
            while True:
                piece = [self._decoder.decode(line) for _ in range(LINES_AT_ONCE) if (line := self._line())]
                if not piece:
                    return
                yield piece
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise MediumError(f"{self._name} is damaged: {error}") from None

    def _line(self) -> bytes:
        line = self._stream.readline(LINE_LIMIT_BYTES)
        if line and not line.endswith(b"\n"):
            raise MediumError(f"{self._name} ends in the middle of a line")
        return line


@contextmanager
def open_manifest(path: Path) -> Iterator[ManifestReader]:
    """MediumError where it is none, or of a version that this program does not know."""
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as plain:
        yield ManifestReader(io.BufferedReader(plain, 1 << 20), path.name)


def bytes_of(text: str | None, given_exactly: str | None) -> bytes:
    """A name, path or link as it is on the medium."""
    if given_exactly is not None:
        return b64decode(given_exactly)
    return (text or "").encode()
