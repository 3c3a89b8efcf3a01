"""What the copier and its worker processes say to each other."""

from __future__ import annotations

import msgspec

from ntt.model import OutcomeStatus, Volume
from ntt.ranges import Ranges


class FileJob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One regular file to copy; `attempt` counts from 1. `path` where its volume is read by path only."""

    volume: int
    ino: int
    size: int
    attempt: int
    path: bytes = b""


class Begin(msgspec.Struct, frozen=True, tag=True):
    """First message: what is on the image, which bytes of it were never read, where the store is.

    `roots`: volume index -> inherited descriptor of the directory below which its files are reached.
    """

    volumes: tuple[Volume, ...]
    unread: Ranges
    store: str
    name: str  # of this worker, unique among all that live
    roots: dict[int, int] = {}


class Batch(msgspec.Struct, frozen=True, tag=True):
    """Read and hash these files; answered by `Hashed`, then `Keep` says which contents are new."""

    number: int
    files: tuple[FileJob, ...]


class Keep(msgspec.Struct, frozen=True, tag=True):
    """Store the files of `new` (indices into the batch) from `pack_at` in the pack; answered by `Kept`."""

    number: int
    new: tuple[int, ...]
    pack_id: int
    pack_at: int


class Read(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How reading a file went: a hash unless it failed; `damaged` are its unread byte ranges."""

    status: OutcomeStatus
    blob_hash: bytes
    size: int
    reason: str
    damaged: Ranges
    error_type: str
    in_pack: bool
    checks: tuple[str, ...] = ()  # what was found to be the cause of damage or failure


class Hashed(msgspec.Struct, frozen=True, tag=True):
    number: int
    reads: tuple[Read, ...]


class Kept(msgspec.Struct, frozen=True, tag=True):
    """The new contents are durable. `offsets` stand beside `Keep.new`; -1: a plain file of its own."""

    number: int
    offsets: tuple[int, ...]
    pack_end: int


class StoreFailed(msgspec.Struct, frozen=True, tag=True):
    """The store cannot be written; no medium can go on."""

    text: str


ToWorker = Batch | Keep
FromWorker = Hashed | Kept | StoreFailed
