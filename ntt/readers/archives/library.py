"""libarchive's C functions, as far as NTT calls them; loaded when the first archive is opened.

Formats and filters are named one by one: "all" would include filters that start other programs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_long, c_size_t, c_ssize_t, c_uint, c_void_p
from functools import cache
from typing import TYPE_CHECKING

from ntt.readers.base import ReadError

LIBRARY, PACKAGE = "libarchive.so.13", "libarchive13"
EOF, OK, RETRY, WARN, FAILED, FATAL = 1, 0, -10, -20, -25, -30
FORMAT_MASK, CPIO, TAR, EMPTY, AR, RAW = 0xFF0000, 0x10000, 0x30000, 0x60000, 0x70000, 0x90000
FORMATS = ("tar", "cpio", "7zip", "rar", "rar5", "zip_streamable", "cab", "lha", "ar", "xar", "empty", "raw")
FILTERS = ("gzip", "bzip2", "xz", "lzma", "zstd", "lz4", "lzip", "compress", "rpm")
READ_CALLBACK = CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, POINTER(c_void_p))
SEEK_CALLBACK = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_int64, c_int)
LC_CTYPE_MASK = 1
UTF_8, BYTES = b"C.UTF-8", b"C"  # in the locale C, names that are no ASCII come through as the bytes they are

if TYPE_CHECKING:
    Number = type[c_int] | type[c_int64] | type[c_uint] | type[c_long] | type[c_size_t]
    Pointer = type[ctypes._Pointer[c_void_p]] | type[ctypes._Pointer[c_int64]] | type[ctypes._Pointer[c_size_t]]
    Argument = Number | Pointer | type[c_void_p] | type[c_char_p] | type[ctypes._CFunctionType]

_SIGNATURES: dict[str, tuple[Argument, tuple[Argument, ...]]] = {
    "read_new": (c_void_p, ()),
    "read_free": (c_int, (c_void_p,)),
    "read_set_read_callback": (c_int, (c_void_p, READ_CALLBACK)),
    "read_set_seek_callback": (c_int, (c_void_p, SEEK_CALLBACK)),
    "read_set_callback_data": (c_int, (c_void_p, c_void_p)),
    "read_set_options": (c_int, (c_void_p, c_char_p)),
    "read_open1": (c_int, (c_void_p,)),
    "read_next_header": (c_int, (c_void_p, POINTER(c_void_p))),
    "read_data_block": (c_int, (c_void_p, POINTER(c_void_p), POINTER(c_size_t), POINTER(c_int64))),
    "error_string": (c_char_p, (c_void_p,)),
    "format": (c_int, (c_void_p,)),
    "format_name": (c_char_p, (c_void_p,)),
    "filter_count": (c_int, (c_void_p,)),
    "filter_name": (c_char_p, (c_void_p, c_int)),
    "filter_bytes": (c_int64, (c_void_p, c_int)),
    "entry_pathname": (c_char_p, (c_void_p,)),
    "entry_pathname_utf8": (c_char_p, (c_void_p,)),
    "entry_hardlink": (c_char_p, (c_void_p,)),
    "entry_symlink": (c_char_p, (c_void_p,)),
    "entry_mode": (c_uint, (c_void_p,)),
    "entry_size": (c_int64, (c_void_p,)),
    "entry_size_is_set": (c_int, (c_void_p,)),
    "entry_mtime": (c_int64, (c_void_p,)),
    "entry_mtime_nsec": (c_long, (c_void_p,)),
    "entry_uid": (c_int64, (c_void_p,)),
    "entry_gid": (c_int64, (c_void_p,)),
    "entry_rdevmajor": (c_uint, (c_void_p,)),
    "entry_rdevminor": (c_uint, (c_void_p,)),
    "entry_is_encrypted": (c_int, (c_void_p,)),
    "entry_sparse_reset": (c_int, (c_void_p,)),
    "entry_sparse_next": (c_int, (c_void_p, POINTER(c_int64), POINTER(c_int64))),
    **{f"read_support_format_{name}": (c_int, (c_void_p,)) for name in FORMATS},
    **{f"read_support_filter_{name}": (c_int, (c_void_p,)) for name in FILTERS},
}


class Library:
    """The functions without their prefix `archive_`. ReadError where the library is not installed."""

    def __init__(self) -> None:
        try:
            found = ctypes.CDLL(LIBRARY)
        except OSError:
            raise ReadError(f"archives are read with libarchive, which is not here: install {PACKAGE}") from None
        self._functions = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = found[f"archive_{name}"]
            function.restype = result
            function.argtypes = arguments
            self._functions[name] = function
        self._libc = ctypes.CDLL(None)
        self._libc.newlocale.restype = self._libc.uselocale.restype = c_void_p
        self._libc.newlocale.argtypes = (c_int, c_char_p, c_void_p)
        self._libc.uselocale.argtypes = (c_void_p,)
        self._locales = {name: self._libc.newlocale(LC_CTYPE_MASK, name, None) for name in (UTF_8, BYTES)}
        if not all(self._locales.values()):
            raise ReadError("the locale C.UTF-8, which names in archives need, is not here: install libc-bin")
        self.filters = self._filters_of_its_own()

    def number(self, name: str, *arguments: object) -> int:
        return int(self._functions[name](*arguments))

    def text(self, name: str, *arguments: object) -> bytes | None:
        found = self._functions[name](*arguments)
        return found if isinstance(found, bytes) else None

    def new(self) -> int:
        """A handle for reading; `free` it."""
        made = self._functions["read_new"]()
        if not made:
            raise MemoryError
        return int(made)

    def _filters_of_its_own(self) -> tuple[str, ...]:
        # a filter that was compiled out warns, and would start another program instead
        trial = self.new()
        found = tuple(name for name in FILTERS if self.number(f"read_support_filter_{name}", trial) == OK)
        self.number("read_free", trial)
        return found

    @contextmanager
    def names_in(self, locale: bytes) -> Iterator[None]:
        """Names are converted to this locale's characters, in this thread and block only."""
        before = self._libc.uselocale(self._locales[locale])
        try:
            yield
        finally:
            self._libc.uselocale(before)


@cache
def library() -> Library:
    return Library()
