"""Sector 16 and on -> what file systems a disc holds side by side: ISO 9660, UDF, and Apple's."""

from __future__ import annotations

from ntt.model import Route
from ntt.readers.detection.samples import Recognised, Sample
from ntt.readers.iso.lost_descriptor import is_unread, searched_root
from ntt.readers.iso.records import Geometry
from ntt.readers.udf.probe import udf_size

SECTOR_BYTES = 2048
FIRST_DESCRIPTOR = 16
LARGE_BLOCKS = (16 + number * stride for stride in (2, 4, 8, 16) for number in range(16))
UDF_SECTORS = sorted({*range(16, 48), *LARGE_BLOCKS})


def optical(sample: Sample) -> Recognised | None:
    """ECMA-119 and ECMA-167: descriptors in 2048-byte sectors from sector 16 on, the name in bytes 1..5.

    A disc with both is named ISO 9660; `udf_side` then tells of the other. Where all descriptors are on unread
    sectors, the root directory tells.
    """
    names = [_identifier(sample, sector) for sector in range(FIRST_DESCRIPTOR, 32)]
    if b"CD001" in names:
        return Recognised("iso9660", Route.ISO9660, iso_size(sample))
    if sample.at((FIRST_DESCRIPTOR * SECTOR_BYTES) + 9, 5) == b"CDROM":
        return Recognised("iso9660", Route.ISO9660, 0, remarks=("a High Sierra disc, the forerunner of ISO 9660",))
    return udf_side(sample) or _by_root(sample)


def _by_root(sample: Sample) -> Recognised | None:
    start = sample.offset_bytes
    if sample.size_bytes <= FIRST_DESCRIPTOR * SECTOR_BYTES:
        return None
    if not is_unread(sample.source, start + FIRST_DESCRIPTOR * SECTOR_BYTES):
        return None
    root = searched_root(sample.source, Geometry(start, SECTOR_BYTES, sample.size_bytes), 0)
    return Recognised("iso9660", Route.ISO9660, 0) if root is not None else None


def udf_side(sample: Sample) -> Recognised | None:
    """A UDF file system, by its volume recognition sequence (ECMA-167, part 2, section 9)."""
    names = {_identifier(sample, sector) for sector in UDF_SECTORS}
    if not names & {b"NSR02", b"NSR03"}:
        return None
    return Recognised("udf", Route.UDF, udf_size(sample.source, sample.offset_bytes, sample.size_bytes) or 0)


def _identifier(sample: Sample, sector: int) -> bytes:
    return sample.at(sector * SECTOR_BYTES + 1, 5)


def iso_size(sample: Sample, session_bytes: int = 0) -> int:
    """Volume space size times logical block size of the first primary descriptor, 0 if there is none.

    A supplementary one says the same where the primary one was not read.
    """
    block = primary_descriptor(sample, session_bytes) or _descriptor(sample, session_bytes, b"\x02CD001")
    return int.from_bytes(block[80:84], "little") * int.from_bytes(block[128:130], "little")


def primary_descriptor(sample: Sample, session_bytes: int = 0) -> bytes:
    """The first primary volume descriptor of a session (ECMA-119, 8.4), empty if there is none."""
    return _descriptor(sample, session_bytes, b"\x01CD001")


def _descriptor(sample: Sample, session_bytes: int, mark: bytes) -> bytes:
    for sector in range(FIRST_DESCRIPTOR, 32):
        block = sample.at(session_bytes + sector * SECTOR_BYTES, SECTOR_BYTES)
        if block[:6] == mark:
            return block
    return b""
