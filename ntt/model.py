"""The words that travel between modules: what a medium, a volume, an entry and an outcome are."""

from __future__ import annotations

import enum
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ntt.names import printable
from ntt.ranges import Ranges


class Stage(enum.StrEnum):
    """The stages of a medium's path, in order."""

    IMAGE = "image"
    IDENTIFY = "identify"
    ENUMERATE = "enumerate"
    COPY = "copy"
    ARCHIVE = "archive"
    EJECT = "eject"


class Health(enum.StrEnum):
    """How much of a medium could be read; always derived from the map, never stored ahead of it."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    CORRUPT = "corrupt"
    FAILED = "failed"


def health_of(read_bytes: int, claimed_bytes: int) -> Health:
    """Every byte read is ok; at least 95 % incomplete; at least 50 % corrupt; below that failed."""
    if read_bytes >= claimed_bytes:
        return Health.OK
    if read_bytes * 100 >= claimed_bytes * 95:
        return Health.INCOMPLETE
    if read_bytes * 100 >= claimed_bytes * 50:
        return Health.CORRUPT
    return Health.FAILED


class VolumeStatus(enum.StrEnum):
    """`read`: its file system is listed. `finding`: it is not, and `Volume.finding` says why."""

    READ = "read"
    FINDING = "finding"


class Route(enum.StrEnum):
    """By which way the files of a volume are reached: readers first, then mounts, then unpacking."""

    TSK = "tsk"
    ISO9660 = "iso9660"
    HFS = "hfs"
    UDF = "udf"
    ARCHIVE = "archive"
    KERNEL = "kernel"
    FUSE = "fuse"
    SEVENZIP = "7z"
    NONE = "none"

    @property
    def is_reader(self) -> bool:
        """It reads the image itself: no root, no mount, and it knows where files lie."""
        return self in _READERS

    @property
    def is_mount(self) -> bool:
        """The files are reached by path below a folder, which the mount helper provides."""
        return self in _MOUNTS


_READERS = frozenset((Route.TSK, Route.ISO9660, Route.HFS, Route.UDF, Route.ARCHIVE))
_MOUNTS = frozenset((Route.KERNEL, Route.FUSE, Route.SEVENZIP))


class Volume(msgspec.Struct, frozen=True):
    """One partition, session or whole-medium file system. Offsets and sizes are bytes in the image.

    `size_bytes` is what the partition table or the superblock claims, which may reach beyond the end
    of a truncated image. `finding` and `next_step` are sentences for people; empty when all is well.
    `status` says nothing about single files: those have outcomes of their own.
    `session_bytes`: where an ISO session begins, counted from `offset_bytes`, from which its blocks count too.
    `sector_bytes` other than 0: the image holds raw sectors of that size (2352, 2448) with 2048 bytes of user
    data at `data_at`; `offset_bytes` is then where the raw sector with block number 0 lies, and may be negative.
    `tried`: the routes that were tried before the one that reads it, or all of them, each with its reason.
    """

    index: int
    scheme: str  # "none", "mbr", "gpt", "apm", "sessions", "hybrid", "cue" or "archive"
    offset_bytes: int
    size_bytes: int
    fstype: str  # "ext4", "fat32", "iso9660", ...; "unknown" when nothing was recognised
    route: Route
    status: VolumeStatus
    label: str = ""
    finding: str = ""
    next_step: str = ""
    session_bytes: int = 0
    sector_bytes: int = 0
    data_at: int = 0
    tried: tuple[str, ...] = ()


class TreeKind(msgspec.Struct, frozen=True):
    """What can be relied on below a mount.

    `extents_known`: FIEMAP answers with places in the volume. `numbers_kept`: inode numbers are those of the
    medium, the same in every mount. `owners_kept`: so are users and groups; elsewhere they are given as 0.
    `links_followed`: the driver shows links as what they point to.
    """

    extents_known: bool = False
    numbers_kept: bool = False
    owners_kept: bool = False
    links_followed: bool = False


class MountedRoot(msgspec.Struct, frozen=True):
    """The root directory of a mounted volume as an open descriptor, which worker processes inherit."""

    fd: int
    kind: TreeKind = TreeKind()


class VolumeFacts(msgspec.Struct, frozen=True):
    """What a file system says of itself. Sizes are bytes, times seconds from 1970 UTC; None: it does not say.

    `entries`: how many files, folders and links it counts or implies to be in use, without its own hidden ones;
    a listing that falls far short of it is suspect. `state` is "clean", "dirty" or empty where not kept.
    `journal_pending`: a journal holds changes that no reader here replays. `oddities` are sentences for people.
    """

    fstype: str
    label: str = ""
    serial: str = ""  # UUID or volume serial number, as its own tools print it
    created_s: int | None = None
    modified_s: int | None = None
    block_bytes: int | None = None
    size_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    entries: int | None = None
    state: str = ""
    journal_pending: bool = False
    oddities: tuple[str, ...] = ()


class Layout(msgspec.Struct, frozen=True):
    """What is on an image: its volumes in the order of the table, and remarks about the table itself.

    `lost_tables`: where in the image more of a partition table would stand, had it been read: volumes may be missing.
    """

    scheme: str
    volumes: tuple[Volume, ...]
    remarks: tuple[str, ...] = ()
    lost_tables: Ranges = ()


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One directory entry together with the inode that it names.

    `ino` is the file system's own number, stable between runs. `parent_ino` is the directory that
    holds the entry; the root has an empty name and is its own parent. `mode` carries the type bits
    (`stat.S_IFMT`). `mtime_s` counts from 1970 UTC and may be negative; `mtime_ns` is 0..999,999,999.
    `link_target` is a symbolic link's target, or `b"major:minor"` of a device node, otherwise empty.
    `first_byte` is the image offset of the first content byte, -1 where there is none.
    `new_inode` is False when an earlier entry of this walk had the same inode (a hard link).
    `duplicate` is True when the directory holds this name more than once.
    `attributes` are (name, value) pairs kept beside the content, named as extended attributes are:
    `com.apple.FinderInfo` (32 bytes, type and creator first), `dos.attributes` (decimal), ...
    A further stream of a file (NTFS alternate data stream, HFS resource fork) is an entry of its own beside
    it, named `FILE:STREAM`, with an `ino` of its own that no other entry has.
    """

    ino: int
    parent_ino: int
    name: bytes
    mode: int
    size: int
    mtime_s: int
    mtime_ns: int
    uid: int
    gid: int
    link_target: bytes
    first_byte: int
    new_inode: bool
    duplicate: bool
    attributes: tuple[tuple[str, bytes], ...] = ()

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class WalkProblem(msgspec.Struct, frozen=True):
    """Something that a walk met and went on from; `ino` is the directory or file it concerns.

    kinds: `directory_damaged` (its blocks are unread or beyond the end of the image, its listing may be
    incomplete), `directory_unreadable`, `directory_cycle` (not entered again), `duplicate_name`,
    `bad_record`, `name_not_storable`.
    """

    kind: str
    ino: int
    name: bytes
    detail: str


