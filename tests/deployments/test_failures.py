"""What Ray raises becomes an error of ours, called or awaited."""

from __future__ import annotations

import asyncio

import pytest
import ray
from ray.exceptions import RayActorError, RayTaskError, UserCodeException

from deployments.failures import last_line, log_place, ours_as_raised, ray_goes_on
from valor_ray.errors import CheckpointError, ServiceError


def remote(cause: Exception) -> RayTaskError:
    return RayTaskError("publish", "Traceback: line 1, line 2", cause).as_instanceof_cause()


def test_error_of_ours_keeps_its_class_and_its_message_alone() -> None:
    raised = remote(CheckpointError("the folder is broken"))
    with pytest.raises(CheckpointError) as caught, ours_as_raised():
        raise raised
    assert type(caught.value) is CheckpointError and str(caught.value) == "the folder is broken"
    assert caught.value.__cause__ is raised


def test_error_of_ours_keeps_its_class_where_it_is_awaited() -> None:
    async def call() -> None:
        with ours_as_raised():
            await asyncio.sleep(0)
            raise remote(CheckpointError("the folder is broken"))

    with pytest.raises(CheckpointError, match=r"^the folder is broken$"):
        asyncio.run(call())


@pytest.mark.parametrize("raised", [remote(KeyError("x")), RayActorError(), OSError("full")])
def test_what_is_not_ours_passes_as_it_is(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, ours_as_raised():
        raise raised
    assert caught.value is raised


def test_ray_that_fails_is_said_with_what_to_do() -> None:
    message = r"^Ray could not go on: RayActorError: .*same command goes on"
    with pytest.raises(ServiceError, match=message), ray_goes_on():
        raise RayActorError()
    with pytest.raises(OSError, match="full"), ray_goes_on():
        raise OSError("full")


def test_last_line_is_the_message_without_the_traceback() -> None:
    assert last_line(RuntimeError("Traceback\n  in f\nboom\n")) == "boom"
    assert last_line(RuntimeError()) == "RuntimeError"


def test_last_line_of_what_ray_data_wraps_is_that_of_the_error_in_it() -> None:
    chain = "\n\nThe above exception was the direct cause of the following exception:\n\n"
    text = chain.join(
        ["OSError: gone", "ValueError: no number", "UserCodeException: failed\nSee the manual."]
    )
    wrapper = RayTaskError("work", text, UserCodeException("failed")).as_instanceof_cause()
    assert last_line(wrapper) == "ValueError: no number"
    assert last_line(RuntimeError(text)) == "See the manual."


def test_a_process_outside_of_ray_asks_for_no_place_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: asked.append("context"))
    log_place("depth")
    assert asked == []
