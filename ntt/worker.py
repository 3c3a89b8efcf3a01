"""Composition root of a worker process: is told its work, gives up all it does not need, then looks at the image."""

from __future__ import annotations

import codecs
import ctypes
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from ntt.confinement.entering import confine
from ntt.confinement.processor_time import ProcessorTime
from ntt.copier.diagnosis import Check
from ntt.copier.diagnosis_health import image_health, mount_health
from ntt.copier.messages import Begin, StoreFailed, ToWorker
from ntt.copier.reading import BatchReader, Source
from ntt.copier.serving import Server
from ntt.model import MountedRoot, Route, Volume, VolumeStatus
from ntt.mounts.tree import MountedTree
from ntt.pulse import Pulse
from ntt.ranges import Ranges, within
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.messages import Survey
from ntt.readers.opening import load_all, load_for, open_volume
from ntt.store.packs import PackWriter
from ntt.store.plain import PlainBlobWriter

CODECS = ("ascii", "cp437", "mac_roman", "utf-16", "utf-16-be", "utf-16-le", "utf-8-sig")
FAILURES = (ReadError, OSError)  # of one file or volume; the latter below a mount
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


class Door:
    """Where the parent hands over open descriptors."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)

    def take(self) -> int:
        """The next one; ends the process when there is none, for then the parent is gone."""
        _, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        if not descriptors:
            raise SystemExit(1)
        return descriptors[0]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a role works with."""

    image_fd: int
    pulse: Pulse
    frames: Frames
    door: Door
    time: ProcessorTime

    def advance(self, size_bytes: int) -> None:
        """Something was done, though no file is finished."""
        self.pulse.add(size_bytes)
        self.time.extend(size_bytes)


def _load_what_comes_late(order: Begin | Survey | None) -> None:
    """What is otherwise loaded when it is first needed: by then, no file can be opened any more."""
    for name in CODECS:
        codecs.lookup(name)
    ctypes.CFUNCTYPE(ctypes.c_int)(int)  # looks once where it may put functions that C calls
    known = order.volumes if order is not None else ()
    if known is None:
        load_all()
    else:
        load_for(known)
    if known is None or any(volume.route is Route.ARCHIVE for volume in known):
        from ntt.readers.archives.library import library

        with suppress(ReadError):  # told again, by whoever needs it
            library()


def _opened(desk: Desk, image: ImageSource, roots: Mapping[int, MountedRoot], volume: Volume) -> VolumeReader:
    """By a reader, or below the volume's mounted root. ReadError or OSError when it cannot be."""
    if not volume.route.is_mount:
        return open_volume(image, volume, desk.advance)
    if volume.index not in roots:
        raise ReadError("it is not mounted")
    root = roots[volume.index]
    return MountedTree(root.fd, volume, root.kind, image.unread, image.read)


def _open_sources(desk: Desk, begin: Begin, image: ImageSource) -> tuple[dict[int, Source], dict[int, str]]:
    sources: dict[int, Source] = {}
    closed: dict[int, str] = {}
    for volume in begin.volumes:
        if volume.status is not VolumeStatus.READ:
            closed[volume.index] = volume.finding
            continue
        try:
            sources[volume.index] = _opened(desk, image, begin.roots, volume)
        except FAILURES as error:
            closed[volume.index] = f"its volume cannot be opened: {error}"
    return sources, closed


def _touched(volumes: tuple[Volume, ...], unread: Ranges) -> dict[int, Ranges]:
    """The unread bytes that may concern each volume; without any, no file's extents need to be looked up.

    TSK and the kernel read no block outside the file system, so unread bytes elsewhere cannot be in its files. An
    ISO 9660 record may point anywhere, so may a file system that is larger than its partition or the image, and
    raw sectors lie elsewhere than their numbers say.
    """
    return {
        volume.index: ()
        if (volume.route is Route.TSK or volume.route.is_mount)
        and not volume.finding
        and not volume.sector_bytes
        and not within(unread, volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
        else unread
        for volume in volumes
    }


def _health(begin: Begin, image: ImageSource, index: int) -> Check:
    """Of what a volume is read through."""
    if index in begin.roots:
        return mount_health(begin.roots[index].fd)
    offset_bytes = next((volume.offset_bytes for volume in begin.volumes if volume.index == index), 0)
    return image_health(image.fd, image.size_bytes, offset_bytes)


def _copy(begin: Begin, desk: Desk) -> None:
    image = ImageSource(desk.image_fd, begin.unread)
    desk.time.allow(0)  # for opening the volumes
    sources, closed = _open_sources(desk, begin, image)
    reader = BatchReader(
        sources,
        closed,
        _touched(begin.volumes, begin.unread),
        image.size_bytes,
        FAILURES,
        desk.pulse,
        desk.time.allow,
        image.take_fault,
        partial(_health, begin, image),
    )
    server = Server(
        reader,
        lambda: PackWriter(desk.door.take(), begin.store),
        lambda: PlainBlobWriter(desk.door.take(), begin.store),
    )
    decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
    while (message := _receive(decoder)) is not None:
        answer = server.answer(message)
        desk.frames.send(answer)
        if isinstance(answer, StoreFailed):
            return


Answers = Callable[[ImageSource, Survey, Desk], Iterator[msgspec.Struct]]


def _surveyor(role: str) -> Answers:
    """What answers a survey in this role; loaded now, as nothing can be later."""
    if role == "inspect":
        from ntt.readers.inspecting import inspection

        return lambda source, request, desk: inspection(source, request, desk.pulse)
    from ntt.readers.survey import survey

    return lambda source, request, desk: survey(
        source, request, desk.pulse, partial(_opened, desk, source, request.roots)
    )


def _survey(answers: Answers, request: Survey, desk: Desk) -> None:
    source = ImageSource(desk.image_fd, request.unread)
    desk.time.allow(source.size_bytes)
    for message in answers(source, request, desk):
        desk.frames.send(message)


def main() -> None:
    """`python -m ntt.worker ROLE IMAGE_FD PULSE_FD DOOR_FD MEMORY_BYTES READS_MOUNTS`; only `ntt.fence` starts it.

    Up to `confine` nothing is touched that comes from a medium. The role `report` tells what could not be given up.
    """
    role = sys.argv[1]
    image_fd, pulse_fd, door_fd, memory_bytes, reads_mounts = map(int, sys.argv[2:7])
    desk = Desk(image_fd, Pulse(pulse_fd), Frames(), Door(door_fd), ProcessorTime())
    os.close(pulse_fd)
    order = None if role == "report" else _receive(msgspec.msgpack.Decoder(Begin | Survey))
    _load_what_comes_late(order)
    answers = _surveyor(role) if isinstance(order, Survey) else None
    roots = tuple(root.fd for root in order.roots.values()) if order is not None else ()
    confined = confine(memory_bytes, roots, reads_mounts=bool(reads_mounts))
    if isinstance(order, Begin):
        _copy(order, desk)
    elif order is not None and answers is not None:
        _survey(answers, order, desk)
    elif role == "report":
        desk.frames.send(confined)


if __name__ == "__main__":
    main()
