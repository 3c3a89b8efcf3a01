"""The store: packs that tar reads, plain blobs with holes, modes that no umask changes, orphans."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from store_contents import FilledPack, plain_blob

from ntt.errors import StoreError
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.packs import cut, member_bytes, member_header, open_pack, seal
from ntt.store.plain import PlainBlobFile, remove_orphans
from ntt.store.reading import BlobDamaged, BlobReader

CONTENTS = [os.urandom(size) for size in (0, 1, 511, 512, 513, 70_000)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreLayout]:
    before = os.umask(0o077)
    layout = StoreLayout(tmp_path / "store")
    layout.prepare()
    yield layout
    os.umask(before)


def _stored(store: StoreLayout, contents: list[bytes], at: int = 0) -> tuple[list[BlobLocation], int]:
    pack = FilledPack(store, 7, at)
    offsets = pack.append(contents)
    pack.sync()
    pack.close()
    places = zip(contents, offsets, strict=True)
    return [BlobLocation(blake3(content).digest(), len(content), 7, offset) for content, offset in places], pack.end


def test_a_pack_is_an_ordinary_tar_file_of_members_named_by_their_hash(store: StoreLayout, tmp_path: Path) -> None:
    _, end = _stored(store, CONTENTS)
    assert end == sum(member_bytes(len(content)) for content in CONTENTS) == store.pack_path(7).stat().st_size
    subprocess.run(["tar", "-xf", store.pack_path(7), "-C", tmp_path], check=True)
    for content in CONTENTS:
        assert (tmp_path / blake3(content).hexdigest()).read_bytes() == content


def test_a_header_is_what_tarfile_writes() -> None:
    info = tarfile.TarInfo("a" * 64)
    info.size, info.mode = 12_345, 0o444
    theirs = info.tobuf(tarfile.USTAR_FORMAT)
    ours = tarfile.TarInfo.frombuf(member_header(b"a" * 64, 12_345), "utf-8", "strict")
    assert (ours.name, ours.size, ours.mode, ours.mtime, ours.type) == ("a" * 64, 12_345, 0o444, 0, theirs[156:157])


def test_what_lies_behind_the_committed_end_is_cut_off_on_opening(store: StoreLayout) -> None:
    first, end = _stored(store, CONTENTS[:3])
    _stored(store, CONTENTS[3:], at=end)
    again, _ = _stored(store, [b"other"], at=end)
    assert store.pack_path(7).stat().st_size == end + member_bytes(5)
    reader = BlobReader(store)
    assert [b"".join(reader.chunks(blob)) for blob in first + again] == [*CONTENTS[:3], b"other"]
    assert cut(store, 7, end) == member_bytes(5)
    assert cut(store, 7, end) == 0
    assert cut(store, 8, 0) == 0


def test_a_pack_that_is_handed_out_cannot_be_written_before_its_end(store: StoreLayout) -> None:
    _, end = _stored(store, CONTENTS)
    before = store.pack_path(7).read_bytes()
    fd = open_pack(store, 7, end)
    os.pwrite(fd, b"spoiled", 0)
    os.close(fd)
    assert store.pack_path(7).read_bytes() == before + b"spoiled"


def test_a_pack_that_lost_its_end_is_not_filled_up(store: StoreLayout) -> None:
    _, end = _stored(store, CONTENTS)
    with pytest.raises(StoreError, match="were stored in it"):
        open_pack(store, 7, end + 512)
    assert store.pack_path(7).stat().st_size == end


def test_a_temp_file_is_not_removed_while_a_worker_has_it(store: StoreLayout) -> None:
    file = PlainBlobFile(store, "alive")
    workers = os.dup(file.fd)
    os.close(file.fd)  # NTT was killed
    assert remove_orphans(store) == []
    os.close(workers)
    assert [path.name for path in remove_orphans(store)] == ["alive.part"]


def test_a_sealed_pack_ends_as_an_archive_should(store: StoreLayout) -> None:
    _, end = _stored(store, CONTENTS)
    seal(store, 7, end)
    assert store.pack_path(7).read_bytes()[end:] == bytes(1024)
    with tarfile.open(store.pack_path(7)) as tar:
        assert len(tar.getnames()) == len(CONTENTS)


def test_everything_in_the_store_can_be_read_by_all_and_run_by_none(store: StoreLayout) -> None:
    _stored(store, CONTENTS)
    plain_blob(store, "w", [b"x" * 2_000_000])
    for path in store.root.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() else 0o444), path


def test_a_plain_blob_has_holes_where_its_content_is_zero(store: StoreLayout) -> None:
    digest = plain_blob(store, "w", [b"head", bytes(1 << 20), bytes(1 << 20), b"tail", bytes(100_000)])
    path = store.blob_path(digest)
    content = b"head" + bytes(2 << 20) + b"tail" + bytes(100_000)
    assert path.read_bytes() == content
    assert path.stat().st_blocks * 512 < 100_000
    assert b"".join(BlobReader(store).chunks(BlobLocation(digest, len(content), None, None))) == content
    assert not list(store.tmp.iterdir())


def test_a_temp_file_is_removed_only_when_its_writer_is_gone(store: StoreLayout) -> None:
    alive = PlainBlobFile(store, "alive")
    os.write(alive.fd, b"something")
    (store.tmp / "dead.part").write_bytes(b"left behind")
    assert [path.name for path in remove_orphans(store)] == ["dead.part"]
    assert [path.name for path in store.tmp.iterdir()] == ["alive.part"]
    alive.discard()
    assert not list(store.tmp.iterdir())


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_blob_that_is_no_longer_what_it_was_is_said_so(store: StoreLayout, harm: str) -> None:
    blobs, end = _stored(store, CONTENTS)
    path = store.pack_path(7)
    path.chmod(0o644)
    match harm:
        case "flip":
            data = bytearray(path.read_bytes())
            data[-600] ^= 1
            path.write_bytes(data)
        case "truncate":
            os.truncate(path, end - 1024)
        case _:
            path.unlink()
    with pytest.raises(BlobDamaged):
        list(BlobReader(store).chunks(blobs[-1]))


def test_a_store_that_cannot_be_written_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        StoreLayout(Path("/proc/no-store-here")).prepare()
