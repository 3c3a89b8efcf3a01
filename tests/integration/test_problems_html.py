"""The page of a medium's problems, in a real browser: nothing runs but its own script, and it is readable anywhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from browser import Browser, running_browser
from media_images import run
from problem_pages import HOSTILE, WHOLE, page_of, troubled_medium, written
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.names import printable
from ntt.operations.problems_overview import problems_overview
from ntt.pages.overview_html import overview_page
from ntt.pages.problems_html import FILES_SHOWN
from ntt.pages.rendering import is_page

NARROW = 400
CHECKS = """(() => ({
    wide: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight,
    scripts: document.scripts.length, strangers: document.querySelectorAll("b, i, u, img, iframe, a[href]").length,
    smallest: Math.min(...Array.from(document.querySelectorAll("p, td, th, li, dd, dt"),
        (e) => parseFloat(getComputedStyle(e).fontSize))),
}))()"""
# relative luminance and contrast: WCAG 2.1, 1.4.3
CONTRAST = """(() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = (c) => { const [r, g, b] = c.map(part);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
    let worst = [21, ""];
    const texts = "h1, h2, p, td bdi, th bdi, small, li, dt, dd, code, button, thead th, output, label";
    for (const e of document.querySelectorAll(texts)) {
        if (!e.textContent.trim()) continue;
        const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 80)];
    }
    return worst;
})()"""


def printed(browser: Browser, path: Path) -> str:
    """All text of the page as it is printed."""
    browser.pdf(path)
    return run("pdftotext", "-raw", path, "-")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


@pytest.fixture
async def page(catalogue: Catalogue, tmp_path: Path) -> Path:
    medium, _ = await troubled_medium(catalogue)
    return written(await page_of(catalogue, medium), tmp_path / "page.html")


async def test_it_needs_nothing_else_and_the_browser_has_nothing_to_complain_about(
    page: Path, browser: Browser
) -> None:
    browser.open(page)
    assert browser.complaints == []
    assert browser.requests == [page.as_uri()]
    text = page.read_text()
    assert not re.search(r"<[^>]*\s(src|href|xlink:href|on\w+|style)\s*=|url\(|@import", text)
    assert set(re.findall(r"https?://[^\"' <]+", text)) == {"http://www.w3.org/2000/svg"}
    assert is_page(page.read_bytes())


async def test_hostile_names_are_text_and_show_what_is_in_them(page: Path, browser: Browser) -> None:
    browser.open(page)
    checks = browser.value(CHECKS)
    assert isinstance(checks, dict)
    assert (checks["scripts"], checks["strangers"]) == (1, 0)
    shown = str(browser.value("document.body.innerText"))
    assert printable(HOSTILE) in shown
    assert "\\x1b[2J\\n\\x07\\u202egpj.exe\\xff" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(page.read_text())
    assert "box 12 <i>disc</i> 3" in shown
    assert browser.value("document.title") == "box 12 <i>disc</i> 3: problems"


async def test_it_tells_files_ranges_copies_directories_drives_stages_events_and_steps(
    catalogue: Catalogue, tmp_path: Path, browser: Browser
) -> None:
    medium, other = await troubled_medium(catalogue)
    browser.open(written(await page_of(catalogue, medium), tmp_path / "page.html"))
    shown = str(browser.value("document.body.innerText"))
    for piece in (
        "The listing may be incomplete: directory photos", "It has no identity of its own.",
        "photos/letter.txt", "512-1,023", f"{other.medium_hash[:8]}: old/LETTER.BAK",
        "its inode lies on unread sectors",
        "model DVD \\x1b[5m", "bridge 0bda:9210", "the medium, drive or bridge did not answer any more",
        "the bridge <u>died</u>", "Archive failed: no space left <here>.", "put it into another drive",
        f"files may be whole on medium {other.medium_hash[:8]}", "of the file system itself", "skipped",
        "ReadError", "a <b>record</b>", "first pass", "2:05 min", medium.medium_hash,
    ):  # fmt: skip
        assert piece in shown, piece
    places = browser.value("document.querySelectorAll('.ntt-map rect > title').length")
    assert isinstance(places, int)
    assert places >= 2_000
    assert browser.value("document.querySelectorAll('.chart rect').length") == 4


@pytest.mark.parametrize("width", [NARROW, 320, 768, 1400])
async def test_no_width_makes_the_page_wider_than_its_window(page: Path, browser: Browser, width: int) -> None:
    browser.open(page, width)
    checks = browser.value(CHECKS)
    assert isinstance(checks, dict)
    assert checks["wide"] <= width
    assert checks["smallest"] >= 13


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_text_has_contrast_enough(page: Path, browser: Browser, dark: bool) -> None:
    browser.open(page, dark=dark)
    worst = browser.value(CONTRAST)
    assert isinstance(worst, list)
    assert worst[0] >= 4.5, worst
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 22, 28)" if dark else "rgb(251, 251, 249)")


async def test_tables_are_sorted_and_filtered(page: Path, browser: Browser) -> None:
    browser.open(page)
    shown = "[data-name=files] tbody tr:not([hidden]) th div > bdi"
    names = f"Array.from(document.querySelectorAll('{shown}'), (e) => e.textContent)"
    button = "document.querySelector('[data-name=files] thead th:nth-child({}) button').click()"
    browser.value(button.format(3))
    sizes = "Array.from(document.querySelectorAll('[data-name=files] tbody td:nth-child(3)'), (e) => +e.dataset.sort)"
    first = browser.value(sizes)
    assert isinstance(first, list)
    assert first == sorted(first)
    assert browser.value("document.querySelector('[data-name=files] thead th:nth-child(3)').ariaSort") == "ascending"
    browser.value(button.format(3))
    assert browser.value(sizes) == sorted(first, reverse=True)
    browser.value(
        """(() => { const i = document.querySelector('[data-name=files] input'); i.value = 'LETTER damaged';
                    i.dispatchEvent(new Event('input')); })()"""
    )
    assert browser.value(names) == ["photos/letter.txt"]
    assert browser.value("document.querySelector('[data-name=files] output').textContent") == "1 of 10"
    assert browser.complaints == []


async def test_without_script_all_of_it_is_there(page: Path, browser: Browser, tmp_path: Path) -> None:
    browser.open(page, NARROW, script=False)
    shown = printed(browser, tmp_path / "page.pdf")
    assert "photos/letter.txt" in shown
    assert "Filter" not in shown
    assert browser.complaints == []


async def test_tables_have_headers_that_readers_of_screens_find(page: Path, browser: Browser) -> None:
    browser.open(page, NARROW)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    assert isinstance(tree, list)
    roles = [node["role"]["value"] for node in tree if "role" in node]
    tables = browser.value("document.querySelectorAll('table').length")
    assert roles.count("table") == tables
    assert {"columnheader", "rowheader", "row", "cell"} <= set(roles)
    assert browser.value("document.querySelectorAll('table:not([aria-labelledby])').length") == 0
    assert browser.value("document.documentElement.lang") == "en"


async def test_it_prints_on_a4_with_every_name(page: Path, browser: Browser, tmp_path: Path) -> None:
    browser.open(page, dark=True)
    words = re.sub(r"\s+", "", printed(browser, tmp_path / "page.pdf"))
    told = run("pdfinfo", tmp_path / "page.pdf")
    assert re.search(r"Page size: +59[45]\.\d+ x 84[12](\.\d+)? pts \(A4\)", told), told
    pages = re.search(r"Pages: +(\d+)", told)
    assert pages is not None
    assert 2 <= int(pages[1]) <= 8
    for name in ("photos/letter.txt", "lost.doc", "more-5.bin", printable(HOSTILE)):
        assert re.sub(r"\s+", "", name) in words, name


async def test_of_very_many_files_the_worst_are_shown_and_the_page_stays_usable(
    catalogue: Catalogue, tmp_path: Path, browser: Browser
) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"the worst", WHOLE * 10, damaged=((0, len(WHOLE) * 9),))
    medium = await catalogue.medium("many", {0: sketch})
    await catalogue.execute(
        """INSERT INTO node SELECT 1000 + n, 10000, 0, -1, $1::int, 0, 33188, 0, 0, 0, ''
           FROM generate_series(1, 100000) n""",
        medium.id,
    )
    await catalogue.execute(
        """INSERT INTO name SELECT 1000 + n, 2, $1::int, 0, 0, ('file ' || n)::bytea
           FROM generate_series(1, 100000) n""",
        medium.id,
    )
    await catalogue.execute(
        """INSERT INTO outcome SELECT 1000 + n, NULL, $1::int, 0, 1, 'f', 'unreadable', NULL, NULL
           FROM generate_series(1, 100000) n""",
        medium.id,
    )
    path = written(await page_of(catalogue, medium), tmp_path / "page.html")
    assert path.stat().st_size < 3 << 20
    browser.open(path, NARROW)
    assert browser.value("document.querySelectorAll('[data-name=files] tbody tr').length") == FILES_SHOWN
    shown = str(browser.value("document.body.innerText"))
    assert "1,000 of 100,001 are shown" in shown
    assert f"ntt problems {medium.medium_hash[:8]} --csv" in shown
    assert browser.complaints == []


async def test_a_medium_with_nothing_wrong_says_only_that(
    catalogue: Catalogue, tmp_path: Path, browser: Browser
) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"fine", b"fine")
    medium = await catalogue.medium("good", {0: sketch})
    browser.open(written(await page_of(catalogue, medium), tmp_path / "page.html"))
    shown = str(browser.value("document.querySelector('.verdict').innerText"))
    assert shown.split("\n", 1)[0] == "Nothing wrong"
    assert "All files are whole." in shown
    assert "What to do next" not in str(browser.value("document.body.innerText"))
    assert browser.complaints == []


async def test_the_page_of_all_media_lists_those_with_problems(
    catalogue: Catalogue, tmp_path: Path, browser: Browser
) -> None:
    medium, other = await troubled_medium(catalogue)
    page = overview_page(await problems_overview(catalogue.database), {})
    browser.open(written(page, tmp_path / "all.html"), NARROW)
    shown = str(browser.value("document.body.innerText"))
    assert "1 of 2 media have problems." in shown
    assert medium.medium_hash[:8] in shown
    assert other.medium_hash[:8] not in shown
    checks = browser.value(CHECKS)
    assert isinstance(checks, dict)
    assert checks["wide"] <= NARROW
    assert browser.complaints == []
