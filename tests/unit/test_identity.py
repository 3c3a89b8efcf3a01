"""The identity of a medium is what docs/formats.md says, to the byte."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from ntt.errors import MediumError
from ntt.identity import SAMPLE_BYTES, assigned_hash, look_alike_hash, medium_hash_of, sample_positions
from ntt.model import Identity
from ntt.ranges import Ranges
from ntt.stages.identify import IdentifyStage

DOCUMENT = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.fixture(scope="module")
def vector() -> dict[str, str]:
    table = DOCUMENT.read_text().split("### Vector", 1)[1].split("## The store", 1)[0]
    return dict(re.findall(r"^\| (\w+) \| ([0-9a-f ]+) \|$", table, re.MULTILINE))


@pytest.fixture(scope="module")
def image(vector: dict[str, str]) -> bytes:
    return blake3(b"NTT test medium").digest(length=int(vector["image_bytes"]))


def samples_of(content: bytes) -> list[tuple[int, bytes]]:
    return [(at, content[at : at + SAMPLE_BYTES]) for at in sample_positions(len(content))]


def test_the_vector_of_the_document_holds(vector: dict[str, str], image: bytes) -> None:
    second = image[:-1] + b"\0"
    assert vector == {
        "image_bytes": str(len(image)),
        "image_hash": blake3(image).hexdigest(),
        "sample_positions": " ".join(map(str, sample_positions(len(image)))),
        "medium_hash": medium_hash_of(samples_of(image)),
        "second_image_hash": blake3(second).hexdigest(),
        "second_medium_hash": look_alike_hash(medium_hash_of(samples_of(image)), blake3(second).hexdigest()),
        "medium_hash_of_its_first_1000_bytes": medium_hash_of(samples_of(image[:1000])),
    }


def test_the_document_can_be_followed_without_the_program(vector: dict[str, str], image: bytes) -> None:
    positions = {0} | {base << k for base in (32_768, 49_152) for k in range(20)}
    hasher = blake3(b"NTT medium 1\0")
    for at in sorted(at for at in positions if at + 4096 <= len(image)):
        hasher.update(at.to_bytes(8, "little") + image[at : at + 4096])
    assert hasher.digest()[:16].hex() == vector["medium_hash"]
    look_alike = b"NTT look-alike 1\0" + hasher.digest()[:16] + bytes.fromhex(vector["second_image_hash"])
    assert blake3(look_alike).digest()[:16].hex() == vector["second_medium_hash"]


@given(st.integers(1, 1 << 45))
def test_samples_lie_inside_ascend_and_are_few(claimed_bytes: int) -> None:
    positions = list(sample_positions(claimed_bytes))
    assert positions[0] == 0
    assert positions == sorted(set(positions))
    assert all(at + SAMPLE_BYTES <= claimed_bytes for at in positions[1:])
    assert len(positions) < 70


@given(st.integers(1, 1 << 40), st.integers(0, 4095))
def test_a_slightly_other_size_moves_no_sample(claimed_bytes: int, more: int) -> None:
    """Drives disagree about the last sectors of one disc: at most the very last samples come or go."""
    shorter, longer = list(sample_positions(claimed_bytes)), list(sample_positions(claimed_bytes + more))
    assert longer[: len(shorter)] == shorter
    assert len(longer) <= len(shorter) + 1


def test_assigned_ids_look_like_all_others_and_are_never_the_same() -> None:
    assigned = {assigned_hash() for _ in range(1000)}
    assert len(assigned) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in assigned)


# ---------------------------------------------------------------- the stage that finds it out


async def identity_of(path: Path, unread: Ranges = (), claimed_bytes: int = 0) -> Identity:
    fd = os.open(path, os.O_RDONLY)
    try:
        return await IdentifyStage().run(fd, claimed_bytes or path.stat().st_size, unread, lambda done: None)
    finally:
        os.close(fd)


async def test_the_stage_finds_what_the_document_says(tmp_path: Path, image: bytes, vector: dict[str, str]) -> None:
    (tmp_path / "image").write_bytes(image)
    identity = await identity_of(tmp_path / "image")
    assert (identity.sample_hash, identity.image_hash) == (vector["medium_hash"], vector["image_hash"])
    assert (identity.why_assigned, identity.informative, identity.unread) == ("", True, ())
    assert [at for at, _ in identity.samples] == list(sample_positions(len(image)))


async def test_sectors_that_a_later_pass_rescues_do_not_change_the_identity(tmp_path: Path, image: bytes) -> None:
    first = image[:40_000] + bytes(4096) + image[44_096:]
    (tmp_path / "first").write_bytes(first)
    (tmp_path / "second").write_bytes(image)
    before = await identity_of(tmp_path / "first", ((40_000, 44_096),))
    after = await identity_of(tmp_path / "second")
    assert before.sample_hash == after.sample_hash
    assert before.image_hash != after.image_hash


async def test_one_unread_byte_in_a_sample_takes_the_natural_identity(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "image").write_bytes(image)
    identity = await identity_of(tmp_path / "image", ((98_304 + 4095, 98_304 + 4096),))
    assert identity.sample_hash is None
    assert "1 of the samples that identify a medium were not read" in identity.why_assigned
    assert 98_304 not in [at for at, _ in identity.samples]


async def test_what_a_map_claims_beyond_the_image_is_unread(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "image").write_bytes(image)
    identity = await identity_of(tmp_path / "image", (), 300_000)
    assert identity.unread == ((200_000, 300_000),)
    assert (identity.claimed_bytes, identity.image_bytes, identity.health.value) == (300_000, 200_000, "corrupt")


@pytest.mark.parametrize(("sectors", "natural"), [(15, False), (16, True)])
async def test_sixteen_sectors_of_content_tell_a_medium_from_others(
    tmp_path: Path, image: bytes, sectors: int, natural: bool
) -> None:
    (tmp_path / "image").write_bytes(bytes(100_000 // 512 * 512) + image[: sectors * 512] + b"\xf6" * 51_200)
    identity = await identity_of(tmp_path / "image")
    assert (identity.sample_hash is not None, identity.informative) == (natural, natural)


async def test_zero_bytes_are_never_an_identity(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(MediumError, match="zero bytes are no medium"):
        await identity_of(tmp_path / "empty")
    (tmp_path / "unread").write_bytes(bytes(4096))
    with pytest.raises(MediumError, match="not one byte of the medium was read"):
        await identity_of(tmp_path / "unread", ((0, 2048), (2048, 4096)))
