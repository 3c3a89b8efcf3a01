"""Tags, names, times and identifiers of UDF, right and wrong ones."""

from __future__ import annotations

import struct
from binascii import crc_hqx

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.readers.base import ReadError
from ntt.readers.udf.entries import file_entry, ino_of
from ntt.readers.udf.tags import cs0, dstring, identifier, is_descriptor, tag_kind, timestamp


def tagged(kind: int, location: int, body: bytes) -> bytes:
    tag = struct.pack("<HHBBHHHI", kind, 2, 0, 0, 0, crc_hqx(body, 0), len(body), location)
    return tag[:4] + bytes((sum(tag) & 0xFF,)) + tag[5:] + body


def test_a_sound_tag_tells_its_kind() -> None:
    block = tagged(261, 7, b"body") + bytes(100)
    assert tag_kind(block) == tag_kind(block, 7) == 261
    assert is_descriptor(block, 261, 7)
    assert not is_descriptor(block, 266, 7)
    assert not is_descriptor(block, 261, 8)


@pytest.mark.parametrize(("at", "why"), [(0, "checksum"), (4, "checksum"), (12, "checksum"), (17, "CRC")])
def test_a_changed_byte_is_noticed(at: int, why: str) -> None:
    block = bytearray(tagged(261, 7, b"body"))
    block[at] ^= 0x40
    with pytest.raises(ReadError, match=why):
        tag_kind(bytes(block), 7)


def test_a_tag_that_was_written_elsewhere_or_claims_too_much_is_refused() -> None:
    with pytest.raises(ReadError, match="belongs to block 7"):
        tag_kind(tagged(261, 7, b"body"), 8)
    with pytest.raises(ReadError, match="CRC"):
        tag_kind(tagged(261, 7, b"body")[:-1])
    with pytest.raises(ReadError, match="cut off"):
        tag_kind(b"\0" * 15)
    assert tag_kind(bytes(512), 7) == 0


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        (b"", b""),
        (b"\x08", b""),
        (b"\x08a\xfc\x80", "aü\x80".encode()),
        (b"\x10\x00a\x65\xe5", "a日".encode()),
        (b"\x10\xd8\x3d\xde\x00", "\U0001f600".encode()),
        (b"\x10\xd8\x3d\x00a", b"\xed\xa0\xbda"),
        (b"\x10\x00a\x00", b"a\x00"),
        (b"\xfea", b"a"),
        (b"\xff\x00a", b"a"),
    ],
)
def test_names_become_utf_8(stored: bytes, name: bytes) -> None:
    assert cs0(stored) == name


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(ReadError, match="unknown way"):
        cs0(b"\x07name")


@given(st.binary(max_size=300))
def test_no_bytes_of_a_name_are_more_than_the_readers_own_error(stored: bytes) -> None:
    for use in (cs0, tag_kind):
        try:
            use(stored)
        except ReadError:
            continue


def test_fixed_fields_end_where_their_last_byte_says() -> None:
    assert dstring(b"\x08label\0\0\0\x06") == "label"
    assert dstring(b"\x08label and what was there before\x06") == "label"
    assert dstring(bytes(32)) == ""
    assert dstring(b"\x08ab\xff") == "ab"
    assert dstring(b"\x63ab\x03") == ""


@given(st.binary(min_size=12, max_size=12))
def test_any_time_is_a_time_or_none(stored: bytes) -> None:
    found = timestamp(stored)
    assert found is None or 0 <= found[1] < 10**9


def test_a_time_with_its_zone() -> None:
    stored = struct.pack("<HhBBBBBBBB", 0x1000 | 60, 1970, 1, 1, 1, 0, 0, 1, 2, 3)
    assert timestamp(stored) == (0, 10_203_000)


def test_an_identifier_is_given_without_its_padding() -> None:
    assert identifier(b"\0*OSTA UDF Compliant".ljust(24, b"\0") + b"\x02\x01") == b"*OSTA UDF Compliant"


def test_a_file_entry_that_claims_more_than_its_block_is_refused() -> None:
    body = bytearray(512 - 16)
    struct.pack_into("<HHHBB", body, 4, 4, 0, 1, 0, 5)
    struct.pack_into("<II", body, 168 - 16, 0xFFFFFF00, 0x200)
    with pytest.raises(ReadError, match="more than its block holds"):
        file_entry(tagged(261, 3, bytes(body)), 0, 3, 0)
    with pytest.raises(ReadError, match="no file entry stands in block 3"):
        file_entry(tagged(257, 3, bytes(body)), 0, 3, 0)


def test_an_inode_number_holds_partition_and_block() -> None:
    assert ino_of(1, 5) == 1 << 32 | 5
    assert ino_of(0xFFFF, 0xFFFFFFFF) < 1 << 62
