"""A file system -> how the kernel, FUSE drivers and 7z are told to read it: read-only, no journal replayed.

Linux: Documentation/filesystems/ and `mount(8)`; the manuals of the programs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ntt.model import TreeKind

_FAT = ("fat12", "fat16", "fat32")
_KNOWN = TreeKind(extents_known=True, numbers_kept=True, owners_kept=True)
_KEPT = TreeKind(numbers_kept=True, owners_kept=True)
_OWNERS = TreeKind(owners_kept=True)
_NOTHING = TreeKind()
# FAT and its like keep no owners and modes; the same ones as the readers give
_NO_OWNERS = "uid=0,gid=0,dmask=0022,fmask=0133"
_NO_STREAMS = "alternate data streams are not listed by this route"
_DIRTY_LOG = "its log holds changes that were not replayed: what was written last may be missing or incomplete"
_NO_COMPRESSED = "files that macOS compressed are shown as empty by this route"
_NO_FORKS = "resource forks are not listed by this route"


@dataclass(frozen=True, slots=True)
class KernelType:
    """A type of mount(2) with its options. `errors=` is given wherever it is known: the medium might say panic."""

    name: str
    options: str = ""
    kind: TreeKind = _KEPT
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Driver:
    """A FUSE driver. In `argv` an element `{source}` or `{target}` stands for a path, `{options}` for `-o` options.

    `programs`: its names. `offset_option`: how it is told where a volume begins, empty when it cannot be.
    `needs_all`: it shows files cut short, in silence, where the image ends before the volume does.
    """

    programs: tuple[str, ...]
    package: str
    fstypes: frozenset[str]
    argv: tuple[str, ...] = ("-o", "{options}", "{source}", "{target}")
    options: str = ""
    offset_option: str = ""
    kind: TreeKind = _NOTHING
    remarks: tuple[str, ...] = ()
    needs_all: bool = False


_ISO = KernelType("iso9660", "iocharset=utf8,unhide", _KEPT)
_UDF = KernelType("udf", "iocharset=utf8,unhide", _KEPT)
_EXT4 = KernelType("ext4", "noload,errors=continue", _KNOWN)

KERNEL: dict[str, tuple[KernelType, ...]] = {
    "ext2": (KernelType("ext2", "errors=continue", _KNOWN), _EXT4),
    "ext3": (KernelType("ext3", "noload,errors=continue", _KNOWN), _EXT4),
    "ext4": (_EXT4,),
    # a read-only device cannot have its log replayed either: with a clean one the first succeeds, and says so
    "xfs": (KernelType("xfs", "nouuid", _KNOWN), KernelType("xfs", "norecovery,nouuid", _KNOWN, (_DIRTY_LOG,))),
    "btrfs": (
        KernelType("btrfs", "rescue=nologreplay"),
        KernelType("btrfs", "rescue=usebackuproot:nologreplay"),
        KernelType("btrfs", "nologreplay"),
    ),
    "squashfs": (KernelType("squashfs"),),
    "erofs": (KernelType("erofs", "", _KNOWN),),
    "cramfs": (KernelType("cramfs", "", _OWNERS),),
    "romfs": (KernelType("romfs"),),
    "iso9660": (_ISO, _UDF),
    "udf": (_UDF, _ISO),
    "ntfs": (
        KernelType("ntfs3", f"iocharset=utf8,{_NO_OWNERS}", _KEPT, (_NO_STREAMS,)),
        KernelType("ntfs", f"nls=utf8,{_NO_OWNERS}", _KEPT, (_NO_STREAMS,)),
    ),
    **{
        fat: (KernelType("vfat", f"utf8,tz=UTC,errors=continue,shortname=mixed,{_NO_OWNERS}", _NOTHING),)
        for fat in _FAT
    },
    "exfat": (KernelType("exfat", f"iocharset=utf8,errors=continue,{_NO_OWNERS}", _NOTHING),),
    "hfs": (
        KernelType("hfs", "codepage=macroman,iocharset=utf8", _KEPT, (_NO_FORKS,)),
        KernelType("hfs", "", _KEPT, (_NO_FORKS,)),
    ),
    "hfsplus": (KernelType("hfsplus", "nls=utf8,nodecompose", _KEPT, (_NO_FORKS, _NO_COMPRESSED)),),
    "ufs": tuple(KernelType("ufs", f"ufstype={kind}") for kind in ("ufs2", "44bsd", "sun", "sunx86", "old")),
    "f2fs": (KernelType("f2fs", "norecovery"), KernelType("f2fs", "disable_roll_forward")),
    "jfs": (KernelType("jfs", "iocharset=utf8,errors=continue"),),
    "reiserfs": (KernelType("reiserfs"),),
    "nilfs2": (KernelType("nilfs2", "norecovery,errors=continue"),),
    "minix": (KernelType("minix"),),
    "amiga": (KernelType("affs"),),
}

# measured (docs/filesystems.md): some it does not know; of HFS+ it shows other contents, of f2fs not all names, and the
# short names of FAT in lower case
_NOT_BY_GRUB = ("erofs", "cramfs", "ntfs", "hfs", "hfsplus", "f2fs", *_FAT)
DRIVERS: tuple[Driver, ...] = (
    Driver(
        ("ntfs-3g",),
        "ntfs-3g",
        frozenset(("ntfs",)),
        options="streams_interface=none,dmask=0022,fmask=0133",
        kind=_KEPT,
        remarks=(_NO_STREAMS,),
    ),
    Driver(
        ("fuse2fs",),
        "fuse2fs",
        frozenset(("ext2", "ext3", "ext4")),
        options="norecovery,no_default_opts,use_ino,fakeroot",  # the reader is another user
        offset_option="offset={offset}",
        kind=_KEPT,
    ),
    Driver(("squashfuse",), "squashfuse", frozenset(("squashfs",)), offset_option="offset={offset}", kind=_OWNERS),
    Driver(("erofsfuse",), "erofsfuse", frozenset(("erofs",)), kind=_OWNERS),
    Driver(("mount.exfat-fuse", "mount.exfat"), "exfat-fuse", frozenset(("exfat",))),
    Driver(
        ("grub-mount",),
        "grub-common",
        frozenset(KERNEL).difference(_NOT_BY_GRUB),
        # it takes no options of its own; what begins with a dash behind the paths goes to FUSE
        argv=("--", "{source}", "{target}", "-o{options}"),
        kind=TreeKind(links_followed=True),
        remarks=(
            "grub-mount keeps no owners, modes and links: links are shown as what they point to, or not at all; "
            "of an ISO 9660 volume without Rock Ridge names are in lower case",
        ),
    ),
    Driver(
        ("fuseiso",),
        "fuseiso",
        frozenset(("iso9660",)),
        argv=("-n", "{source}", "{target}", "-o", "{options}"),
        kind=_OWNERS,
        remarks=("fuseiso cuts files of 4 GiB and more short",),
        needs_all=True,
    ),
)

SEVENZIP_NAMES = ("7zz", "7z", "7za")
SEVENZIP_PACKAGE = "7zip"
SEVENZIP_TYPES = {"udf": "-tudf", "squashfs": "-tsquashfs", "cramfs": "-tcramfs", "archive": ""}
