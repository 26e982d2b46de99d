"""The system-call filter of a program: an allow-list as classic BPF, built without libseccomp.

A program may read and write its one socket, manage memory (never executable), read clocks and end. Everything else
fails with EPERM, which Python shows as PermissionError; calls that only an attack makes end the process (SIGSYS).
This module is loaded in the sandbox too: standard library only.
"""

from __future__ import annotations

import ctypes
import os
import struct

# Numbers from the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_ALLOWED = {
    "x86_64": {
        "munmap": 11,
        "brk": 12,
        "rt_sigreturn": 15,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "getpid": 39,
        "exit": 60,
        "gettimeofday": 96,
        "time": 201,
        "futex": 202,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_getres": 229,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "getrandom": 318,
    },
    "aarch64": {
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "nanosleep": 101,
        "clock_gettime": 113,
        "clock_getres": 114,
        "clock_nanosleep": 115,
        "sched_yield": 124,
        "restart_syscall": 128,
        "rt_sigreturn": 139,
        "gettimeofday": 169,
        "getpid": 172,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "madvise": 233,
        "getrandom": 278,
    },
}
_ON_THE_SOCKET = {"x86_64": {"read": 0, "write": 1}, "aarch64": {"read": 63, "write": 64}}
_NOT_EXECUTABLE = {"x86_64": {"mmap": 9, "mprotect": 10}, "aarch64": {"mmap": 222, "mprotect": 226}}
_ATTACKS = {
    "x86_64": {
        "execve": 59,
        "ptrace": 101,
        "mount": 165,
        "init_module": 175,
        "kexec_load": 246,
        "keyctl": 250,
        "unshare": 272,
        "perf_event_open": 298,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "finit_module": 313,
        "bpf": 321,
        "execveat": 322,
        "userfaultfd": 323,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "mount": 40,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "ptrace": 117,
        "keyctl": 219,
        "execve": 221,
        "perf_event_open": 241,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "finit_module": 273,
        "bpf": 280,
        "execveat": 281,
        "userfaultfd": 282,
        "io_uring_setup": 425,
    },
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000  # x86_64 only: the same calls under other numbers

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# offsets in struct seccomp_data; arguments are little-endian, low word first
_NR, _ARCH, _ARG0, _ARG2 = 0, 4, 16, 32
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # 1 = EPERM
_PROT_EXEC = 4

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class SeccompError(OSError):
    """This machine cannot filter system calls."""


def build(socket_fd: int, machine: str | None = None) -> bytes:
    """The filter as BPF instructions. `machine`: x86_64 or aarch64, by default this one. Raises SeccompError."""
    machine = machine or os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise SeccompError(f"no system-call table for {machine}; there are {', '.join(_AUDIT_ARCH)}")
    code = [_op(_LOAD, _ARCH), _op(_EQUAL, _AUDIT_ARCH[machine], 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NR)]
    if machine == "x86_64":
        code += [_op(_AT_LEAST, _X32_BIT, 0, 1), _op(_RETURN, _KILL)]
    for number in _ALLOWED[machine].values():
        code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _ALLOW)]
    for number in _ATTACKS[machine].values():
        code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _KILL)]
    for number in _ON_THE_SOCKET[machine].values():
        code += [_op(_EQUAL, number, 0, 4), _op(_LOAD, _ARG0)]
        code += [_op(_EQUAL, socket_fd, 0, 1), _op(_RETURN, _ALLOW), _op(_RETURN, _DENY)]
    for number in _NOT_EXECUTABLE[machine].values():
        code += [_op(_EQUAL, number, 0, 4), _op(_LOAD, _ARG2)]
        code += [_op(_ANY_BIT, _PROT_EXEC, 1, 0), _op(_RETURN, _ALLOW), _op(_RETURN, _DENY)]
    return b"".join([*code, _op(_RETURN, _DENY)])


def install(filter_code: bytes) -> None:
    """Bind the calling process to the filter, for ever. Raises SeccompError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(filter_code) // 8, filter_code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise SeccompError(ctypes.get_errno(), "the kernel refuses a system-call filter")


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction: struct sock_filter {u16 code; u8 jt; u8 jf; u32 k}."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