class Extent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a piece of a file lies in the image. All four are bytes.

    With `file_length == image_length` the mapping is linear. Otherwise (a compressed unit) any unread
    byte of the image range damages the whole file range. A hole has `image_offset == -1`. `vague`: the bytes lie
    somewhere in the image range, nobody knows where: whatever of it is unread leaves them in doubt. An `image_length`
    of 0: what was read is proven by a checksum of the file system's own.
    """

    file_offset: int
    file_length: int
    image_offset: int
    image_length: int
    vague: bool = False


class Structure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A piece of the file system itself: the bytes `[start, end)` of the image.

    `what` is for people: "superblock", "inode table", "FAT", "directory", "extent tree", ... `ino` is the directory
    or file that it belongs to, -1 where it is the volume's own. `spare`: nothing is missed as long as it alone is
    unread: a second copy, a journal, a map of free space.
    """

    start: int
    end: int
    what: str
    ino: int = -1
    spare: bool = False


class LostStructure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What of the file system lies on unread bytes; `ranges` are bytes of the image."""

    what: str
    ino: int
    spare: bool
    ranges: Ranges


class Effort(enum.StrEnum):
    """How hard a damaged medium is read. What lies in free space is not read by any of them unless asked.

    `quick`: once over it, nothing is tried twice. `normal`: what matters is tried down to the sector and once more.
    `deep`: that, in both directions and many times.
    """

    QUICK = "quick"
    NORMAL = "normal"
    DEEP = "deep"


class PassEnd(enum.StrEnum):
    """Why a pass over a medium ended; all but the first leave something to be read."""

    FINISHED = "finished"  # all that it was to read was tried
    ENOUGH = "enough"  # as much was read as was asked for
    NO_PROGRESS = "no_progress"  # nothing was read for too long
    HOPELESS = "hopeless"  # at this rate it would not end
    SOURCE_GONE = "source_gone"  # medium, drive or bridge does not answer any more
    NO_SPACE = "no_space"  # the image cannot grow
    STOPPED = "stopped"  # by the operator
    FAILED = "failed"  # ddrescue itself could not go on


class PassRecord(msgspec.Struct, frozen=True):
    """What one run of ddrescue did. `began_s` is seconds from 1970 UTC; the byte counts are of the whole medium.

    `wanted_bytes`: how many unread bytes it was to read. `bad_bytes`: tried and not read, after it. `hardware`:
    model, serial, bridge VID:PID and the like of what the medium was read through: provenance, not identity.
    """

    name: str
    source: str
    began_s: float
    seconds: float
    wanted_bytes: int
    rescued_before: int
    rescued_after: int
    bad_bytes: int
    read_errors: int
    end: PassEnd
    detail: str = ""
    hardware: dict[str, str] = {}


class OutcomeStatus(enum.StrEnum):
    """`copied`: stored whole. `damaged`: stored as read, with its unread ranges. `failed`: not stored.

    A damaged file with a reason is in doubt: its content may be whole, but nothing tells whether it is.
    """

    COPIED = "copied"
    DAMAGED = "damaged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Identity:
    """What `identify` found out. Hashes are lower-case hex; `image_hash` covers the file as it is.

    `sample_hash` is None where the medium has no natural identity, and `why_assigned` then says why.
    `samples` are (position in bytes, 16-byte digest) of every sample that could be read.
    `informative` is False where the content is too little to tell two media of its kind apart.
    """

    image_hash: str
    image_bytes: int
    claimed_bytes: int
    unread: Ranges
    sample_hash: str | None
    samples: tuple[tuple[int, bytes], ...]
    why_assigned: str
    informative: bool

    @property
    def unread_bytes(self) -> int:
        return sum(end - start for start, end in self.unread)

    @property
    def health(self) -> Health:
        return health_of(self.claimed_bytes - self.unread_bytes, self.claimed_bytes)


class FileOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one regular file. `blob_hash` is empty when it failed, and `reason` then is not.

    `is_new`: this copy of the content was stored for it, at `pack_id`/`pack_offset` or (both None) in a
    plain file. `checks` are the diagnostic checks of a failure or damage. `damaged` are ranges of the file, `unread`
    those of the image that they come from.
    """

    volume: int
    ino: int
    status: OutcomeStatus
    attempts: int
    blob_hash: bytes
    size_bytes: int
    is_new: bool
    pack_id: int | None
    pack_offset: int | None
    reason: str
    damaged: Ranges
    error_type: str
    checks: tuple[str, ...]
    worker: str
    unread: Ranges = ()


