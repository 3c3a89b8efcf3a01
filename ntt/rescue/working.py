"""A medium that is being read -> its image, map and state in one folder, whole at any instant, held by one process.

`<name>.img` is the image, of full size from the start (zeros where nothing was read), `<name>.map` ddrescue's map,
`<name>.map.kept` the last whole one, `<name>.json` the state, `<name>.domain` what a running pass is to read.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from ntt.errors import BusyError, MediumError, StoreError, UsageError
from ntt.model import PassRecord
from ntt.names import storable
from ntt.ranges import Ranges, difference, total
from ntt.rescue.durable import is_file, locked, put, sync
from ntt.rescue.source import Source, SourceKind
from ntt.tools.mapfile import Mapfile, mapfile_of, mapfile_text, parse_mapfile

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_ZEROS = bytes(1 << 20)
_TOLD_APART = 64
_RESERVE_BYTES = 16 << 20  # for maps, and what the file system itself needs


class WorkingState(msgspec.Struct, frozen=True):
    """What is known of the medium besides its image and map; `created_s` is seconds from 1970 UTC.

    `told_apart`: bytes at which another medium, that was taken for this one, gave something else. `disputed`: where
    two passes read differently.
    """

    source: str
    kind: SourceKind
    size_bytes: int
    sector_bytes: int
    created_s: float
    medium_hash: str | None = None
    let_go: bool = False  # it is read no more: what is left to do needs no medium
    passing: bool = False  # to be deleted once its archive is proven
    passes: tuple[PassRecord, ...] = ()
    told_apart: tuple[int, ...] = ()
    disputed: Ranges = ()


class WorkingImage:
    """One image in work, held by this process alone until it is closed; a process that dies lets go of it."""

    def __init__(self, path: Path, lock: int, state: WorkingState) -> None:
        """`lock`: descriptor of the image, locked. Use `WorkingImages`."""
        self.path = path
        self._lock = lock
        self._state = state

    def __enter__(self) -> WorkingImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Others may take it now. May be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def remove(self) -> None:
        """Nothing is left of it. For an image that holds nothing, or that a better one has replaced."""
        for path in (self.state_path, self.map_path, self.kept_map_path, self.domain_path, self.path):
            path.unlink(missing_ok=True)
        self.close()

    @property
    def descriptor(self) -> int:
        """The image, open for reading and writing, as long as it is held."""
        return self._lock

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def map_path(self) -> Path:
        return self.path.with_suffix(".map")

    @property
    def kept_map_path(self) -> Path:
        return self.path.with_suffix(".map.kept")

    @property
    def domain_path(self) -> Path:
        return self.path.with_suffix(".domain")

    @property
    def state_path(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def state(self) -> WorkingState:
        return self._state

    @property
    def size_bytes(self) -> int:
        return self._state.size_bytes

    @property
    def is_empty(self) -> bool:
        """By its whole map nothing was read yet: a run was killed before it saved one with more."""
        saved = None if self._state.passes or self._state.medium_hash else self.saved_map()
        return saved is not None and not saved.rescued

    @property
    def has_lost_map(self) -> bool:
        """No map says what was read, though something was: nobody may take it for an image of nothing."""
        if self.saved_map() is not None:
            return False
        kept = self._map_in(self.kept_map_path)
        return (kept is None or not kept.rescued) and self._has_data()

    def _has_data(self) -> bool:
        try:
            os.lseek(self._lock, 0, os.SEEK_DATA)
        except OSError as error:
            return error.errno != errno.ENXIO  # then there is none
        return True

    def mapfile(self) -> Mapfile:
        """What was read so far. ddrescue writes its map in place: if that was cut short, the last whole one counts."""
        return self.saved_map() or self._map_in(self.kept_map_path) or mapfile_of((), self.size_bytes)

    def saved_map(self) -> Mapfile | None:
        """The map as ddrescue saved it, None when it is not there or not whole."""
        return self._map_in(self.map_path)

    def follow_map(self) -> Mapfile | None:
        """`saved_map`, kept as well for the case that ddrescue is killed while it writes the next one. Blocking."""
        try:
            text = self.map_path.read_bytes()
        except OSError:
            return None
        mapfile = self._parsed(text, self.map_path.name)
        if mapfile is not None:
            with suppress(OSError):  # a full disk ends the pass by itself
                put(self.kept_map_path, text, durable=False)
        return mapfile

    def put_map(self, mapfile: Mapfile) -> None:
        """The map from now on; durable on return. Only while no ddrescue runs on it."""
        text = mapfile_text(mapfile).encode()
        put(self.kept_map_path, text)
        put(self.map_path, text)

    def record(self, record: PassRecord) -> None:
        """Image and map are durable first, then the record of the pass that made them. StoreError: no space for it."""
        os.fsync(self._lock)
        sync(self.map_path)
        state = msgspec.structs.replace(self._state, passes=(*self._state.passes, record))
        try:
            self.save(state)
        except OSError as error:
            if error.errno not in FULL:
                raise
            # of the two copies of the map one makes room: that which was cut short, if one was
            (self.kept_map_path if self.saved_map() is not None else self.map_path).unlink(missing_ok=True)
            try:
                self.save(state)
            except OSError:
                raise StoreError(f"no space is left for {self.state_path}", "make room and run it again") from error

    def take_back(self, known: Mapfile, at: int, record: PassRecord) -> None:
        """What was read beyond `known` does not count, nor is it kept; durable on return.

        `at`: the byte by which it is seen that it is of another medium; `record` stands in the last one's place.
        """
        foreign = difference(self.mapfile().rescued, known.rescued)
        self.put_map(known)
        self.forget(foreign)
        os.fsync(self._lock)
        told_apart = (*(one for one in self._state.told_apart if one != at), at)[-_TOLD_APART:]
        passes = (*self._state.passes[:-1], record)
        self.save(msgspec.structs.replace(self._state, passes=passes, told_apart=told_apart))

    def made_by(self, passes: tuple[PassRecord, ...]) -> None:
        """It holds what these passes over another image have read; durable on return."""
        self.save(msgspec.structs.replace(self._state, passes=passes))

    def disputes(self, ranges: Ranges) -> None:
        """Two passes read these bytes differently; durable on return."""
        self.save(msgspec.structs.replace(self._state, disputed=ranges))

    def identified(self, medium_hash: str | None) -> None:
        """The medium's identity is known from now on, or None: not any more. Durable on return."""
        self.save(msgspec.structs.replace(self._state, medium_hash=medium_hash))

    def needs_medium(self, needs: bool, *, passing: bool | None = None) -> None:
        """Whether the medium is to be read again, and whether it may be deleted afterwards; durable on return."""
        passing = self._state.passing if passing is None else passing
        state = msgspec.structs.replace(self._state, let_go=not needs, passing=passing)
        if state != self._state:
            self.save(state)

    def make_full_size(self) -> None:
        """So that it is the medium's size whatever can be read of it. OSError when the file system cannot."""
        os.ftruncate(self._lock, self.size_bytes)

    def require_space(self) -> None:
        """StoreError when what is still to be written does not fit."""
        missing = min(self.size_bytes - os.fstat(self._lock).st_blocks * 512, total(self.mapfile().unread))
        if missing <= 0:
            return
        missing += _RESERVE_BYTES
        space = os.statvfs(self.path.parent)
        free = space.f_bavail * space.f_frsize
        if missing > free:
            raise StoreError(
                f"{free:,} bytes are free in {self.path.parent}, the image needs {missing:,} more",
                "make room there, or name another folder for images",
            )

    def read(self, start: int, end: int) -> bytes:
        """Bytes of the image."""
        return os.pread(self._lock, end - start, start)

    def forget(self, ranges: Ranges) -> None:
        """Zeros again, as where nothing was read; durable with the next record."""
        for start, end in ranges:
            for at in range(start, end, len(_ZEROS)):
                os.pwrite(self._lock, _ZEROS[: end - at], at)

    def _map_in(self, path: Path) -> Mapfile | None:
        try:
            return self._parsed(path.read_bytes(), path.name)
        except OSError:
            return None

    def _parsed(self, text: bytes, name: str) -> Mapfile | None:
        """None when it does not cover the whole medium: then it was cut short."""
        try:
            mapfile = parse_mapfile(text.decode("latin-1"), name)
        except UsageError:
            return None
        return mapfile if (mapfile.start, mapfile.end) == (0, self.size_bytes) else None

    def save(self, state: WorkingState) -> None:
        """The state from now on, durable on return."""
        put(self.state_path, msgspec.json.encode(state))
        self._state = state


