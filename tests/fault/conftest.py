"""What the fault tests share: the small media, made once."""

from __future__ import annotations

import pytest
from rescued_media import RescueMedium, damaged_medium, many_files_medium

from ntt.copier.batches import BATCH_FILES


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> RescueMedium:
    """About 600 files, one of them damaged; never written to."""
    return damaged_medium(tmp_path_factory.mktemp("damaged"))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RescueMedium:
    """400 files of 4 KiB and one more, all readable; never written to."""
    return many_files_medium(tmp_path_factory.mktemp("whole"), 400, 4096)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> RescueMedium:
    """More batches than one worker and its queue hold; never written to."""
    return many_files_medium(tmp_path_factory.mktemp("long"), 8 * BATCH_FILES, 100)
