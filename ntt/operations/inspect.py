"""An accepted image -> what it is, volume by volume: looked at by a fenced worker, without a catalogue or a home."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import anyio
import msgspec

from ntt.errors import MediumError
from ntt.fence import Worker, WorkerDied, worker
from ntt.model import AcceptedImage, Health, Layout, Volume, VolumeFacts, VolumeStatus, health_of
from ntt.mounts.machine import Machine, ask_machine
from ntt.mounts.plan import MountLimits, plan, programs
from ntt.names import storable
from ntt.ranges import normalised, total
from ntt.readers.inspecting import FromInspection, Inspected, VolumeInspected
from ntt.readers.messages import LayoutFound, Survey
from ntt.routes import order

ROLE = "inspect"
BEYOND = 2**63 - 1  # what lies behind the end of the image was not read either


class MountOffer(msgspec.Struct, frozen=True):
    """How this machine could mount a volume, best first, how it could not and why, and what would help."""

    possible: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


class InspectedVolume(msgspec.Struct, frozen=True):
    """A volume, flat, as `ntt inspect --json` prints it; names and units are those of `ntt.model.Volume`.

    `facts` is None where no reader opened it, `mounts` where none need be thought of.
    """

    index: int
    scheme: str
    offset_bytes: int
    size_bytes: int
    fstype: str
    route: str
    label: str
    status: str
    finding: str
    next_step: str
    tried: tuple[str, ...]
    session_bytes: int
    sector_bytes: int
    data_at: int
    facts: VolumeFacts | None
    mounts: MountOffer | None


class Inspection(msgspec.Struct, frozen=True):
    """`claimed_bytes`: the medium's size, which the image may fall short of; `unread_bytes` counts up to it.

    `ended_early` is empty, or says why not every volume could be looked at.
    """

    image: str
    image_bytes: int
    claimed_bytes: int
    unread_bytes: int
    health: Health
    cue_sheet: bool
    scheme: str
    remarks: tuple[str, ...]
    volumes: tuple[InspectedVolume, ...]
    ended_early: str = ""

    @property
    def is_known(self) -> bool:
        """Could it be said of every volume what it is, and can all of it be read?"""
        return not any(volume.finding or volume.status == VolumeStatus.FINDING for volume in self.volumes)


class _Look:
    """What the worker has answered so far."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.facts: dict[int, VolumeFacts] = {}
        self.stalled = False
        self.ended_early = ""


async def inspect(image: AcceptedImage, memory_bytes: int, stall_s: float) -> Inspection:
    """Writes nothing. A worker that dies leaves what it had said; MediumError if that is nothing.

    The worker takes at most `memory_bytes` of address space; `stall_s` without a sign of life ends it.
    """
    image_bytes = os.fstat(image.fd).st_size
    unread = normalised((*image.unread, (image_bytes, BEYOND)))
    look = _Look()
    decoder: msgspec.msgpack.Decoder[FromInspection] = msgspec.msgpack.Decoder(FromInspection)
    async with worker(ROLE, image.fd, memory_bytes, decoder) as looker:
        try:
            async with anyio.create_task_group() as guards:
                guards.start_soon(_watch, looker, look, stall_s)
                await looker.send(Survey(unread, image.claimed_bytes, image.cue, storable(image.path.name)))
                await _listen(looker, look)
                guards.cancel_scope.cancel()
        except* WorkerDied as died:
            cause = f"no progress for {stall_s:.0f} s" if look.stalled else str(died.exceptions[0])
            at = looker.pulse.read()[0]
            look.ended_early = f"looking at volume {at} failed: {cause}" if at else f"looking at it failed: {cause}"
    if look.layout is None:
        raise MediumError(f"{image.name}: {look.ended_early}", "nothing was changed; look at it with `file -s`")
    return _report(image, image_bytes, look, look.layout, await _offers(look.layout, image_bytes))


async def _listen(looker: Worker[FromInspection], look: _Look) -> None:
    while True:
        match await looker.receive():
            case LayoutFound(layout=layout):
                look.layout = layout
            case VolumeInspected(volume=volume, facts=facts):
                look.facts[volume] = facts
            case Inspected():
                return


async def _watch(looker: Worker[FromInspection], look: _Look, stall_s: float) -> None:
    seen, since = looker.pulse.read(), time.monotonic()
    while time.monotonic() - since < stall_s:
        await anyio.sleep(min(1.0, stall_s / 4))
        if (now := looker.pulse.read()) != seen:
            seen, since = now, time.monotonic()
    look.stalled = True
    looker.kill()


async def _offers(layout: Layout, image_bytes: int) -> dict[int, MountOffer]:
    """By volume; the machine is only asked where a volume has routes besides the readers."""
    machine: Machine | None = None
    found: dict[int, MountOffer] = {}
    for volume in layout.volumes:
        if volume.status is not VolumeStatus.FINDING and not volume.route.is_mount:
            continue
        routes = [route for route in order(volume.fstype) if route.is_mount]
        if not routes:
            continue
        if machine is None:
            machine = await ask_machine(programs())
        made = plan(volume, routes, machine, image_bytes, MountLimits())
        possible = tuple(dict.fromkeys(f"{attempt.route} {attempt.name}" for attempt in made.attempts))
        found[volume.index] = MountOffer(possible, made.impossible, made.steps)
    return found


def _report(
    image: AcceptedImage, image_bytes: int, look: _Look, layout: Layout, offers: Mapping[int, MountOffer]
) -> Inspection:
    claimed = max(image.claimed_bytes, image_bytes)
    unread = total(normalised((*image.unread, (image_bytes, claimed))))
    volumes = (_volume(one, look.facts.get(one.index), offers.get(one.index)) for one in layout.volumes)
    return Inspection(
        storable(str(image.path)),
        image_bytes,
        claimed,
        unread,
        health_of(claimed - unread, claimed),
        bool(image.cue),
        layout.scheme,
        layout.remarks,
        tuple(volumes),
        look.ended_early,
    )


def _volume(volume: Volume, facts: VolumeFacts | None, offer: MountOffer | None) -> InspectedVolume:
    return InspectedVolume(
        volume.index,
        volume.scheme,
        volume.offset_bytes,
        volume.size_bytes,
        volume.fstype,
        volume.route,
        volume.label,
        volume.status,
        volume.finding,
        volume.next_step,
        volume.tried,
        volume.session_bytes,
        volume.sector_bytes,
        volume.data_at,
        facts,
        offer,
    )