class WorkingImages:
    """The folder of the images in work; processes that share it never write the same one."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def new(self, source: Source) -> WorkingImage:
        """An image of zeros, all of it unread. StoreError when there is no space for it, or nothing can be written."""
        state = WorkingState(
            source=storable(str(source.path)),
            kind=source.kind,
            size_bytes=source.size_bytes,
            sector_bytes=source.sector_bytes,
            created_s=self._clock(),
        )
        path = self._folder / f"{secrets.token_hex(8)}.img"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            image = WorkingImage(path, locked(path, os.O_CREAT | os.O_EXCL), state)
            try:
                image.make_full_size()
                image.require_space()
                image.save(state)
                image.put_map(mapfile_of((), source.size_bytes))
            except BaseException:
                image.remove()
                raise
        except OSError as error:
            text = f"{path.parent} cannot hold an image of {source.size_bytes:,} bytes: {error.strerror}"
            raise StoreError(text, "name another folder for images") from error
        return image

    def take(self, path: Path) -> WorkingImage:
        """The image at `path`. BusyError when another process has it, MediumError when it is none of this folder."""
        try:
            state = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=WorkingState)
            lock = locked(path)
        except BlockingIOError:
            raise BusyError(f"{path.name} is being written by another process", "wait until it is finished") from None
        except (OSError, msgspec.DecodeError) as error:
            raise MediumError(f"{path} is no image in work: {error}", "start a new one") from error
        return WorkingImage(path, lock, state)

    def look(self, path: Path) -> WorkingImage | None:
        """The image at `path` to be looked at, held by nobody; None when it is none of this folder."""
        if not self.holds(path):
            return None
        try:
            state = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=WorkingState)
        except (OSError, msgspec.DecodeError):
            return None
        return WorkingImage(path, -1, state)

    def free(self, size_bytes: int | None = None) -> list[WorkingImage]:
        """Every image (of this size) that no process has, held now: the caller closes them. Removes empty leftovers."""
        found: list[WorkingImage] = []
        for path in sorted(self._folder.glob("*.img")):
            try:
                image = self.take(path)
            except BusyError:
                continue
            except MediumError:
                self._remove_leftover(path)
                continue
            if image.is_empty:
                image.remove()
            elif size_bytes in (None, image.size_bytes):
                found.append(image)
            else:
                image.close()
        return found

    def holds(self, path: Path) -> bool:
        """Is it one of these images?"""
        return path.parent == self._folder.absolute() and path.with_suffix(".json").is_file()

    def remove_superfluous(self, image: WorkingImage) -> None:
        """Other images of its medium that nobody holds are removed if `image` has all that was read in them."""
        if image.state.medium_hash is None:
            return
        rescued = image.mapfile().rescued
        for other in self.free():
            with other:
                same = other.state.medium_hash == image.state.medium_hash and not other.has_lost_map
                if same and not difference(other.mapfile().rescued, rescued):
                    other.remove()

    def is_one_of_these(self, path: Path) -> bool:
        """Is it one of these images, by whatever name? Follows links."""
        try:
            status = path.stat()
        except OSError:
            return False
        return any(is_file(own, status) for own in self._folder.glob("*.img") if own.with_suffix(".json").is_file())

    def _remove_leftover(self, path: Path) -> None:
        """An image without a state, which a process that died in `new` left: nothing was read into it yet."""
        try:
            lock = locked(path)
        except OSError:
            return
        try:
            if os.fstat(lock).st_blocks == 0 and not path.with_suffix(".json").exists():
                path.unlink()
        finally:
            os.close(lock)
