"""Volume descriptors of an ISO 9660 session -> what the disc says of itself (ECMA-119, 8.4; El Torito 1.0)."""

from __future__ import annotations

from collections.abc import Iterator

from ntt.model import VolumeFacts
from ntt.names import printable
from ntt.readers.base import ImageSource
from ntt.readers.iso.records import OWN_IDENTIFIER, digits_time
from ntt.readers.iso.volume import IsoVolume, descriptors

_IDENTIFIERS = (
    ("system", 8, 40),
    ("volume set", 190, 318),
    ("publisher", 318, 446),
    ("data preparer", 446, 574),
    ("application", 574, 702),
)
_BOTH_ENDIAN = (  # where the number stands in both byte orders, and its width
    ("size of the volume", 80, 4),
    ("number of discs in the set", 120, 2),
    ("number of the disc", 124, 2),
    ("size of a block", 128, 2),
    ("size of the path table", 132, 4),
)


def iso_facts(source: ImageSource, volume: IsoVolume) -> VolumeFacts:
    """OSError if the image cannot be read."""
    primary = b""
    oddities = [f"names: {volume.names}"]
    for descriptor in descriptors(source, volume.geometry.offset_bytes + volume.session_bytes):
        if descriptor[0] == 1 and not primary:
            primary = descriptor
        elif descriptor[0] == 0 and descriptor[7:30] == b"EL TORITO SPECIFICATION":
            block = int.from_bytes(descriptor[71:75], "little")
            oddities.append(f"it can be booted from: an El Torito boot catalog is at block {block}")
    oddities.extend(_said(primary))
    oddities.extend(_contradictions(source, volume, primary))
    created, modified = (digits_time(primary[at : at + 17])[0] or None for at in (813, 830))
    return VolumeFacts(
        "iso9660",
        volume.label,
        created_s=created,
        modified_s=modified,
        block_bytes=volume.geometry.block_bytes,
        size_bytes=volume.size_bytes,
        oddities=tuple(oddities),
    )


def _said(primary: bytes) -> Iterator[str]:
    for what, start, end in _IDENTIFIERS:
        text = _text(primary[start:end])
        if text:
            yield f"{what}: {text}"
    discs, number = (int.from_bytes(primary[at : at + 2], "little") for at in (120, 124))
    if discs > 1:
        yield f"disc {number} of a set of {discs}"


def _text(stored: bytes) -> str:
    stored = stored.partition(b"\0")[0].strip()
    try:
        return printable(stored.decode())
    except UnicodeDecodeError:
        return printable(stored.decode("latin-1"))


def _contradictions(source: ImageSource, volume: IsoVolume, primary: bytes) -> Iterator[str]:
    for what, at, width in _BOTH_ENDIAN:
        little = int.from_bytes(primary[at : at + width], "little")
        big = int.from_bytes(primary[at + width : at + 2 * width], "big")
        if little != big:
            yield f"its descriptor gives the {what} twice, as {little} and as {big}"
    root = int.from_bytes(primary[158:162], "little")
    for order, at in (("little", 140), ("big", 148)):
        table = int.from_bytes(primary[at : at + 4], "little" if order == "little" else "big")
        start = volume.geometry.offset_bytes + table * volume.geometry.block_bytes
        record = source.read(start, 10) if table else b""
        if not any(record):  # not there, or not read
            continue
        listed = int.from_bytes(record[2:6], "little" if order == "little" else "big")
        if record[0] != 1 or record[8:9] != OWN_IDENTIFIER or listed != root:
            yield f"its {order}-endian path table does not begin with the root directory"
