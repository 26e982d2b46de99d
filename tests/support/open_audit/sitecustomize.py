"""Loaded by every Python process whose PYTHONPATH names this folder: notes which files of truth and models it opens.

VALOR_OPEN_AUDIT names the log: a JSON line an opening, {"pid", "process", "path", "stack"}. Programs in the sandbox are
not seen: their interpreter starts without site hooks, and cannot open files at all.
"""

import json
import os
import sys

LOG = os.environ["VALOR_OPEN_AUDIT"]
NOTED = ("truth.jsonl", "config.json")  # the second shows that the processes with models are seen
_noting = False


def _note(event: str, args: tuple) -> None:
    global _noting
    if event != "open" or _noting or not isinstance(args[0], str | bytes | os.PathLike):
        return
    path = os.fsdecode(args[0])
    if not path.endswith(NOTED):
        return
    _noting = True
    try:
        frame, stack = sys._getframe(1), []
        while frame is not None:
            stack.append(frame.f_code.co_filename)
            frame = frame.f_back
        with open("/proc/self/cmdline", encoding="utf-8", errors="replace") as words:
            process = words.read().replace("\0", " ").strip()
        line = {"pid": os.getpid(), "process": process, "path": path, "stack": stack}
        with open(LOG, "a", encoding="utf-8") as log:  # a line is one write: lines of processes do not mix
            log.write(json.dumps(line) + "\n")
    finally:
        _noting = False


sys.addaudithook(_note)
