"""bubblewrap around the zygote, where the host has it: namespaces of its own, and only the files that Python needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
# not a user namespace, which bubblewrap makes by itself where it must: in one of its own, root can become nobody else
_NAMESPACES = ("--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
_PROBE_SECONDS = 10.0


@cache
def prefix(*folders: str) -> tuple[str, ...]:
    """The words before the zygote's command; none where bubblewrap is missing or may not make namespaces.

    folders: what must be readable beside the system's libraries and this Python.
    """
    program = shutil.which("bwrap")
    if program is None:
        return ()
    readable = [*_SYSTEM, *(str(Path(path).resolve()) for path in (sys.prefix, sys.base_prefix)), *folders]
    words = [program, *_NAMESPACES, "--die-with-parent", "--dev", "/dev", "--proc", "/proc"]
    for path in readable:
        words += ["--ro-bind-try", path, path]
    # root needs these two to become nobody; they do not outlive that
    command = (*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--")
    try:
        run = [*command, sys.executable, "-I", "-S", "-c", ""]
        works = subprocess.run(run, capture_output=True, timeout=_PROBE_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if works else ()
