"""Taking the network, and the right to write files, from a process that is about to start.

`cut_off` runs between fork and exec. It moves the process into a user, a network and a mount namespace of its own:
there is no network interface that leads anywhere, every file system is read-only, and exec drops the rights over the
new namespaces, so that nothing of it can be undone. It needs no privilege, but some hosts and containers forbid it;
there a seccomp filter refuses sockets and all that could borrow another process's, while files stay as writable as they
were.

Linux only. What the process may still do, either way, is read what its user may read, and write to what it was handed.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import resource
import signal
import socket
import struct

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2

# By machine: the name that seccomp has for it, and the numbers of socket, ptrace, process_vm_readv and _writev.
_SYSCALLS = {
    "x86_64": (0xC000003E, (41, 101, 310, 311)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271)),
}
_IO_URING_SETUP, _PIDFD_GETFD = 425, 438
_OTHER_NUMBERING = 0x40000000  # x32, which would walk around the filter
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_NUMBER_AT, _MACHINE_AT = 0, 4

_NOWHERE = ("127.0.0.1", 9)
_CUT = frozenset({errno.ENETUNREACH, errno.EPERM, errno.EACCES})


def cut_off(*, cpu_seconds: int, file_bytes: int) -> None:
    """For `preexec_fn`. Raises: OSError where neither way is open; the process then does not start."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for what, value in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))
    is_apart = _move_apart(libc)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if not is_apart:
        _filter_system_calls(libc)


def is_cut_off() -> bool:
    """Whether this process reaches nothing, not even its own machine: tried, not believed."""
    try:
        with socket.socket() as probe:
            probe.settimeout(1)
            probe.connect(_NOWHERE)
    except OSError as error:
        return error.errno in _CUT
    return False


def _move_apart(libc: ctypes.CDLL) -> bool:
    """Into namespaces of its own, where nothing can be written; whether the host allows it."""
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWNS):
        return False
    attributes = struct.pack("<QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    everything = (_AT_FDCWD, b"/", _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes)))
    return bool(libc.syscall(_MOUNT_SETATTR, *everything) == 0)


def _filter_system_calls(libc: ctypes.CDLL) -> None:
    machine, numbers = _SYSCALLS[platform.machine()]
    refused = (*numbers, _IO_URING_SETUP, _PIDFD_GETFD)
    instructions = [
        _instruction(_LOAD, _MACHINE_AT),
        _instruction(_IF_EQUAL, machine, yes=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER_AT),
        _instruction(_IF_AT_LEAST, _OTHER_NUMBERING, yes=len(refused) + 1),
        *(_instruction(_IF_EQUAL, number, yes=len(refused) - index) for index, number in enumerate(refused)),
        _instruction(_RETURN, _ALLOW),
        _instruction(_RETURN, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = struct.pack("HxxxxxxQ", len(instructions), ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _instruction(code: int, value: int, *, yes: int = 0) -> bytes:
    """One of a filter: `yes` says how many to skip when the comparison holds."""
    return struct.pack("HBBI", code, yes, 0, value)
