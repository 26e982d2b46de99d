"""What Ray raises becomes an error of ours: the class and message of what a process raised, or what to do.

And what is of use in Ray's logs when somebody looks for the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from valor_ray.errors import ServiceError, ValorError

LOGS = "/tmp/ray/session_latest/logs"
_CHAIN = "The above exception was the direct cause of the following exception:"


@contextmanager
def ours_as_raised() -> Iterator[None]:
    """Around a call to another process, awaited or not: a ValorError raised there is raised here, with its message
    alone and not the remote traceback. Whatever else Ray raises passes as it is."""
    from ray.exceptions import RayTaskError  # here: a run that has nothing to do never loads Ray

    try:
        yield
    except RayTaskError as error:
        cause = error.cause
        if not isinstance(cause, ValorError):
            raise
        raise type(cause)(str(cause)) from error


@contextmanager
def ray_goes_on() -> Iterator[None]:
    """Around work on Ray that the same command can take up again. Raises ServiceError when Ray fails."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise ServiceError(
            f"Ray could not go on: {type(error).__name__}: {last_line(error)} Logs: {LOGS}. "
            "The same command goes on where this one stopped."
        ) from error


def log_place(part: str) -> None:
    """A line in Ray's logs (worker-*.out): where a process that has GPUs sits. Called by those processes, first."""
    import ray

    context = ray.get_runtime_context()
    if gpus := context.get_accelerator_ids().get("GPU"):
        node = f"{ray.util.get_node_ip_address()} ({context.get_node_id()[:8]})"
        print(f"valor_ray: {part} on {node}, GPUs {' '.join(gpus)}", flush=True)


def last_line(error: BaseException) -> str:
    """The message of an error without Ray's traceback above it; the name of its class where it says nothing."""
    from ray.exceptions import UserCodeException

    told = str(error).split(_CHAIN)
    wrapped = (
        isinstance(error, UserCodeException) and len(told) > 1
    )  # by Ray Data, which speaks of itself only
    lines = told[-2 if wrapped else -1].strip().splitlines()
    return lines[-1] if lines else type(error).__name__
