"""What the fault tests share: the small media, made once."""

from __future__ import annotations

import pytest
from rescued_media import RescueMedium, damaged_medium


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> RescueMedium:
    """About 600 files, one of them damaged; never written to."""
    return damaged_medium(tmp_path_factory.mktemp("damaged"))
