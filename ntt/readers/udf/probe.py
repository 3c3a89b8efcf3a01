"""The anchors of a volume -> whether it is UDF, and how many bytes it says that it has."""

from __future__ import annotations

from ntt.readers.base import ImageSource, ReadError
from ntt.readers.udf.descriptors import find_descriptors
from ntt.readers.udf.partitions import UdfImage
from ntt.readers.udf.volume import VIRTUAL, partition_maps, plain_partition

_AREA_AT = 32 << 10  # ECMA-167, 2/8.3
_STRIDES = (2048, 4096, 8192, 16384, 32768)  # a structure begins a sector, but takes at least 2048 bytes
_MOST_STRUCTURES = 16
_NAMES = (b"NSR02", b"NSR03")


def is_recognised(source: ImageSource, offset_bytes: int) -> bool:
    """Does the volume recognition sequence name UDF (ECMA-167, 2/9)? Reads at most half a MiB."""
    area = source.read(offset_bytes + _AREA_AT, _MOST_STRUCTURES * max(_STRIDES))
    return any(
        area[at + 1 : at + 6] in _NAMES for stride in _STRIDES for at in range(0, _MOST_STRUCTURES * stride, stride)
    )


def udf_size(source: ImageSource, offset_bytes: int, size_bytes: int) -> int | None:
    """None if no logical volume of UDF is described in `[offset, offset+size)`; a few small reads where it is not.

    Else the bytes from `offset_bytes` to the end of its last partition. A write-once disc says only how much could
    be written: for it, what the image holds. `size_bytes` 0: up to the end of the image. Anchors are enough; where
    they are lost, the descriptors are searched for if the recognition sequence is there.
    """
    image = UdfImage(source, offset_bytes, size_bytes)
    try:
        found = find_descriptors(image, search=is_recognised(source, offset_bytes))
    except (ReadError, OSError):
        return None
    for descriptors in found:
        try:
            maps = partition_maps(descriptors.logical)
            ends = [plain_partition(image, descriptors, one.number).claimed_end for one in maps]
        except ReadError:
            continue
        if any(one.kind == VIRTUAL for one in maps):
            return max(image.readable_end - image.start, 0)
        return max(ends) - image.start
    return None
