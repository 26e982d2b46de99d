"""A stage's process: what it says, how it ended, and that it does not outlive the job."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from valor_ray.improve.child import run_child


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_stderr_passes_through_and_the_last_line_of_stdout_is_the_result(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = "import sys; print('step 1 of 2', file=sys.stderr); print('noise'); print('{\"images\": 3}')"
    ended = run_child(python(code))
    assert (ended.code, ended.result, ended.message) == (0, {"images": 3}, "")
    assert capfd.readouterr() == ("", "step 1 of 2\n")


def test_a_plan_that_is_asked_for_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    run_child(python("import sys; print('starting', file=sys.stderr); print('{}')"), quiet=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "ended_with", "message"),
    [
        ("""print('{"error": {"code": "config", "message": "no key"}}'); raise SystemExit(2)""", 2, "no key"),
        ("""print('{"steps": 3, "stopped": "kl"}'); raise SystemExit(1)""", 1, "kl"),
        ("raise SystemExit(3)", 3, "ended with exit code 3 and no result"),
        ("print('half a li')", 1, "ended with exit code 0 and no result"),
        ("import os; os.kill(os.getpid(), 9)", 137, "was ended by signal 9"),
    ],
)
def test_an_end_is_told_with_its_code_and_its_own_words(code: str, ended_with: int, message: str) -> None:
    ended = run_child(python(code))
    assert (ended.code, ended.message) == (ended_with, message)
    assert (ended.result is None) is ("stopped" not in code)


WAITS = """
import os, sys, time, signal
signal.signal(signal.SIGTERM, signal.{on_sigterm})
open({ready!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""
PARENT = """
import sys
from valor_ray.commands.options import interrupt_on_signals
from valor_ray.improve import child
from valor_ray.improve.child import run_child
child._END_S = {end_s}
interrupt_on_signals()
try:
    run_child([sys.executable, "-c", {code!r}])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_job_ends_its_stage(tmp_path: Path, number: signal.Signals) -> None:
    parent, stage, _ = waiting(tmp_path, "SIG_DFL", end_s=90)
    os.kill(parent.pid, number)
    assert parent.wait(60) == (-9 if number is signal.SIGKILL else 130)
    psutil.wait_procs([stage], timeout=60)
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE


def test_a_stage_that_does_not_end_is_killed_and_the_job_ends_as_it_was_told(tmp_path: Path) -> None:
    parent, stage, errors = waiting(tmp_path, "SIG_IGN", end_s=0.2)
    os.kill(parent.pid, signal.SIGINT)
    assert parent.wait(60) == 130 and "Traceback" not in errors.read_text()
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE


def waiting(
    tmp_path: Path, on_sigterm: str, end_s: float
) -> tuple[subprocess.Popen[bytes], psutil.Process, Path]:
    """A job and its stage, which waits; what the job says on stderr."""
    ready, errors = tmp_path / "pid", tmp_path / "errors"
    code = WAITS.format(ready=str(ready), on_sigterm=on_sigterm)
    with errors.open("wb") as said:
        parent = subprocess.Popen(
            python(PARENT.format(code=code, end_s=end_s)), start_new_session=True, stderr=said
        )
    while not (ready.exists() and ready.read_text()):
        assert parent.poll() is None
        time.sleep(0.02)
    return parent, psutil.Process(int(ready.read_text())), errors
