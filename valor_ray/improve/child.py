"""A stage as a child process: it dies with the job, its stderr passes through, one JSON object is its result."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from valor_ray.improve.stages import Kind, Stage

_PR_SET_PDEATHSIG = 1
_END_S = 90.0  # for a stage that was told to end: Ray and engines take seconds
_WRITE_QUERIES = "import sys; from valor_ray.commands.train.write_queries import main; sys.exit(main())"


@dataclass(frozen=True)
class Ended:
    """How a stage's command ended."""

    code: int  # exit code; of a signal, as a shell has it: 137 for SIGKILL
    result: dict[str, Any] | None = None  # its --json; None: it failed
    message: str = ""  # why it failed, in its own words
    seconds: float = field(default=0.0, compare=False)


def launch(stage: Stage, words: Sequence[str]) -> Ended:
    """Run a stage's command with these words to its end. Raises KeyboardInterrupt, once the command has ended, too."""
    if stage.kind is Kind.QUESTIONS:
        return run_child([sys.executable, "-c", _WRITE_QUERIES, *words])
    return run_child([sys.executable, "-m", "valor_ray", *words])


def run_child(command: Sequence[str], *, quiet: bool = False) -> Ended:
    """quiet: what it says on stderr is kept back."""
    start, parent = time.monotonic(), os.getpid()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        start_new_session=True,  # a terminal's Ctrl-C comes to us alone, and once to it, from us
        preexec_fn=lambda: _end_with(parent),
    )
    try:
        said, _ = child.communicate()
    except BaseException:
        _end(child)
        raise
    code = child.returncode if child.returncode >= 0 else 128 - child.returncode
    return _read(said, code, time.monotonic() - start)


def _end_with(parent: int) -> None:
    """In the child: whatever ends the job, kill -9 included, tells the stage to end as Ctrl-C would."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        _kill(child)  # what ends the job is what ended the wait for it, not that it had to be killed
    except BaseException:
        _kill(child)
        raise


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(said: bytes, code: int, seconds: float) -> Ended:
    """The last line of stdout is the result, or {"error": …}."""
    line = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    try:
        result = json.loads(line) if line else None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        how = (
            f"was ended by signal {code - 128}"
            if code > 128
            else f"ended with exit code {code} and no result"
        )
        return Ended(code or 1, None, how, seconds)
    if set(result) == {"error"}:
        return Ended(code or 1, None, str(result["error"].get("message")), seconds)
    return Ended(code, result, str(result.get("stopped") or ""), seconds)
