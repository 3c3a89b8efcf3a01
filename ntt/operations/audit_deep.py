"""`ntt audit --deep`: every content is hashed, every archive read back and compared with the rows of its medium."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio.from_thread
import anyio.to_thread

from ntt.db.auditing import RecordedMedium
from ntt.db.connection import Database
from ntt.db.rebuilding import Differences, replica_of
from ntt.db.verifying import StoredBlob
from ntt.errors import MediumError
from ntt.operations.audit_packs import HEAL
from ntt.operations.findings import REPAIR, Finding
from ntt.store.archives import read_members
from ntt.store.layout import BlobLocation, StoreLayout
from ntt.store.reading import BlobDamaged, BlobReader

IMAGE_MEMBER = "image.img"
MANIFEST_MEMBER = "manifest.jsonl.zst"


def damaged_contents(layout: StoreLayout, blobs: Sequence[StoredBlob], known: set[str]) -> list[Finding]:
    """Contents that are there but are not what they were; `known` were found amiss already. To be run in a thread."""
    found: list[Finding] = []
    reader = BlobReader(layout)
    try:
        for blob in blobs:
            anyio.from_thread.check_cancelled()
            name = blob.blob_hash.hex()
            if name in known:
                continue
            try:
                for _ in reader.chunks(BlobLocation(blob.blob_hash, blob.size_bytes, blob.pack_id, blob.pack_offset)):
                    pass
            except BlobDamaged as damage:
                where = name if blob.pack_id is None else f"{layout.pack_path(blob.pack_id).name} {name}"
                found.append(Finding("blob_damaged", where, str(damage), HEAL, blob=name, pack_id=blob.pack_id))
    finally:
        reader.close()
    return found


async def proven_archive(medium_hash: str, image_hash: str, archive: Path, manifest: Path) -> str:
    """Why the archive is not that of this image, empty if it is; its manifest is then in the file `manifest`."""
    wanted = f"{medium_hash}/{MANIFEST_MEMBER}"
    try:
        members = await read_members(archive, {wanted: manifest})
    except MediumError as error:
        return str(error)
    held = {member.name: member.content_hash for member in members}
    image = held.get(f"{medium_hash}/{IMAGE_MEMBER}")
    if image is None or wanted not in held:
        return f"holds no {IMAGE_MEMBER if image is None else MANIFEST_MEMBER} of this medium"
    return "" if image == image_hash else f"holds another image (BLAKE3 {image})"


async def audit_archive(database: Database, medium: RecordedMedium, work: Path) -> tuple[list[Finding], bool]:
    """(the archive is not what it should be; are the rows not as its manifest says). `work` is an empty folder."""
    archive, manifest = Path(medium.archive_path or ""), work / MANIFEST_MEMBER
    try:
        reason = await proven_archive(medium.medium_hash, medium.image_hash, archive, manifest)
        if reason:
            step = f"restore it from a backup; or {REPAIR} --deep takes its stamp away, and it is archived anew"
            return [Finding("archive_wrong", medium.medium_hash, reason, step, medium.medium_hash)], False
        async with replica_of(database, manifest) as replica:
            return [], not (await replica.differences(medium.id)).none
    except MediumError as error:
        return [Finding("archive_wrong", medium.medium_hash, str(error), REPAIR, medium.medium_hash)], False
    finally:
        manifest.unlink(missing_ok=True)


def differing_rows(medium: RecordedMedium) -> Finding:
    detail = "its rows are not what the manifest in its archive says"
    step = f"{REPAIR} makes them so again"
    return Finding("rows_differ", medium.medium_hash, detail, step, medium.medium_hash)


__all__ = ["Differences", "audit_archive", "damaged_contents", "differing_rows", "proven_archive"]
