"""An HFS or HFS+ volume -> its entries, contents, places and facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from ntt.model import Entry, Extent, Structure, Volume, VolumeFacts, WalkProblem
from ntt.ranges import Range, within
from ntt.readers.base import ImageSource, ReadError, VolumeReader
from ntt.readers.hfs.catalog import Catalog
from ntt.readers.hfs.compressed import OpenFile
from ntt.readers.hfs.entries import RESOURCE
from ntt.readers.hfs.files import HfsFiles
from ntt.readers.hfs.records import ROOT, HfsFormat, HfsPlusFormat
from ntt.readers.hfs.surface import hfs_structures, hfs_used
from ntt.readers.hfs.volume import HEADER_AT, HEADER_BYTES, HfsVolume, volume_candidates
from ntt.readers.hfs.walk import PRIVATE_FILES, PRIVATE_FOLDERS, HfsWalk


class HfsReader:
    """Classic HFS ("hfs"), and HFS+ or HFSX ("hfsplus"), also inside an HFS wrapper; a `VolumeReader`.

    ReadError if neither the volume header nor its copy at the end leads to a catalog. Journals are not replayed.

    A file's number is its catalog node ID. Its resource fork, where it has one, is an entry beside it named
    `NAME:rsrc`, numbered `ID + 2**32`. Hard links of HFS+ carry the number of the file they stand for.
    Names of HFS stay MacRoman bytes; those of HFS+ become UTF-8 and stay decomposed. `/` in a name becomes `:`,
    as macOS and Linux show it. Times of HFS are local: the wall clock is taken as UTC. HFS keeps no Unix
    permissions, and Mac OS 9 sets none on HFS+: files are then 0644, folders 0755, owned by 0.
    Compressed files (decmpfs) are unpacked if zlib did it, and otherwise refused, never listed as empty: their
    packed bytes are then listed as resource fork and attribute. Other extended attributes are not read.
    """

    def __init__(self, source: ImageSource, volume: Volume) -> None:
        self._source = source
        self._volume, self._files, self._catalog = _opened(source, volume)
        self._opened_ino = -1
        self._opened: OpenFile | None = None
        self.fstype = self._volume.facts.fstype
        self.label = self._volume.facts.label or self._label()

    def walk(self) -> Iterator[Entry | WalkProblem]:
        yield from HfsWalk(self._catalog, self._files)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        file = self._file(ino)
        wanted = min(length, file.size - offset)
        return file.read(offset, wanted) if offset >= 0 and wanted > 0 else file.read(0, 0)

    def extents(self, ino: int) -> Sequence[Extent]:
        return self._file(ino).extents()

    def _file(self, ino: int) -> OpenFile:
        if self._opened is None or self._opened_ino != ino:
            self._opened = None
            record = self._catalog.file(ino & ~RESOURCE)
            self._opened = self._files.resource(record) if ino & RESOURCE else self._files.opened(record)
            self._opened_ino = ino
        return self._opened

    def facts(self) -> VolumeFacts:
        facts = self._volume.facts
        oddities = list(facts.oddities)
        attributes = self._files.attribute_records()
        if attributes:
            oddities.append(f"{attributes:,} extended attributes are kept, of which only compressed content is read")
        entries = max((facts.entries or 0) - self._private_entries(), 0)
        return msgspec.structs.replace(facts, label=self.label, entries=entries, oddities=tuple(oddities))

    def _private_entries(self) -> int:
        """The counts of HFS+ include the folders that hold what hard links stand for, and all that is in them."""
        if not self._volume.is_plus:
            return 0
        found = 0
        for name in (PRIVATE_FILES, PRIVATE_FOLDERS):
            try:
                folder = self._catalog.child(ROOT, name)
            except ReadError:
                continue
            found += 1 + folder.special if folder is not None and folder.is_folder else 0
        return found

    def _label(self) -> str:
        """HFS+ has its name on the root folder."""
        try:
            root = self._catalog.root()
        except ReadError:
            return ""
        return self._catalog.form.shown(root.name).decode("utf-8", "replace") if root is not None else ""

    def structures(self) -> Iterator[Structure]:
        return hfs_structures(self._source, self._volume, self._files)

    def used(self) -> Iterator[Range] | None:
        return hfs_used(self._source, self._volume, self._files)

    def close(self) -> None:
        """Forgets the open file; the image stays open, it belongs to the caller."""
        self._opened = None


def _opened(source: ImageSource, volume: Volume) -> tuple[HfsVolume, HfsFiles, Catalog]:
    """The first header whose catalog opens."""
    reason = "neither the volume header nor its copy at the end is one"
    header = volume.offset_bytes + HEADER_AT
    unread = within(source.unread, header, header + HEADER_BYTES)
    try:
        for found in volume_candidates(source, volume.offset_bytes, volume.size_bytes):
            files = HfsFiles(source, found)
            try:
                return found, files, Catalog(files.catalog(), HfsPlusFormat() if found.is_plus else HfsFormat())
            except ReadError as error:
                reason, unread = str(error), error.unread or unread
    except (OSError, OverflowError) as error:
        reason = f"the image cannot be read: {error}"
    raise ReadError(reason, unread)


def open_volume(source: ImageSource, volume: Volume, _advance: Callable[[int], None]) -> VolumeReader:
    return HfsReader(source, volume)
