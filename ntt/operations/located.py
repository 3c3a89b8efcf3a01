"""A path from a medium in a report: as text for JSON, exact beside it where text cannot be."""

from __future__ import annotations

from base64 import b64decode

import msgspec

from ntt.names import as_text, exact


class Located(msgspec.Struct, frozen=True, omit_defaults=True):
    """`path` shows replacement characters where it is not UTF-8, and `path_b64` then holds its bytes."""

    path: str
    reason: str
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)


def located(path: bytes, reason: str) -> Located:
    return Located(as_text(path), reason, exact(path))


def raw_path(path: str, path_b64: str | None) -> bytes:
    """The bytes behind a pair of `path` and `path_b64`."""
    return path.encode() if path_b64 is None else b64decode(path_b64)
