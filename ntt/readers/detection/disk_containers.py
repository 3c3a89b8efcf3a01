"""First or last bytes -> a disk image in a wrapping of its own, and the command that unwraps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ntt.model import Route
from ntt.readers.detection.samples import Recognised, Sample

QEMU = "convert it to a raw image first: `qemu-img convert -O raw IN OUT.img`, and ingest that"


class Container(NamedTuple):
    """`position` counts from the start, or from the end where it is negative."""

    fstype: str
    position: int
    value: bytes
    name: str
    next_step: str


CONTAINERS: tuple[Container, ...] = (
    Container("qcow2", 0, b"QFI\xfb", "a QEMU disk (qcow)", QEMU),
    Container("qed", 0, b"QED\0", "a QEMU disk (QED)", QEMU),
    Container("vmdk", 0, b"KDMV", "a VMware disk (vmdk)", QEMU),
    Container("vmdk", 0, b"COWD", "a VMware disk (vmdk)", QEMU),
    Container("vmdk", 0, b"# Disk DescriptorFile", "the description of a VMware disk (vmdk)", QEMU),
    Container("vhdx", 0, b"vhdxfile", "a Hyper-V disk (vhdx)", QEMU),
    Container("vhd", 0, b"conectix", "a Virtual PC or Hyper-V disk (vhd) that grows with its content", QEMU),
    Container("vdi", 64, b"\x7f\x10\xda\xbe", "a VirtualBox disk (vdi)", QEMU),
    Container("parallels", 0, b"WithoutFreeSpace", "a Parallels disk", QEMU),
    Container("parallels", 0, b"WithouFreSpacExt", "a Parallels disk", QEMU),
    Container(
        "ewf", 0, b"EVF\x09\x0d\x0a\xff\0", "an EnCase (EWF) image", "`ewfexport -f raw` makes a raw image of it"
    ),
    Container(
        "ewf", 0, b"EVF2\x0d\x0a\x81\0", "an EnCase 7 (Ex01) image", "`ewfexport -f raw` makes a raw image of it"
    ),
    Container(
        "ewf", 0, b"LVF\x09\x0d\x0a\xff\0", "files in an EnCase (L01) container", "`ewfexport -f files` unpacks it"
    ),
    Container("aff", 0, b"AFF10\x0d\x0a\0", "an AFF image", "`affconvert -r` makes a raw image of it"),
    Container(
        "dmg", -512, b"koly\0\0\0\x04", "an Apple disk image (dmg)", "`dmg2img IN OUT.img` makes a raw image of it"
    ),
    Container("sparseimage", 0, b"sprs\0", "an Apple sparse image", "`hdiutil convert -format UDTO` on a Mac"),
    Container("cso", 0, b"CISO", "a compressed ISO image (cso)", "`maxcso --decompress` makes an ISO image of it"),
    Container("zso", 0, b"ZISO", "a compressed ISO image (zso)", "`maxcso --decompress` makes an ISO image of it"),
    Container("nrg", -12, b"NER5", "a Nero image (nrg)", "`nrg2iso IN OUT.iso` makes an ISO image of it"),
    Container("nrg", -8, b"NERO", "a Nero image (nrg)", "`nrg2iso IN OUT.iso` makes an ISO image of it"),
    Container(
        "mds", 0, b"MEDIA DESCRIPTOR", "the description of an Alcohol 120% image", "ingest the .mdf file beside it"
    ),
    Container("ccd", 0, b"[CloneCD]", "the description of a CloneCD image", "ingest the .img file beside it"),
    Container("chd", 0, b"MComprHD", "a MAME disk (chd)", "`chdman extractcd` or `chdman extracthd` unpacks it"),
    Container("daa", 0, b"DAA\0", "a PowerISO image (daa)", "`daa2iso IN OUT.iso` makes an ISO image of it"),
    Container("isz", 0, b"IsZ!", "a compressed ISO image (isz)", "convert it to an ISO image with UltraISO"),
    Container("ecm", 0, b"ECM\0", "a CD image without its checksums (ecm)", "`ecm-uncompress` makes a .bin of it"),
    Container("partclone", 0, b"partclone-image", "a Partclone copy", "`partclone.restore -C -O OUT.img` unpacks it"),
    Container("wim", 0, b"MSWIM\0\0\0", "a Windows image (wim)", "`wimapply` unpacks it; ingest the folder as a tar"),
    Container("android_sparse", 0, b"\x3a\xff\x26\xed", "an Android sparse image", "`simg2img IN OUT.img` unpacks it"),
    Container("virtual_floppy", 0, b"IMD 1.", "a floppy in ImageDisk form", "convert it to a raw image (`dskconv`)"),
)
TRAILERS = tuple(container for container in CONTAINERS if container.position < 0)
VHD_FOOTER_BYTES = 512


def container(sample: Sample) -> Recognised | None:
    """A wrapping that says so in front. A dynamic VHD has its footer in front, too."""
    return _named(sample, (known for known in CONTAINERS if known.position >= 0))


def container_by_trailer(sample: Sample) -> Recognised | None:
    """A wrapping that says so at its end; what stands in front may be raw sectors, so they are asked before."""
    return _named(sample, TRAILERS)


def _named(sample: Sample, candidates: Iterable[Container]) -> Recognised | None:
    for known in candidates:
        if sample.at(_place(known, sample), len(known.value)) == known.value:
            found = f"this is {known.name}, not a raw image"
            return Recognised(known.fstype, Route.NONE, 0, found, known.next_step)
    return None


def _place(known: Container, sample: Sample) -> int:
    return known.position if known.position >= 0 else sample.size_bytes + known.position


def trailer_remark(sample: Sample) -> str:
    """A sentence for an image that is read as it is, though something else stands behind it."""
    if sample.tail(VHD_FOOTER_BYTES)[:8] == b"conectix":
        return "a Virtual PC or Hyper-V disk (vhd) of fixed size: its last 512 bytes are not the disk's"
    for known in TRAILERS:
        if sample.at(_place(known, sample), len(known.value)) == known.value:
            return f"{known.name}: read as the raw sectors that it begins with"
    return ""
