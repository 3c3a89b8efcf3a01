"""Argument lists of tar and zstd for archives."""

from __future__ import annotations

from collections.abc import Sequence


def tar_create(folder: str, members: Sequence[str]) -> list[str]:
    """Writes `members` of `folder` to standard output; links are followed, owners are not kept."""
    return [
        "tar", "--create", "--file=-", "--format=posix", "--dereference", "--owner=0", "--group=0", "--numeric-owner",
        "--pax-option=delete=atime,delete=ctime", "--directory", folder, "--", *members,
    ]  # fmt: skip


def zstd_compress(level: int) -> list[str]:
    """Standard input -> standard output, all cores, with a checksum of the content."""
    return ["zstd", "--quiet", f"-{level}", "--threads=0", "--check", "--stdout"]


def zstd_decompress(path: str) -> list[str]:
    """The file -> standard output; a wrong checksum or a short file ends it with a non-zero status."""
    return ["zstd", "--quiet", "--decompress", "--stdout", "--", path]
