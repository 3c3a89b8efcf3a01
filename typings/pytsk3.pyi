"""The part of pytsk3 that NTT uses. Every failure of The Sleuth Kit is an OSError."""

from collections.abc import Iterator
from typing import SupportsInt

TSK_IMG_TYPE_EXTERNAL: SupportsInt
TSK_FS_TYPE_EXT_DETECT: SupportsInt
TSK_FS_TYPE_FAT_DETECT: SupportsInt
TSK_FS_TYPE_FAT12: SupportsInt
TSK_FS_TYPE_FAT16: SupportsInt
TSK_FS_TYPE_FAT32: SupportsInt
TSK_FS_TYPE_EXFAT: SupportsInt
TSK_FS_TYPE_NTFS: SupportsInt
TSK_FS_NAME_FLAG_ALLOC: SupportsInt
TSK_FS_META_FLAG_ALLOC: SupportsInt
TSK_FS_META_TYPE_DIR: SupportsInt
TSK_FS_META_TYPE_VIRT: SupportsInt
TSK_FS_META_TYPE_VIRT_DIR: SupportsInt

class Img_Info:
    def __init__(self, url: str = ..., type: SupportsInt = ...) -> None: ...
    def read(self, offset: int, size: int) -> bytes: ...
    def get_size(self) -> int: ...
    def close(self) -> None: ...

class TSK_FS_INFO:
    block_size: int
    block_count: int
    root_inum: int
    last_inum: int
    ftype: SupportsInt

class TSK_FS_META:
    addr: int
    type: SupportsInt
    flags: SupportsInt
    size: int
    seq: int

class TSK_FS_NAME:
    name: bytes
    flags: SupportsInt
    type: SupportsInt
    meta_addr: int
    meta_seq: int

class TSK_FS_FILE:
    meta: TSK_FS_META | None
    name: TSK_FS_NAME | None

class TSK_FS_ATTR:
    type: SupportsInt
    id: int
    name: bytes | None
    flags: SupportsInt
    size: int

class TSK_FS_ATTR_RUN:
    addr: int
    len: int
    offset: int
    flags: SupportsInt

class Attribute:
    info: TSK_FS_ATTR
    def __iter__(self) -> Iterator[TSK_FS_ATTR_RUN]: ...

class File:
    info: TSK_FS_FILE
    def __iter__(self) -> Iterator[Attribute]: ...
    def read_random(self, offset: int, length: int, type: int = ..., id: int = ...) -> bytes: ...

class Directory:
    def __iter__(self) -> Iterator[File]: ...

class FS_Info:
    info: TSK_FS_INFO
    def __init__(self, img: Img_Info, offset: int = ..., type: SupportsInt = ...) -> None: ...
    def open_meta(self, inode: int) -> File: ...
    def open_dir(self, path: str = ..., inode: int = ...) -> Directory: ...
