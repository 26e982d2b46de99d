"""What a program leaves in the process that ran it: tidied away where it has no owner, and otherwise found.

The gate lets nothing through that could leave anything; this does not take its word for it. What is found costs the
worker its life and the program a fork, so no verdict rests on a process that another program has changed.
"""

from __future__ import annotations

import atexit
import builtins
import decimal
import enum
import functools
import gc
import locale
import random
import re
import sys
import warnings
from typing import Any

import numpy as np

from valor_ray.program.inside import execution
from valor_ray.program.inside.namespace import IMPORTABLE, SYS

# Objects that libraries may keep (a worker's life long): a cache filled for the first time, a name looked up.
_MOST_BLOCKS = 3000


class Residue:
    """A process as it is before any program, to be compared with what it is after one.

    Made in the zygote, with everything loaded, before `gc.freeze`. `tidy` after each run, `left` after each program.
    """

    def __init__(self) -> None:
        found = gc.get_objects()
        self._caches = [each for each in found if isinstance(each, functools._lru_cache_wrapper)]
        # combinations of flags, which an enumeration keeps for good
        self._flags = [(kind._value2member_map_, len(kind._value2member_map_)) for kind in _below(enum.Flag)]
        modules = [sys.modules[name] for name in (*IMPORTABLE, "builtins", "numpy.linalg") if name != "sys"]
        self._modules = [(module.__name__, vars(module), dict(vars(module))) for module in (*modules, SYS)]
        self.tidy()
        self._state = _state()
        self._blocks = sys.getallocatedblocks()

    def tidy(self) -> None:
        """Take away what nobody owns: cycles, and what the library remembers of texts, flags and types."""
        gc.collect()
        re.purge()
        for cache in self._caches:
            cache.cache_clear()
        for members, own in self._flags:
            while len(members) > own:
                members.popitem()

    def left(self) -> str:
        """What differs from before, in words; empty: nothing."""
        for name, now, before in self._modules:
            if now != before:
                return f"the module {name} differs"
        now = _state()
        for what, value in self._state.items():
            if now[what] != value:
                return f"{what} differs"
        if not execution.depth_is_as_set():
            return "the recursion limit differs"
        grown = sys.getallocatedblocks() - self._blocks
        return f"{grown} objects stay" if grown > _MOST_BLOCKS else ""


def _state() -> dict[str, Any]:
    """Whatever of a process a program could set, and another would notice."""
    return {
        "sys.modules": list(sys.modules),
        "a hook": (sys.excepthook, sys.displayhook, sys.unraisablehook, sys.gettrace(), sys.getprofile()),
        "the collector": (gc.isenabled(), gc.get_threshold(), len(gc.garbage), len(gc.callbacks)),
        "an interpreter flag": (sys.getswitchinterval(), sys.get_int_max_str_digits()),
        "what runs at exit": atexit._ncallbacks(),
        "numpy's error handling": (np.geterr(), np.geterrcall(), np.getbufsize()),
        "numpy's printing": np.get_printoptions(),
        "random's state": random.getstate(),
        "the decimal context": repr(decimal.getcontext()),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the warning filters": list(warnings.filters),
        "the number of builtins": len(vars(builtins)),
    }


def _below(kind: type) -> list[Any]:
    """All subclasses."""
    direct: list[Any] = kind.__subclasses__()
    return direct + [each for one in direct for each in _below(one)]
