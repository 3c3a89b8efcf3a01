"""Label of a physical volume -> the volume group and the logical volumes that it belongs to, by name."""

from __future__ import annotations

import re
import struct

from ntt.model import Route
from ntt.readers.detection.samples import Recognised, Sample

MDA_MAGIC = b" LVM2 x[5A%r0N*>"
TEXT_LIMIT = 1 << 20
NAMES_SHOWN = 8
ACTIVATE = "activate the volume group read-only on a copy (`vgchange -ay --readonly`), ingest each logical volume"


def lvm_member(sample: Sample) -> Recognised | None:
    """LVM2: a label in one of the first four sectors (lvm2, lib/format_text/layout.h). LVM1: "HM" at byte 0."""
    for sector in range(4):
        label = sample.at(512 * sector, 512)
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            (device_bytes,) = struct.unpack_from("<Q", label, 64)
            what = _contents(_metadata(sample, label))
            finding = f"a physical volume of LVM2{what}: its logical volumes are not read here"
            return Recognised("lvm2_member", Route.NONE, int(device_bytes), finding, ACTIVATE)
    if sample.at(0, 4) in (b"HM\x01\0", b"HM\x02\0"):
        finding = "a physical volume of LVM1: its logical volumes are not read here"
        return Recognised("lvm1_member", Route.NONE, 0, finding, f"{ACTIVATE}; LVM 2.02 was the last to know this form")
    return None


def _metadata(sample: Sample, label: bytes) -> str:
    """The newest text of the first metadata area; empty if there is none or it is damaged."""
    places = [struct.unpack_from("<QQ", label, at) for at in range(72, 496, 16)]
    end = places.index((0, 0)) if (0, 0) in places else len(places)
    for position, size in places[end + 1 :]:
        if not position:
            return ""
        header = sample.at(position, 512)
        if header[4:20] != MDA_MAGIC:
            continue
        at, length = struct.unpack_from("<QQ", header, 40)
        if not 0 < length <= TEXT_LIMIT or at >= size:
            continue
        first = min(length, size - at)  # the area is a ring behind its header
        text = sample.at(position + at, first) + (sample.at(position + 512, length - first) if length > first else b"")
        return text.decode("utf-8", "replace")
    return ""


def _contents(text: str) -> str:
    group = re.match(r"\s*([A-Za-z0-9+_.-]{1,127}) \{", text)
    if group is None:
        return ""
    found = f" of the group “{group[1]}”"
    _, _, volumes = text.partition("\nlogical_volumes {")
    names = re.findall(r"\n([A-Za-z0-9+_.-]{1,127}) \{\nid = ", volumes)
    if names:
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        found += f" (logical volumes {', '.join(names[:NAMES_SHOWN])}{more})"
    return found
