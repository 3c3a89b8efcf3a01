"""What the volumes of a medium claim -> whether the medium is shorter than that, though all of it was read."""

from __future__ import annotations

from collections.abc import Sequence

from ntt.model import Volume

SHORT = "the drive may report a short capacity"
SHORT_STEP = "image the medium in another drive or reader and compare the sizes"
_SPEAKERS = {"iso9660": "volume descriptor", "udf": "volume descriptor"}


def medium_short(volumes: Sequence[Volume], medium_bytes: int) -> str:
    """A sentence if any volume claims more than `medium_bytes`, the larger of image and map; else empty.

    What lies behind the end of the image and in the map is missing from the image only: the map tells of it.
    """
    claims = [(_end(volume), _speaker(volume)) for volume in volumes if not volume.sector_bytes]
    end_bytes, speaker = max(claims, default=(0, ""))
    return shortness(speaker, end_bytes, medium_bytes)


def shortness(speaker: str, end_bytes: int, medium_bytes: int) -> str:
    """The sentence, with `SHORT` in it; empty if the medium is long enough."""
    missing = end_bytes - medium_bytes
    if missing <= 0:
        return ""
    return (
        f"the {speaker} says that the medium has at least {end_bytes:,} bytes, the image has {medium_bytes:,}: "
        f"{missing:,} bytes are missing; {SHORT}"
    )


def _end(volume: Volume) -> int:
    return volume.offset_bytes + volume.size_bytes


def _speaker(volume: Volume) -> str:
    if volume.scheme in ("mbr", "gpt", "apm", "hybrid"):
        return "partition table" if volume.scheme != "hybrid" else "partition table or volume descriptor"
    return _SPEAKERS.get(volume.fstype, "file system")
