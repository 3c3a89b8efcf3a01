"""Which system calls a worker may still make: a list of what it needs; every other one is answered ENOSYS.

ENOSYS, because the C library then falls back to an older call. The list is by name; libseccomp knows the
numbers of each architecture. libseccomp, "seccomp_rule_add(3)"; Linux, "Seccomp BPF".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from dataclasses import dataclass

_ALLOW = 0x7FFF0000
_NOT_THERE = 0x00050000 | errno.ENOSYS
_EQ, _MASKED_EQ = 4, 7
_ATTRIBUTE_NO_SSB_MITIGATION, _ATTRIBUTE_OPTIMIZE = 7, 8
_BINARY_TREE = 2
_UNKNOWN_CALL = -1
_FIEMAP = 0xC020660B  # ioctl: where a file lies, for files below a mount


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


_LIBSECCOMP = _library()  # now: nothing can be opened any more when it is needed

_DATA = "read readv pread64 preadv preadv2 write writev pwrite64 pwritev lseek _llseek fsync fdatasync close"
_ABOUT_FILES = "fstat fstat64 newfstatat fstatat64 statx fstatfs fstatfs64 dup fadvise64 fadvise64_64 recvmsg"
_MEMORY = "mmap mmap2 munmap mprotect mremap madvise brk membarrier"
_SIGNALS = "rt_sigaction rt_sigprocmask rt_sigreturn sigreturn sigaltstack rt_sigpending"
_TIME = (
    "clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep clock_nanosleep_time64 nanosleep "
    "gettimeofday time times getrusage"
)
_WAITING = "futex futex_time64 poll ppoll ppoll_time64 select pselect6 pselect6_time64 _newselect restart_syscall"
_ITSELF = (
    "getpid getppid gettid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 "
    "getresgid getresgid32 getgroups getgroups32 uname sysinfo getrandom capget getrlimit ugetrlimit setrlimit "
    "sched_yield sched_getaffinity getcpu set_robust_list rseq exit exit_group"
)
_ALWAYS = " ".join((_DATA, _ABOUT_FILES, _MEMORY, _SIGNALS, _TIME, _WAITING, _ITSELF)).split()
_BELOW_MOUNTS = ("getdents64", "readlinkat", "fgetxattr", "flistxattr")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)
_DESCRIPTOR_COMMANDS = (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that is allowed if its argument number `argument`, masked, is `value`."""

    name: str
    argument: int
    value: int
    mask: int | None = None


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Filter:
    """A filter that is being put together; OSError where the library is missing or the kernel refuses."""

    def __init__(self) -> None:
        library = _LIBSECCOMP
        if library is None:
            raise FileNotFoundError(errno.ENOENT, "libseccomp2 is not installed")
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = [ctypes.c_uint32]
        library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
        library.seccomp_load.argtypes = [ctypes.c_void_p]
        library.seccomp_release.argtypes = [ctypes.c_void_p]
        comparisons = ctypes.POINTER(_Comparison)
        library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, comparisons
        ]  # fmt: skip
        library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
        self._library = library
        self._context = library.seccomp_init(_NOT_THERE)

    def prefer_speed(self) -> None:
        """A tree instead of a list, no slower processor for it; libraries before 2.5 do without."""
        self._library.seccomp_attr_set(self._context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)
        self._library.seccomp_attr_set(self._context, _ATTRIBUTE_NO_SSB_MITIGATION, 1)

    def allow(self, name: str, *comparisons: _Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN_CALL:
            return  # a library older than the call
        array = (_Comparison * max(1, len(comparisons)))(*comparisons)
        _checked(self._library.seccomp_rule_add_array(self._context, _ALLOW, number, len(comparisons), array))

    def load(self) -> None:
        _checked(self._library.seccomp_load(self._context))
        self._library.seccomp_release(self._context)


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def limit_system_calls(*, reads_mounts: bool) -> None:
    """For good. Nothing can be opened (`reads_mounts`: for reading only), sent, started, renamed or cut off.

    OSError when there is no libseccomp or no such thing in the kernel; then nothing has changed.
    """
    filter_ = _Filter()
    filter_.prefer_speed()
    for name in (*_ALWAYS, *(_BELOW_MOUNTS if reads_mounts else ())):
        filter_.allow(name)
    for call in _with_conditions(os.getpid(), reads_mounts=reads_mounts):
        operator = _EQ if call.mask is None else _MASKED_EQ
        first, second = (call.value, 0) if call.mask is None else (call.mask, call.value)
        filter_.allow(call.name, _Comparison(call.argument, operator, first, second))
    filter_.load()


def _with_conditions(own_pid: int, *, reads_mounts: bool) -> list[_Call]:
    calls = [
        _Call("kill", 0, own_pid),
        _Call("tgkill", 0, own_pid),
        _Call("prlimit64", 0, 0),
        _Call("pwritev2", 5, 0),  # a flag lets it write elsewhere than at the end of a file open for appending
    ]
    # F_SETFL, which takes that away from a descriptor, is not among them
    calls += [_Call(name, 1, command) for name in ("fcntl", "fcntl64") for command in _DESCRIPTOR_COMMANDS]
    if reads_mounts:
        calls += [_Call("openat", 2, 0, _WRITING), _Call("ioctl", 1, _FIEMAP, 0xFFFFFFFF)]
    return calls
