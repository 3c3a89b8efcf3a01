"""Catalogue, store and archives -> what they say of each file, and every sentence that ought to be true and is not."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import asyncpg
from blake3 import blake3
from ntt_runs import Machine, until
from rescued_media import ExpectedFile, RescueMedium

END_OF_ARCHIVE_BYTES = 1024
_NODES = "node n LEFT JOIN outcome o USING (medium_id, volume, ino)"
_REGULAR = "(n.mode & 61440) = 32768"


@dataclass(frozen=True, slots=True)
class MediumState:
    """What the catalogue holds of one medium, without what differs from run to run."""

    health: str
    nodes: frozenset[tuple[object, ...]]
    names: frozenset[tuple[object, ...]]
    files: dict[bytes, ExpectedFile]
    stamps: tuple[bool, bool, bool]
    findings: int


def rows(url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """The rows of a query, on a connection of its own."""

    async def fetch() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return anyio.run(fetch)


def value(url: str, sql: str, *arguments: object) -> object:
    ((found,),) = rows(url, sql, *arguments)
    return found


def number(url: str, sql: str, *arguments: object) -> int:
    found = value(url, sql, *arguments)
    assert isinstance(found, int)
    return found


def pending(url: str) -> int:
    return number(url, f"SELECT count(*) FROM {_NODES} WHERE {_REGULAR} AND o.ino IS NULL")


def settle(machine: Machine, url: str | None = None) -> None:
    """Waits until the kernel has ended a killed run's processes, and the server its sessions."""
    until(lambda: not [p for p in machine.processes() if "postgres" not in p], "the run's processes are gone")
    if url is not None:
        sessions = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'ntt %'"
        busy = f"SELECT count(*) {sessions}"
        until(lambda: number(url, busy) == 0, "the run's sessions are gone")


def state_of(url: str, image_hash: str) -> MediumState:
    """The state of the one medium with this image."""
    ((medium_id, health, *stamps),) = rows(
        url, "SELECT id, health, enum_done, copy_done, archive_done FROM medium WHERE image_hash = $1", image_hash
    )
    nodes = rows(
        url,
        """SELECT volume, ino, size, mode, uid, gid, mtime_s, mtime_ns, first_byte, link_target FROM node
           WHERE medium_id = $1""",
        medium_id,
    )
    names = rows(url, "SELECT volume, parent_ino, ino, name, flags FROM name WHERE medium_id = $1", medium_id)
    assert len(set(nodes)) == len(nodes), "a node is listed twice"
    assert len(set(names)) == len(names), "a name is listed twice"
    return MediumState(
        health,
        frozenset(tuple(row) for row in nodes),
        frozenset(tuple(row) for row in names),
        dict(_files(url, medium_id)),
        (stamps[0] is not None, stamps[1] is not None, stamps[2] is not None),
        number(url, "SELECT count(*) FROM finding WHERE medium_id = $1", medium_id),
    )


def _files(url: str, medium_id: int) -> Iterator[tuple[bytes, ExpectedFile]]:
    found = rows(
        url,
        """SELECT p.path, o.status, o.damaged, encode(b.hash, 'hex') AS blob
           FROM path p JOIN medium m USING (medium_hash)
           JOIN node n ON n.medium_id = m.id AND n.volume = p.volume AND n.ino = p.ino AND (n.mode & 61440) = 32768
           LEFT JOIN outcome o ON o.medium_id = m.id AND o.volume = n.volume AND o.ino = n.ino
           LEFT JOIN blob b ON b.id = o.blob_id WHERE m.id = $1""",
        medium_id,
    )
    for row in found:
        damaged = tuple((piece.lower, piece.upper) for piece in row["damaged"] or ())
        yield row["path"], ExpectedFile((row["status"] or b"?").decode(), row["blob"] or "", damaged)


# ---------------------------------------------------------------- true at every instant


def broken_promises(url: str, machine: Machine) -> list[str]:
    """What must be true however and whenever a run ended, and is not: nothing is recorded that is not there."""
    return [*_stamps_without_proof(url, machine), *_blobs_without_bytes(url, machine.store)]


def _stamps_without_proof(url: str, machine: Machine) -> Iterator[str]:
    for medium in rows(url, "SELECT * FROM medium"):
        name = medium["medium_human"]
        nodes = number(url, "SELECT count(*) FROM node WHERE medium_id = $1", medium["id"])
        if (medium["enum_done"] is not None) != (nodes > 0):
            yield f"{name}: enum_done is {medium['enum_done']}, there are {nodes} nodes"
        left = number(
            url,
            f"SELECT count(*) FROM {_NODES} WHERE n.medium_id = $1 AND {_REGULAR} AND o.ino IS NULL",
            medium["id"],
        )
        if medium["copy_done"] is not None and left:
            yield f"{name}: copy_done is set, {left} files are pending"
        stamps = [medium[stage] for stage in ("enum_done", "copy_done", "archive_done")]
        given = [stamp for stamp in stamps if stamp is not None]
        if given != sorted(given) or stamps[: len(given)] != given:
            yield f"{name}: the stamps are out of order: {stamps}"
        if medium["archive_done"] is not None:
            yield from _archive_faults(Path(medium["archive_path"]), medium["image_hash"])
    outcomes = "outcome o LEFT JOIN node n USING (medium_id, volume, ino)"
    strays = number(url, f"SELECT count(*) FROM {outcomes} WHERE NOT coalesce({_REGULAR}, false)")
    if strays:
        yield f"{strays} outcomes belong to no regular file"