@dataclass(frozen=True, slots=True)
class DiagnosticEvent:
    """What was looked into while a file was being read, and what was done then, without its being an outcome.

    `action` is one of `remounted`, `continuing`; `message` has at most 100 characters.
    """

    volume: int
    ino: int
    retry_count: int
    checks: tuple[str, ...]
    action: str
    worker: str
    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """Outcomes whose contents are durable, how far that made the pack they went to valid; `events` besides them."""

    outcomes: tuple[FileOutcome, ...]
    pack_id: int | None
    pack_end: int
    events: tuple[DiagnosticEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class PackFull:
    """No more goes into this pack: everything up to `end` was passed on before this."""

    pack_id: int
    end: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a user asked for. `map_path` None: everything in the image counts as read.

    With an `effort`, `image` is a device or a file that may not be wholly readable: it is imaged first; `free_space`
    also where no file lies. `same_as`: the beginning of the hash of the medium that this is another pass over, on the
    word of the user. `passing`: its image is NTT's own affair, and deleted once its archive is proven. `reach`: the
    bytes of a device that are data, all of them if empty. `known_as`: what people call it meanwhile, if not the file.
    """

    image: Path
    map_path: Path | None = None
    label: str | None = None
    archive: bool = True
    replace: bool = False
    effort: Effort | None = None
    free_space: bool = False
    same_as: str | None = None
    passing: bool = False
    reach: Ranges = ()
    known_as: str = ""


@dataclass(frozen=True, slots=True)
class AcceptedImage:
    """An open image: `claimed_bytes` is the larger of image and map, `unread` what the map says.

    `cue` is the text of the cue sheet beside it, which tells where its tracks lie; empty without one.
    """

    path: Path
    fd: int
    claimed_bytes: int
    unread: Ranges
    map_text: str | None
    cue: str = ""
    known_as: str = ""

    @property
    def name(self) -> str:
        """What people know it by: the drive it came from, else the file."""
        return self.known_as or printable(self.path.name)
