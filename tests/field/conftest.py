"""What the field cases share: a catalogue of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import Catalogue


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    """An empty catalogue; its home does not exist yet."""
    return Catalogue(home, database_url)
