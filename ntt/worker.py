"""Composition root of a worker process: fences itself in, opens the image, then serves one role."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from ntt.copier.messages import Begin, StoreFailed, ToWorker
from ntt.copier.reading import BatchReader, LargeFile, Source
from ntt.copier.serving import Server
from ntt.model import Route, Volume, VolumeStatus
from ntt.pulse import Pulse
from ntt.ranges import Ranges, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.messages import Survey
from ntt.readers.opening import open_volume
from ntt.readers.survey import survey
from ntt.store.layout import SMALL_BLOB_LIMIT_BYTES, StoreLayout
from ntt.store.packs import PackWriter
from ntt.store.plain import PlainBlobWriter

PR_SET_DUMPABLE = 4
Incoming = TypeVar("Incoming")


def _receive(decoder: msgspec.msgpack.Decoder[Incoming]) -> Incoming | None:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        return None  # the parent is gone or has no more work
    return decoder.decode(sys.stdin.buffer.read(int.from_bytes(head, "big")))


class Frames:
    """Messages to the parent, on a descriptor that nothing else in this process writes to."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what a library prints must not end up between two frames

    def send(self, message: msgspec.Struct) -> None:
        body = msgspec.msgpack.encode(message)
        self._out.write(len(body).to_bytes(4, "big") + body)
        self._out.flush()


def _fence_in(memory_bytes: int) -> None:
    """Limits on memory, no core file with a user's data in it."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _open_sources(begin: Begin, image: ImageSource) -> tuple[dict[int, Source], dict[int, str]]:
    sources: dict[int, Source] = {}
    closed: dict[int, str] = {}
    for volume in begin.volumes:
        if volume.status is not VolumeStatus.READ:
            closed[volume.index] = volume.finding
            continue
        try:
            sources[volume.index] = open_volume(image, volume)
        except ReadError as error:
            closed[volume.index] = f"its volume cannot be opened: {error}"
    return sources, closed


def _touched(volumes: tuple[Volume, ...], unread: Ranges) -> dict[int, Ranges]:
    """The unread bytes that may concern each volume; without any, no file's extents need to be looked up.

    TSK reads no block outside its file system, so unread bytes elsewhere cannot be in its files. An ISO 9660
    record may point anywhere, and so may a file system that is larger than its partition or the image.
    """
    return {
        volume.index: ()
        if volume.route is Route.TSK
        and not volume.finding
        and not within(unread, volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
        else unread
        for volume in volumes
    }


def _keep(large: LargeFile) -> None:
    assert isinstance(large, PlainBlobWriter)
    large.keep()


def _copy(image_fd: int, pulse: Pulse, frames: Frames) -> None:
    begin = _receive(msgspec.msgpack.Decoder(Begin))
    if begin is None:
        return
    layout = StoreLayout(Path(begin.store))
    image = ImageSource(image_fd, begin.unread)
    sources, closed = _open_sources(begin, image)
    numbers = itertools.count()

    def new_large_file() -> LargeFile:
        return PlainBlobWriter(layout, f"{begin.name}-{next(numbers)}")

    reader = BatchReader(
        sources,
        closed,
        _touched(begin.volumes, begin.unread),
        image.size_bytes,
        SMALL_BLOB_LIMIT_BYTES,
        new_large_file,
        (ReadError, OSError),
        pulse,
    )
    server = Server(reader, lambda pack_id, at: PackWriter(layout, pack_id, at), _keep)
    decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
    while (message := _receive(decoder)) is not None:
        answer = server.answer(message)
        frames.send(answer)
        if isinstance(answer, StoreFailed):
            return


def _walk(image_fd: int, pulse: Pulse, frames: Frames) -> None:
    request = _receive(msgspec.msgpack.Decoder(Survey))
    if request is None:
        return
    source = ImageSource(image_fd, request.unread)
    found: Iterator[msgspec.Struct] = survey(source, request, pulse, partial(open_volume, source))
    for message in found:
        frames.send(message)


ROLES: dict[str, Callable[[int, Pulse, Frames], None]] = {"copy": _copy, "walk": _walk}


def main() -> None:
    """`python -m ntt.worker ROLE IMAGE_FD PULSE_FD MEMORY_BYTES`; only `ntt.fence` starts it."""
    role, image_fd, pulse_fd, memory_bytes = sys.argv[1], *map(int, sys.argv[2:5])
    _fence_in(memory_bytes)
    pulse = Pulse(pulse_fd)
    os.close(pulse_fd)
    ROLES[role](image_fd, pulse, Frames())


if __name__ == "__main__":
    main()
