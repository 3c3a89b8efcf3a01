"""Page -> HTML that needs nothing else, piece by piece: one style, one script, and a policy that allows only these.

Everything is escaped by the template; were something not, the policy still lets nothing run or load: Content Security
Policy Level 3, "Hash usage". Files: HTML Living Standard.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup

from ntt import __version__
from ntt.map_svg import style_rules
from ntt.pages.parts import Page, with_commands

GENERATOR = "NTT problems"
MARK = f'<meta name="generator" content="{GENERATOR}'.encode()
MARK_WITHIN_BYTES = 512  # of the beginning of a page


def page_pieces(page: Page, now: datetime | None = None) -> Iterator[str]:
    """The page as text, in pieces."""
    style, script = _part("page.css"), _part("page.js")
    written = (now or datetime.now(UTC)).astimezone(UTC)
    yield from _template().generate(
        page=page,
        generator=f"{GENERATOR} {__version__}",
        version=__version__,
        written=f"{written:%Y-%m-%d %H:%M} UTC",
        policy="; ".join(
            (
                "default-src 'none'",
                f"style-src {_allowed(style)} {_allowed(style_rules())}",
                f"script-src {_allowed(script)}",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        style=Markup(style),
        script=Markup(script),
    )


def is_page(beginning: bytes) -> bool:
    """Is this how a page that NTT wrote begins?"""
    return MARK in beginning[:MARK_WITHIN_BYTES]


def _allowed(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def _part(name: str) -> str:
    return (files("ntt.pages") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=DictLoader({"page.html": _part("page.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_commands"] = with_commands
    environment.filters["finished"] = Markup
    return environment


def _template() -> Template:
    return _environment().get_template("page.html")
