"""First bytes, or samples of all -> volumes whose files need a key: named, or guessed where they hide what they are."""

from __future__ import annotations

import uuid
from collections import Counter
from math import log2

from ntt.model import Route
from ntt.readers.detection.samples import Recognised, Sample

BITLOCKER_GUIDS = tuple(
    uuid.UUID(text).bytes_le
    for text in ("4967D63B-2E29-4AD8-8399-F6A339E3D001", "92A84D3B-DD80-4D0E-9E4E-B1E3284EAED8")
)
UNLOCK_BITLOCKER = "unlock it with `dislocker` and its password or recovery key, then ingest the unlocked image"
RANDOM_SAMPLES = 64
RANDOM_BYTES = 4096
RANDOM_LEAST = 1 << 20  # a smaller volume gives too few samples to guess from
ENTROPY = 7.85  # bits per byte; 4 KiB of random bytes have 7.95, text 4 to 5, machine code 6


def encrypted(sample: Sample) -> Recognised | None:
    """LUKS, BitLocker and Apple CoreStorage say what they are."""
    head = sample.at(0, 512)
    if head[:6] == b"LUKS\xba\xbe" and head[6:8] in (b"\0\x01", b"\0\x02"):
        version = head[7]
        name = head[168:208].split(b"\0")[0].decode("ascii", "replace")
        return Recognised(
            f"luks{version}",
            Route.NONE,
            0,
            f"this volume is encrypted with LUKS{version}{f' (UUID {name})' if name else ''}: "
            "its files cannot be read without the key",
            "unlock it read-only (`cryptsetup open --readonly`) with its passphrase, then ingest the unlocked image",
        )
    to_go = head[424:440] in BITLOCKER_GUIDS
    if head[3:11] == b"-FVE-FS-" or to_go or (head[:1] in b"\xeb\xe9" and head[160:176] in BITLOCKER_GUIDS):
        name = "BitLocker To Go" if to_go else "BitLocker"
        finding = f"this volume is encrypted with {name}: its files cannot be read without the key"
        return Recognised("bitlocker", Route.NONE, 0, finding, UNLOCK_BITLOCKER)
    if head[88:90] == b"CS" and head[8:12] == b"\x01\0\x10\0":
        return Recognised(
            "corestorage",
            Route.NONE,
            int.from_bytes(head[64:72], "little"),
            "an Apple CoreStorage volume (FileVault 2, or part of a Fusion Drive): its files are not read here",
            "unlock it with `fvdemount` (libfvde) and its password or recovery key, then ingest the unlocked image",
        )
    return None


def looks_random(sample: Sample) -> Recognised | None:
    """A guess: every sample of a volume without any signature is as even as random numbers are.

    Unread parts are left out; too few samples are no guess.
    """
    if sample.size_bytes < RANDOM_LEAST:
        return None
    step = sample.size_bytes // RANDOM_SAMPLES
    looked_at = 0
    for position in range(0, sample.size_bytes - RANDOM_BYTES + 1, step):
        content = sample.source.read(sample.offset_bytes + position, RANDOM_BYTES)
        if not any(content) and sample.source.unread:
            continue
        if _entropy(content) < ENTROPY:
            return None
        looked_at += 1
    if looked_at < RANDOM_SAMPLES // 2:
        return None
    return Recognised(
        "random",
        Route.NONE,
        0,
        "looks encrypted (VeraCrypt, a volume without its header) or wiped with random data: "
        f"{looked_at} samples hold no pattern and no signature; this is a guess",
        "ask for a password, a key file or a detached header; if there is none, nothing can be read",
    )


def _entropy(content: bytes) -> float:
    return -sum(count / len(content) * log2(count / len(content)) for count in Counter(content).values())
