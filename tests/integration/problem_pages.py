"""Media with every kind of problem, and the pages that are made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sketches import ROOT, Catalogue, Sketch

from ntt.db.damage import Damage
from ntt.db.loading import Problem
from ntt.db.media import Media, Medium
from ntt.db.runs import StageRuns
from ntt.db.summary import Problems
from ntt.map_svg import CELLS
from ntt.model import PassEnd, PassRecord, Stage
from ntt.operations.problems import problems_report
from ntt.operations.surface import surface_maps
from ntt.pages.parts import Page
from ntt.pages.problems_html import problems_page
from ntt.pages.rendering import page_pieces

WHOLE = bytes(range(256)) * 40
HOSTILE = b"<script>alert('x')</script>&\"\x1b[2J\n\x07\xe2\x80\xaegpj.exe\xff"
DRIVE = {"vendor": "ACME <b>", "model": "DVD \x1b[5m", "serial": "S1", "bridge": "0bda:9210"}


async def troubled_medium(catalogue: Catalogue, name: str = "box 12 <i>disc</i> 3") -> tuple[Medium, Medium]:
    """(a medium with all sorts of problems, one that holds a whole copy of its damaged file)."""
    good = Sketch()
    good.file(good.directory(ROOT, b"old"), b"LETTER.BAK", WHOLE)
    other = await catalogue.medium("other", {0: good})
    bad = Sketch()
    folder = bad.directory(ROOT, b"photos")
    cut = bytearray(WHOLE)
    cut[512:1024] = bytes(512)
    hit = bad.file(folder, b"letter.txt", bytes(cut), damaged=((512, 1024),))
    bad.file(folder, HOSTILE, bytes(cut[:5000]), damaged=((512, 1024), (4096, 4100)))
    bad.file(ROOT, b"lost.doc", None, reason="its inode lies on unread sectors")
    bad.file(ROOT, "שלום.txt".encode(), None, reason="unreadable <img src=x onerror=alert(1)>")
    for number in range(6):
        bad.file(ROOT, b"more-%d.bin" % number, bytes(cut[: 2000 + number]), damaged=((600, 700 + number),))
    bad.file(ROOT, b"fine", b"fine")
    medium = await catalogue.medium(name, {0: bad})
    unread = [(4096, 8192), (20_480, 20_992)]
    ranges = "{" + ",".join(f"[{start},{end})" for start, end in unread) + "}"
    await catalogue.execute(
        f"""UPDATE medium SET image_bytes = 1 << 20, claimed_bytes = 1 << 20, unread = '{ranges}'::int8multirange,
               unread_bytes = 4608, health = 'incomplete', message = 'it has no identity of its own' WHERE id = $1""",
        medium.id,
    )
    await catalogue.execute(
        f"UPDATE outcome SET unread = '{{[4096,4608)}}'::int8multirange WHERE medium_id = $1 AND ino = {hit}", medium.id
    )
    await catalogue.execute("UPDATE volume SET unread_used = '{[4096,4608)}' WHERE medium_id = $1", medium.id)
    await catalogue.execute(
        """INSERT INTO unread_structure (medium_id, volume, ino, what, spare, ranges)
           VALUES ($1, 0, $2, 'directory', false, '{[20480,20992)}')""",
        medium.id,
        folder,
    )
    began = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    passes = [
        PassRecord(
            "everything", "/dev/sr0", began, 125.0, 1 << 20, 0, 1_000_000, 4608, 3, PassEnd.FINISHED, "", DRIVE,
        ),
        PassRecord(
            "files", "/dev/sr0", began + 200, 40.0, 48_576, 1_000_000, 1_043_968, 4608, 9, PassEnd.SOURCE_GONE,
            "the bridge <u>died</u>", DRIVE,
        ),
    ]  # fmt: skip
    await Damage(catalogue.database).record(medium.id, passes)
    runs = StageRuns(catalogue.database)
    for stage in (Stage.IMAGE, Stage.ENUMERATE, Stage.COPY):
        async with runs.attempt(medium.id, stage, before_s=30.0 if stage is Stage.IMAGE else 4.0):
            pass
    try:
        async with runs.attempt(medium.id, Stage.ARCHIVE, before_s=9.0):
            raise OSError("no space left <here>")
    except OSError:
        pass
    await Problems(catalogue.database).replace(
        medium.id, "enumerate", [Problem("bad_record", "a <b>record</b>", "put it into another drive", 0, 5, HOSTILE)]
    )
    return await Media(catalogue.database).by_id(medium.id), other


async def page_of(catalogue: Catalogue, medium: Medium) -> Page:
    report = await problems_report(catalogue.database, medium, catalogue.store)
    (surface,) = await surface_maps(catalogue.database, medium, [CELLS])
    return problems_page(report, surface)


def written(page: Page, path: Path) -> Path:
    path.write_text("".join(page_pieces(page)), encoding="utf-8")
    return path
