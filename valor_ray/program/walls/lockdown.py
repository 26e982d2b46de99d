"""What a process gives up before it runs a program: descriptors, resources, its user, files, and system calls.

This module is loaded in the sandbox too: standard library only.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
from dataclasses import dataclass

from valor_ray.program.walls import seccomp

SOCKET_FD = 3  # the only descriptor that a program has
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same numbers on x86_64 and aarch64
_LANDLOCK_FILES_V1 = (1 << 13) - 1  # every file right of the first version


@dataclass(frozen=True)
class Limits:
    cpu_seconds: float
    memory_bytes: int  # address space on top of what the zygote already maps


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; `parent` is who that must still be."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def close_files() -> bool:
    """Landlock: this process and its children open no file any more. False where the kernel has no Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    rights = ctypes.c_uint64(_LANDLOCK_FILES_V1)
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(rights), ctypes.sizeof(rights), 0)
    if ruleset < 0:
        return False
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    restricted = libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return restricted


def mapped_bytes() -> int:
    """The address space of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def can_drop_user() -> bool:
    """Whether programs can run as another user: needs root, in a user namespace that has a nobody."""
    if os.geteuid() != 0:
        return False
    child = os.fork()
    if child == 0:
        try:
            _drop_user()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def lock_down(socket_fd: int, parent: int, limits: Limits, drop_user: bool, filter_code: bytes) -> None:
    """Called once in the forked process, before it has seen the program. Raises OSError if any wall cannot be built."""
    os.dup2(socket_fd, SOCKET_FD)
    os.closerange(0, SOCKET_FD)
    os.closerange(SOCKET_FD + 1, 1 << 20)
    cpu = math.ceil(limits.cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))  # SIGXCPU, which says why; SIGKILL a second later
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    for nothing in (
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_CORE,
        resource.RLIMIT_NOFILE,
        resource.RLIMIT_NPROC,
    ):
        resource.setrlimit(nothing, (0, 0))
    if drop_user:
        _drop_user()
    die_with_parent(parent)  # after the change of user, which clears it
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    seccomp.install(filter_code)


def _drop_user() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
