"""What a process takes from itself before it reads a file nobody vouches for: network, other processes, other files.

Two features of Linux that need neither root nor a library: a seccomp filter (system calls) and Landlock (paths).
Numbers are of the kernel's headers: ``asm/unistd.h``, ``linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from linkspan.reference.plans.syscalls import deny_system_calls

_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
#: Rights on a file that a kernel's version knows: each version's highest bit.
_FILE_RIGHTS = {1: 12, 2: 13, 3: 14, 4: 14, 5: 15}
_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_READS = _READ_FILE | _READ_DIR
_WRITES = _READS | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
_TCP, _ABSTRACT_SOCKETS_AND_SIGNALS = 0b11, 0b11
#: Where Python, the readers and what they load live; the configuration under /etc is none of it.
_LIBRARIES = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/proc/self")

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def seal(scratch: Path) -> list[str]:
    """From here on this process, which has one thread, opens no connection, starts no program, touches no other one,
    reads nothing but libraries and ``scratch``, and writes only there. Gives what of it cannot be had, as clauses.
    """
    if not sys.platform.startswith("linux"):
        return [f"{sys.platform} offers no seal: network and files are open to a plan's reader"]
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    missing = []
    try:
        _close_files(scratch)
    except OSError as error:
        missing.append(f"files are open to a plan's reader: {error.strerror}")
    try:
        deny_system_calls()
    except OSError as error:
        missing.append(f"network and programs are open to a plan's reader: {error.strerror}")
    return missing


def _close_files(scratch: Path) -> None:
    """Raises OSError where this kernel has no Landlock."""
    version = _call(_CREATE_RULESET, None, 0, _VERSION)
    rights = (2 << _FILE_RIGHTS.get(version, 15)) - 1
    wanted = _Ruleset(rights, _TCP if version >= 4 else 0, _ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(wanted), ctypes.sizeof(wanted), 0)
    try:
        for place in _readable():
            _allow(ruleset, place, _READS & rights)
        _allow(ruleset, str(scratch), _WRITES & rights)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _readable() -> Iterable[str]:
    return {*_LIBRARIES, sys.prefix, sys.base_prefix, sys.exec_prefix, *(place for place in sys.path if place)}


def _allow(ruleset: int, place: str, rights: int) -> None:
    try:
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, so nobody reads it
    try:
        kept = rights if Path(place).is_dir() else rights & ~_READ_DIR
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_PathRule(kept, opened)), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    answer = int(_libc.syscall(ctypes.c_long(number), *passed))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return answer
