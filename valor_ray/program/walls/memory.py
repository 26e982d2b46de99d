"""Memory that a program gets holds nothing of others, and what it gives back leaves the process.

This module is loaded in the sandbox too: standard library and numpy.
"""

from __future__ import annotations

import ctypes
from typing import ClassVar

from numpy._core import multiarray

_M_MMAP_THRESHOLD = -3  # of glibc's mallopt
_LARGE = 128 << 10  # bytes; glibc's own first threshold, which it raises by itself unless it is set
_PYMEM_DOMAIN_RAW = 0
_SET_HANDLER = 304  # PyDataMem_SetHandler in numpy's table of C functions, numpy 1.22 and later
_NAME = b"zeroed"


class _PyAllocator(ctypes.Structure):
    """PyMemAllocatorEx of CPython."""

    _fields_: ClassVar = [(name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free")]


class _Handler(ctypes.Structure):
    """PyDataMem_Handler of numpy, version 1: its functions are those of PyMemAllocatorEx, `free` gets a size too."""

    _fields_: ClassVar = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("allocator", _PyAllocator),
    ]


_handler = _Handler(_NAME, 1)  # numpy keeps its address


def zero_new_arrays() -> None:
    """From now on every array of numpy begins as zeros, also one that nobody fills (`np.empty`, `where=` alone).

    numpy's malloc becomes `calloc(1, size)`, with that 1 in the place of the allocator's context; the rest is Python's
    own. Raises RuntimeError where numpy does not take it.
    """
    api = ctypes.pythonapi
    api.PyMem_GetAllocator(_PYMEM_DOMAIN_RAW, ctypes.byref(_handler.allocator))
    _handler.allocator.ctx = 1
    _handler.allocator.malloc = ctypes.cast(ctypes.CDLL(None).calloc, ctypes.c_void_p).value
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    table = api.PyCapsule_GetPointer(multiarray._ARRAY_API, None)
    set_handler = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[_SET_HANDLER]
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsule = api.PyCapsule_New(ctypes.addressof(_handler), b"mem_handler", None)
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(set_handler)(capsule)
    if multiarray.get_handler_name() != _NAME.decode():
        raise RuntimeError("numpy does not take an allocator that zeroes memory")


def return_large_blocks() -> None:
    """Large blocks are mapped and unmapped one by one, also after many: nothing of them stays with the process."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
