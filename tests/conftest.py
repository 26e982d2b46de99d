"""What every test gets: a hard time limit with a traceback, and a check that no process outlives the session.

Two processes of pytest share the files (make test, pytest-xdist): each looks after what its own tests have started.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest
from files_in_turn import FilesInTurn, longest_first

LIMIT_S = 120
GRACE_S = 15.0  # Ray's and vLLM's processes take seconds to end
TAG = "VALOR_TEST_SESSION"
DAY = "VALOR_TEST_DAY"
BEGUN = time.monotonic()
os.environ.setdefault(DAY, str(date.today().toordinal()))  # the same for all processes of pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--begin-within",
        type=float,
        metavar="MINUTES",
        help="skip tests that have not begun by then, others each day: for CI, which lands nothing when it is late",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if items and config.getoption("begin_within") is not None:
        first = int(os.environ[DAY]) * 7 % len(items)
        items[:] = items[first:] + items[:first]
    elif hasattr(config, "workerinput"):
        items[:] = longest_first(items, LIMIT_S)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return FilesInTurn(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    limit = item.config.getoption("begin_within")
    if limit is not None and time.monotonic() - BEGUN > 60 * limit:
        pytest.skip(f"not begun within {limit:g} minutes: make test-slow runs it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0]) if marker else LIMIT_S

    def stop(_signal: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
        pytest.fail(f"took longer than {seconds:g} s", pytrace=False)

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist starts its workers, who inherit the tag
def pytest_sessionstart(session: pytest.Session) -> None:
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    os.environ[TAG] = f"{os.environ[TAG]}-{worker}" if worker else uuid.uuid4().hex
    if session.config.getoption("numprocesses", None):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        # a line for each test's result, and none for its start
        type(reporter).showlongtestinfo = reporter.showfspath = False


@pytest.hookimpl(trylast=True)  # after the workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    if decoding := sys.modules.get("valor_ray.decoding.pool"):
        decoding.POOL.close()  # which a process does by itself only at its very end
    left = [*getattr(session.config, "left_by_workers", []), *_end(_wait_for_end(_descendants()))]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = left
        return
    for process in left:
        print(f"\nLEFT RUNNING: {process}", file=sys.__stderr__)
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker has ended: what it has found running at its end fails the session."""
    config = node.config
    config.left_by_workers = [
        *getattr(config, "left_by_workers", []), *getattr(node, "workeroutput", {}).get("left", ())
    ]  # fmt: skip


def _descendants() -> list[psutil.Process]:
    """Children, and processes that were re-parented but carry this session's tag in their environment."""
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        try:
            tag = process.environ().get(TAG, "")
            if tag.startswith(os.environ[TAG]) and process.pid != os.getpid():
                found[process.pid] = process
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return [process for process in found.values() if not _ends_with_its_parent(_describe(process))]


def _ends_with_its_parent(described: str) -> bool:
    """Python's own helpers, which see their parent's end."""
    return "resource_tracker" in described or "multiprocessing.forkserver" in described


def _wait_for_end(processes: list[psutil.Process]) -> list[psutil.Process]:
    _gone, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def _end(processes: list[psutil.Process]) -> list[str]:
    """Kills them; what they were."""
    described = [_describe(process) for process in processes]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return described


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a real `valor serve`, started by the first test that asks for it and ended after the last one.

    VALOR_TEST_PROFILE names another profile than local. Tests that use this may be the ones that wait for its start:
    mark them `timeout(300)`.
    """
    global APP
    if APP is None:
        APP = App(tmp_path_factory.mktemp("serve") / "log.txt")
    APP.ready()
    return APP.url


APP: App | None = None


class App:
    """One running app for all tests of this process; idle, it would take a share of two cores from the others."""

    def __init__(self, log: Path) -> None:
        from valor_ray.doctor.listening import free_port

        port = free_port()
        profile = os.environ.get("VALOR_TEST_PROFILE", "local")
        command = [sys.executable, "-m", "valor_ray", "serve", "--profile", profile, "--port", str(port)]
        with log.open("w") as stream:
            self.process = subprocess.Popen(command, stderr=stream, stdout=stream)
        self.url, self._log = f"http://127.0.0.1:{port}", log

    def ready(self) -> None:
        _wait_for_line(self.process, self._log, "ready at")

    def end(self) -> None:
        """Ctrl-C must end it with exit code 0."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0, self._log.read_text()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    global APP
    if APP is not None and "service" not in getattr(nextitem, "fixturenames", ()):
        app, APP = APP, None
        app.end()


def _wait_for_line(server: subprocess.Popen, log: Path, words: str, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while words not in log.read_text():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.3)
