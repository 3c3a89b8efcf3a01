"""A thousand media with one label, by one program, that differ in one file or one sector: none is another."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from media_images import iso_image, noise, written

from ntt.config import Settings
from ntt.db.connection import Database, open_database
from ntt.db.media import Media
from ntt.model import AcceptedImage, Order
from ntt.rescue.source import probe
from ntt.stages.accept import accepted
from ntt.stages.identify import IdentifyStage
from ntt.stages.recognise import Recognised, RecogniseStage, Recognition
from ntt.watch.looking import look

MEDIA = 1000
SECTOR_BYTES = 2048
SEED = 20261123


async def _recognised(database: Database, image: AcceptedImage) -> Recognised:
    identity = await IdentifyStage().run(image.fd, image.claimed_bytes, image.unread, lambda _: None)
    stage = RecogniseStage(database, lambda medium: medium.medium_hash)
    return await stage.run(image, identity, "BACKUP", None, lambda _: None)


@pytest.mark.slow
async def test_of_a_thousand_near_identical_media_none_is_taken_for_another(
    home: Path, database_url: str, tmp_path: Path
) -> None:
    tree = written(tmp_path / "tree", {f"photo{n}.jpg".encode(): noise(40_000, n) for n in range(8)})
    original = iso_image(tmp_path / "original.iso", tree, "-r", "-V", "BACKUP")
    content = original.read_bytes()
    rng = random.Random(SEED)
    photo = content.index(noise(40_000, 3))
    medium = tmp_path / "drive"
    seen: dict[str, bytes] = {}
    async with open_database(Settings(home=home, database_url=database_url)) as database:
        media = Media(database)
        for number in range(MEDIA):
            changed = bytearray(content)
            if number % 2:  # one file, as long as it was, with its old date
                changed[photo : photo + 40_000] = noise(40_000, 1000 + number)
            elif number:  # one bit of one sector, anywhere
                at = rng.randrange(len(content))
                changed[at] ^= 1 << rng.randrange(8)
            medium.write_bytes(changed)
            with accepted(Order(medium)) as image:
                found = await _recognised(database, image)
            row = await media.by_id(found.medium_id)
            new = bytes(changed) not in seen.values()
            assert new == (found.recognition is not Recognition.KNOWN), number
            assert new == (row.medium_hash not in seen), number
            seen[row.medium_hash] = bytes(changed)
        assert len(seen) > MEDIA * 0.99
        # the very same medium once more: a candidate at a look, and known by all of it
        medium.write_bytes(content)
        candidates = await look(media, await probe(medium))
        assert candidates.missing == 0
        assert len(candidates.alike) > 1  # which of them it is, a look cannot tell
        with accepted(Order(medium)) as image:
            known = await _recognised(database, image)
        assert known.recognition is Recognition.KNOWN
        assert seen[(await media.by_id(known.medium_id)).medium_hash] == content
