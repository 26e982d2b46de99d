"""No thread of the driver calls a Ray that has ended: Ray would end the process, and its exit code be Ray's."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

import pytest

from deployments.running.threads import RayCalls, RayEnds


def test_closing_waits_for_the_call_under_way_and_refuses_the_next() -> None:
    calls, inside, went_on = RayCalls(), threading.Event(), threading.Event()

    def work() -> None:
        with calls.call():
            inside.set()
            time.sleep(0.2)
            went_on.set()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    calls.close()
    assert went_on.is_set()
    with pytest.raises(RayEnds), calls.call():
        pass
    calls.open()
    with calls.call():
        pass
    thread.join()


class _Reference:
    """Says when it is forgotten."""

    def __init__(self, forgotten: threading.Event) -> None:
        self._forgotten = forgotten

    def __del__(self) -> None:
        self._forgotten.set()


def test_what_a_kept_thread_refers_to_is_not_forgotten_while_ray_ends() -> None:
    calls, over, forgotten, inside = (RayCalls(), *(threading.Event() for _ in range(3)))

    def get(reference: _Reference) -> None:
        while not over.wait(0.01):
            inside.set()

    def ray_train() -> None:
        with suppress(SystemExit):  # else whoever reports it keeps the frames
            get(_Reference(forgotten))

    thread = threading.Thread(target=ray_train)
    thread.start()
    inside.wait()
    calls.keeps(thread)
    calls.close()
    thread.join(30)
    ended = not thread.is_alive()
    over.set()
    assert ended and not forgotten.is_set()


def test_thread_that_is_kept_ends_when_it_executes_python_again() -> None:
    calls, over = RayCalls(), threading.Event()

    def ray_train() -> None:
        while not over.wait(0.01):
            pass

    thread = threading.Thread(target=ray_train)
    thread.start()
    calls.keeps(thread)
    calls.close()
    thread.join(30)
    ended = not thread.is_alive()
    over.set()
    assert ended


_DRIVER = """
    import threading, time
    import psutil
    import ray, ray.data
    from deployments.running.threads import RayEnds, ray_calls

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    started = threading.Event()

    def ray_started():  # `ray.get` starts one where none runs
        return [each for each in psutil.Process().children() if "raylet" in each.name() or "gcs" in each.name()]

    @ray.remote(num_cpus=0)
    class Notes:
        def notes(self):
            return []

    def ask(notes):
        try:
            while True:
                with ray_calls.call():
                    ray.get(notes.notes.remote())
                started.set()
        except RayEnds:
            pass

    threading.Thread(target=ask, args=(Notes.remote(),), daemon=True).start()
    rows = iter(ray.data.range(100_000, override_num_blocks=100).map(lambda row: row).iter_rows())
    next(rows)
    started.wait()
    ray_calls.close()
    ray.shutdown()
    del rows
    time.sleep(1)
    print("a second Ray" if ray.is_initialized() or ray_started() else "has the last word")
"""


@pytest.mark.timeout(240)
def test_driver_whose_threads_call_ray_ends_by_itself() -> None:
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_DRIVER)], capture_output=True, text=True, timeout=200
    )
    assert said.returncode == 0 and said.stdout == "has the last word\n", said
