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
open({ready!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""
PARENT = """
import sys
from valor_ray.commands.options import interrupt_on_signals
from valor_ray.improve.child import run_child
interrupt_on_signals()
try:
    run_child([sys.executable, "-c", {code!r}])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_job_ends_its_stage(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "pid"
    parent = subprocess.Popen(
        python(PARENT.format(code=WAITS.format(ready=str(ready)))), start_new_session=True
    )
    while not (ready.exists() and ready.read_text()):
        assert parent.poll() is None
        time.sleep(0.02)
    stage = psutil.Process(int(ready.read_text()))
    os.kill(parent.pid, number)
    assert parent.wait(60) == (-9 if number is signal.SIGKILL else 130)
    psutil.wait_procs([stage], timeout=60)
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE
