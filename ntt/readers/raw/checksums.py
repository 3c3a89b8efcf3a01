"""A raw CD sector -> whether its user data are those that were written (ECMA-130, 14.3; CD-ROM XA)."""

from __future__ import annotations

from functools import cache

from ntt.readers.raw.headers import DATA_AT, USER_BYTES


def checksum_fits(sector: bytes, data_at: int) -> bool | None:
    """Its EDC: over header and data in mode 1, from the subheader on in XA form 1. None: the writer left it zero."""
    end = data_at + USER_BYTES
    stored = int.from_bytes(sector[end : end + 4], "little")
    begin = 0 if data_at == DATA_AT[1] else data_at - 8
    return stored == edc(sector[begin:end]) if stored else None


def edc(data: bytes) -> int:
    """CRC with the polynomial (x^16+x^15+x^2+1)(x^16+x^2+x+1), least significant bit first (ECMA-130, 14.3)."""
    crc = 0
    table = _edc_table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


@cache
def _edc_table() -> tuple[int, ...]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xD8018001 if value & 1 else 0)
        table.append(value)
    return tuple(table)
