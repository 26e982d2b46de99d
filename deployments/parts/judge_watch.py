"""What a user should know about the judge, or the VLM, while a run waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ray.serve.handle import DeploymentHandle

from deployments.running.threads import RayEnds, ray_calls
from valor_ray.config.judging import Part

_WATCH_S = 5.0  # between looks
_STATUS_S = 2.0


def judge_trouble(handle: DeploymentHandle, part: Part = "judge") -> str:
    """What a user should know about the gateway behind a handle, in a line; "": nothing."""
    try:
        with ray_calls.call():
            status = handle.status.remote().result(timeout_s=_STATUS_S)
    except RayEnds:
        return ""
    except Exception as error:  # noqa: BLE001  # Ray has many; a status that cannot be had must not end the run
        return f"the {part} gateway does not answer ({type(error).__name__})"
    return f"{status['endpoint']} does not answer; waiting until it does" if status["breaker_open"] else ""


@contextmanager
def judge_watched(
    judge: DeploymentHandle, say: Callable[[str], None], part: Part = "judge"
) -> Iterator[None]:
    """Says when the judge, or the VLM, does not answer, and when it does again, for as long as the block lasts."""
    over = threading.Event()

    def watch() -> None:
        said = seen = ""
        while not over.wait(_WATCH_S):
            before, seen = seen, judge_trouble(judge, part)
            if seen == before != said:  # seen twice: one slow answer on a busy machine is no trouble
                say(seen or f"the {part} answers again")
                said = seen

    thread = threading.Thread(target=watch, name="judge-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
