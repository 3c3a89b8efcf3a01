"""What of a damaged medium is read again goes past the kernel's cache, whose pages are larger than sectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntt.model import Effort
from ntt.rescue.passes import further_passes
from ntt.rescue.source import Source, SourceKind


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("effort", Effort)
def test_no_pass_over_bad_sectors_loses_the_good_ones_beside_them(effort: Effort, attempt: int) -> None:
    for direct in (True, False):
        source = Source(Path("/dev/sr0"), SourceKind.OPTICAL, 1 << 20, 2048, direct=direct)
        assert {flags.direct for flags in further_passes(source, effort, attempt)} == {direct}
