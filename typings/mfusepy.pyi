"""The part of mfusepy that the benchmarks use."""

class FuseOSError(OSError):
    def __init__(self, errno: int) -> None: ...

class Operations: ...

class FUSE:
    def __init__(
        self,
        operations: Operations,
        mountpoint: str,
        *,
        foreground: bool = ...,
        ro: bool = ...,
        fsname: str = ...,
    ) -> None:
        """Serves until it is unmounted."""