def _archive_faults(archive: Path, image_hash: str) -> Iterator[str]:
    done = subprocess.run(["zstd", "-dcq", archive], capture_output=True, check=False)
    if done.returncode != 0:
        yield f"{archive} is stamped and cannot be read: {done.stderr!r}"
        return
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        images = [tar.extractfile(member) for member in tar if member.name.endswith("/image.img")]
    hashes = [blake3(image.read()).hexdigest() for image in images if image is not None]
    if hashes != [image_hash]:
        yield f"{archive} does not hold the image"


def _blobs_without_bytes(url: str, store: Path) -> Iterator[str]:
    packs: dict[int, bytes] = {}
    for row in rows(url, "SELECT encode(hash, 'hex') AS hash, size, pack_id, pack_offset FROM blob"):
        pack_id, name = row["pack_id"], row["hash"]
        if pack_id is None:
            path = store / "blobs" / name[:2] / name[2:4] / name
            content = path.read_bytes() if path.is_file() else b"(no file)"
        else:
            if pack_id not in packs:
                path = store / "packs" / f"{pack_id:08d}.tar"
                packs[pack_id] = path.read_bytes() if path.is_file() else b""
            content = packs[pack_id][row["pack_offset"] :][: row["size"]]
        if len(content) != row["size"] or blake3(content).hexdigest() != name:
            yield f"blob {name} is recorded, its bytes are not in the store (pack {pack_id})"


# ---------------------------------------------------------------- true when a run has come to its end


@dataclass(frozen=True, slots=True)
class StoreState:
    """The contents in the store: `kept` by name, `wasted` are further copies that no row names."""

    kept: frozenset[str]
    wasted: int
    wasted_bytes: int


def unfinished_business(url: str, machine: Machine, medium: RescueMedium) -> list[str]:
    """What must be true, besides the promises, once a run has come to its end, and is not."""
    store, faults = store_state(url, machine.store)
    blobs = {row["hash"] for row in rows(url, "SELECT encode(hash, 'hex') AS hash FROM blob")}
    referenced = {
        row["hash"]
        for row in rows(url, "SELECT encode(hash, 'hex') AS hash FROM outcome JOIN blob ON blob.id = blob_id")
    }
    if not store.kept == blobs == referenced:
        faults.append(
            f"store {len(store.kept)}, blob rows {len(blobs)}, references {len(referenced)} are not the same: "
            f"{store.kept ^ blobs} {blobs ^ referenced}"
        )
    if left := pending(url):
        faults.append(f"{left} files are pending")
    if open_attempts := rows(url, "SELECT stage FROM stage_run WHERE state = 'running'"):
        faults.append(f"attempts were never closed: {open_attempts}")
    faults += [f"left behind: {path}" for path in leftovers(machine)]
    faults += [f"still running: {process}" for process in machine.processes() if "postgres" not in process]
    if not medium.unchanged:
        faults.append("the image was changed")
    return faults


def leftovers(machine: Machine) -> list[str]:
    """Temp files, scratch folders, mounts and loop devices of this machine's folders."""
    found = [str(path) for folder in (machine.store, machine.archives) for path in folder.rglob("*.part")]
    work = machine.home / "work"
    found += [str(path) for path in work.iterdir()] if work.is_dir() else []
    found += [str(path) for path in (machine.home / "postgres").glob("data.new-*")]
    home = str(machine.home)
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if home in line]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = backing.read_text().strip()
        except OSError:
            continue
        found += [f"loop device on {file}"] if str(machine.home.parent) in file and file.endswith(".img") else []
    return found


def store_state(url: str, store: Path) -> tuple[StoreState, list[str]]:
    """Every pack to its last byte, every plain file; and what is wrong with them."""
    faults: list[str] = []
    kept: set[str] = set()
    copies = wasted_bytes = 0
    located = {(row["pack_id"], row["pack_offset"]) for row in rows(url, "SELECT pack_id, pack_offset FROM blob")}
    known = {row["id"]: row for row in rows(url, "SELECT id, committed_bytes, sealed FROM pack")}
    for path in sorted((store / "packs").iterdir()):
        pack = known.get(int(path.stem))
        size_bytes = path.stat().st_size
        if pack is None:
            faults.append(f"{path.name} has no row")
            continue
        expected = pack["committed_bytes"] + (END_OF_ARCHIVE_BYTES if pack["sealed"] else 0)
        if size_bytes != expected:
            faults.append(f"{path.name} has {size_bytes} bytes, committed are {expected}")
        listed = subprocess.run(["tar", "-tf", path], capture_output=True, check=False)
        if size_bytes and (listed.returncode != 0 or listed.stderr):
            faults.append(f"tar does not read {path.name}: {listed.stderr.decode()}")
        for name, offset, size in _members(path):
            if (pack["id"], offset) in located:
                kept.add(name)
            else:
                copies, wasted_bytes = copies + 1, wasted_bytes + size
    for pack_id, pack in known.items():
        if pack["committed_bytes"] and not (store / "packs" / f"{pack_id:08d}.tar").is_file():
            faults.append(f"pack {pack_id} has bytes committed and no file")
    for folder, _, names in os.walk(store / "blobs"):
        for name in names:
            kept.add(name)
            if blake3(Path(folder, name).read_bytes()).hexdigest() != name:
                faults.append(f"plain blob {name} has other content")
    return StoreState(frozenset(kept), copies, wasted_bytes), faults


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, offset of the content, size) of each member, by Python's own tar reader."""
    if path.stat().st_size:
        with tarfile.open(path) as tar:
            for member in tar:
                yield member.name, member.offset_data, member.size
