"""What the copier and its worker processes say to each other."""

from __future__ import annotations

import msgspec

from ntt.model import MountedRoot, OutcomeStatus, Volume
from ntt.ranges import Ranges


class FileJob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One regular file to copy; `attempt` counts from 1. `path` where its volume is read by path only."""

    volume: int
    ino: int
    size: int
    attempt: int
    path: bytes = b""


class Begin(msgspec.Struct, frozen=True, tag=True):
    """First message: what is on the image, which bytes of it were never read.

    `store` is how messages call the store. `roots`: volume index -> inherited descriptor of the directory below
    which its files are reached.
    """

    volumes: tuple[Volume, ...]
    unread: Ranges
    store: str
    roots: dict[int, MountedRoot] = {}


class Batch(msgspec.Struct, frozen=True, tag=True):
    """Read and hash these files; answered by `Hashed`, then `Keep` says which contents are new.

    `with_file`: it is one large file, whose content goes to the descriptor handed over with this. No `Keep` follows.
    `limit`: how many attempts a file gets in all.
    """

    number: int
    files: tuple[FileJob, ...]
    with_file: bool = False
    limit: int = 1


class Keep(msgspec.Struct, frozen=True, tag=True):
    """Append the files of `new` (indices into the batch), in this order, to the pack; answered by `Kept`.

    `with_pack`: it is another pack than before, and its descriptor is handed over with this.
    """

    number: int
    new: tuple[int, ...]
    with_pack: bool = False


class Read(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How reading a file went: a hash unless it failed; `damaged` are its unread byte ranges.

    `unread`: the bytes of the image that were not read and are the cause of damage or failure. `retries`: attempts
    beyond the first. `undecided`: it failed so far, and may be tried again once it was looked into.
    """

    status: OutcomeStatus
    blob_hash: bytes
    size: int
    reason: str
    damaged: Ranges
    error_type: str
    in_pack: bool
    checks: tuple[str, ...] = ()  # what was found to be the cause of damage or failure
    unread: Ranges = ()
    retries: int = 0
    undecided: bool = False


class Hashed(msgspec.Struct, frozen=True, tag=True):
    number: int
    reads: tuple[Read, ...]


class Kept(msgspec.Struct, frozen=True, tag=True):
    """The new contents are durable."""

    number: int


class StoreFailed(msgspec.Struct, frozen=True, tag=True):
    """The store cannot be written; no medium can go on."""

    text: str


ToWorker = Batch | Keep
FromWorker = Hashed | Kept | StoreFailed
