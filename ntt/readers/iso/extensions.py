"""System use area of a record -> what CD-ROM XA and Apple's extension say of a file.

Sources: System Description CD-ROM XA, "Directory record"; Apple Technical Note FL 36, "ISO 9660 extensions".
"""

from __future__ import annotations

_XA_BYTES = 14  # owner, attributes, "XA", file number, reserved
_FORM_2, _INTERLEAVED, _AUDIO = 0x1000, 0x2000, 0x4000
FINDER_INFO = "com.apple.FinderInfo"


def xa_remark(area: bytes) -> str:
    """Why 2,048 bytes of each sector are not the whole of this file; empty for ordinary ones."""
    if area[6:8] != b"XA" or len(area) < _XA_BYTES:
        return ""
    attributes = int.from_bytes(area[4:6], "big")
    if attributes & _AUDIO:
        return "its content is CD audio (CD-ROM XA), which this volume does not hold"
    if attributes & (_FORM_2 | _INTERLEAVED):
        return "its sectors hold 2324 bytes of video or sound (CD-ROM XA form 2), of which 2048 at most can be read"
    return ""


def finder_attributes(area: bytes) -> tuple[tuple[str, bytes], ...]:
    """Type, creator and Finder flags as an attribute of 32 bytes; nothing where Apple's extension is not used."""
    at = _XA_BYTES if area[6:8] == b"XA" else 0
    while at + 4 <= len(area) and area[at + 2] >= 4:
        entry = area[at : at + area[at + 2]]
        if entry[:2] == b"AA" and len(entry) >= 14 and entry[3] == 2:
            return ((FINDER_INFO, entry[4:14] + bytes(22)),)
        at += area[at + 2]
    return ()
