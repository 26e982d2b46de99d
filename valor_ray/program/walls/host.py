"""What an interpreter knows of its host, its installation and its driver: forgotten before any program comes.

This module is loaded in the sandbox too: standard library only.
"""

from __future__ import annotations

import gc
import os
import sys
from types import CodeType, FunctionType

_WHERE = "<library>"  # in place of a source file's path
_LISTS = ("argv", "orig_argv", "path", "warnoptions", "path_hooks")
_PATHS = (
    "executable", "_base_executable", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "_stdlib_dir",
    "pycache_prefix",
)  # fmt: skip
_OF_MODULES: dict[str, list[str] | None] = {
    "__file__": None,
    "__cached__": None,
    "__path__": [],
    "__loader__": None,
}


def forget_host() -> None:
    """Drop environment, arguments, paths and names of the host; nothing can be imported from a file afterwards.

    Frames that are running keep their code's path: call it from one that ends.
    """
    executable = sys.executable
    os.environ.clear()
    for name in _LISTS:
        getattr(sys, name).clear()
    for name in _PATHS:
        setattr(sys, name, None)
    sys.path_importer_cache.clear()
    sys._xoptions.clear()
    if "platform" in sys.modules:
        vars(sys.modules["platform"]).update(_uname_cache=None)
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        if spec is not None:
            vars(spec).update(loader=None, origin=None, loader_state=None, _cached=None)
            if spec.submodule_search_locations is not None:
                spec.submodule_search_locations = []
    seen: dict[CodeType, CodeType] = {}
    for each in gc.get_objects():
        if type(each) is dict and "__name__" in each:  # of a module, or what Python keeps to make it again
            each.update({name: value for name, value in _OF_MODULES.items() if name in each})
        elif type(each) is FunctionType:
            each.__code__ = _without_path(each.__code__, seen)
            if each.__defaults__ and executable in each.__defaults__[:1]:  # of platform.architecture
                each.__defaults__ = ("", *each.__defaults__[1:])


def _without_path(code: CodeType, seen: dict[CodeType, CodeType]) -> CodeType:
    if not code.co_filename.startswith("/"):
        return code
    if code not in seen:
        inner = tuple(_without_path(c, seen) if isinstance(c, CodeType) else c for c in code.co_consts)
        seen[code] = code.replace(co_filename=_WHERE, co_consts=inner)
    return seen[code]
