"""What Ray raises becomes an error of ours: the class and message of what a process raised, or what to do.

And what is of use in Ray's logs when somebody looks for the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from valor_ray.errors import ServiceError, ValorError

LOGS = "/tmp/ray/session_latest/logs"
_CHAIN = "The above exception was the direct cause of the following exception:"


class ReplicaGone(ServiceError):
    """The replica that was asked is no more, or of no more use: the same call to another one may be answered.

    Any other error of a call is an answer: the model, or the judge, has failed on this request.
    """


@contextmanager
def part_errors(part: str, failure: type[ValorError]) -> Iterator[None]:
    """Around a call to a replica, awaited or not: Ray's exceptions become ours, with the message alone and not the
    remote traceback. The one place that tells a replica that is gone from a model that failed, for all parts.

    Raises ReplicaGone; errors that are ours as they were raised; ServiceError for a call that was cancelled; `failure`
    for any other error of the replica.
    """
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import RayServeException

    try:
        with ours_as_raised():
            yield
    except TaskCancelledError as error:  # Serve's RequestCancelledError is one too
        raise ServiceError(f"The call of the {part} was cancelled.") from error
    except RayTaskError as error:
        cause = error.cause
        if is_gone(cause):  # an actor that the replica itself asked: the ledger of the judges
            raise ReplicaGone(f"What the {part} asks is gone; it is being restarted.") from error
        raise failure(f"The {part} failed: {type(cause).__name__}: {cause}. Its log says more.") from error
    except (RayError, RayServeException) as error:
        if not is_gone(error):
            raise failure(f"The {part} failed: {type(error).__name__}: {last_line(error)}") from error
        raise ReplicaGone(
            f"The {part} cannot be reached; it is being restarted. Try again in a moment."
        ) from error


def is_gone(error: BaseException) -> bool:
    """Whether what Ray or Serve raises says that a process, a node, or what these held, is no more, or that there is no
    replica for the call now; not what was raised by the code of a process."""
    from ray import exceptions as ray
    from ray.serve import exceptions as serve

    gone = (
        ray.RayActorError,  # died, or not to be reached now
        ray.WorkerCrashedError,
        ray.NodeDiedError,
        ray.LocalRayletDiedError,
        ray.OutOfMemoryError,  # Ray has ended it for the memory of others
        ray.ObjectLostError,  # arguments or answers that were kept by what is gone
        serve.BackPressureError,
        serve.DeploymentUnavailableError,
        serve.ReplicaUnavailableError,
    )
    return isinstance(error, gone) and not isinstance(error, ray.RayTaskError)


def end_replica(why: str) -> NoReturn:
    """In a replica that is of no more use: ends its process, so that Serve starts the successor.

    At once: Serve's own checks want three failures, and until then it would send calls to where they fail soonest.
    Raises ReplicaGone, for the call that is in work.
    """
    import ray

    print(f"valor_ray: this replica ends: {why}", flush=True)
    ray.kill(ray.get_runtime_context().current_actor)
    raise ReplicaGone(f"{why} The replica is being replaced.")


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
    """A line in Ray's logs (worker-*.out): where a process that has GPUs sits. Called by those processes, first.

    Nothing outside of Ray, where asking would start one.
    """
    import ray

    if not ray.is_initialized():
        return
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
