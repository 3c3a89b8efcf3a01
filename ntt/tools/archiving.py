"""Argument lists of tar and zstd for archives."""

from __future__ import annotations


def tar_create(folder: str) -> list[str]:
    """Writes to standard output what is named on standard input, each name ended by a NUL, as the names come.

    Names are taken below `folder`; links are followed, owners are not kept; pieces of 256 KiB, not tar's 10.
    """
    return [
        "tar", "--create", "--file=-", "--format=posix", "--blocking-factor=512", "--dereference",
        "--owner=0", "--group=0", "--numeric-owner",
        "--pax-option=delete=atime,delete=ctime", "--directory", folder, "--null", "--verbatim-files-from",
        "--files-from=-",
    ]  # fmt: skip


def zstd_compress(level: int) -> list[str]:
    """Standard input -> standard output, all cores, with a checksum of the content."""
    return ["zstd", "--quiet", f"-{level}", "--threads=0", "--check", "--stdout"]


def zstd_decompress(path: str) -> list[str]:
    """The file -> standard output; a wrong checksum or a short file ends it with a non-zero status."""
    return ["zstd", "--quiet", "--decompress", "--stdout", "--", path]
