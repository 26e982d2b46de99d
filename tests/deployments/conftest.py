"""What all tests of the shells begin with."""

import pytest

from deployments.running.threads import ray_calls


@pytest.fixture(autouse=True)
def ray_may_be_called() -> None:
    """Whatever an earlier test of this process has ended: closed, it stays so until a Ray of ours starts."""
    ray_calls.open()


@pytest.fixture(autouse=True)
def no_ray_starts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks a Ray that nobody has started fails; it would get one, which takes seconds and outlives the tests."""
    monkeypatch.setattr("ray._private.auto_init_hook.enable_auto_connect", False)
