"""What all tests of the shells begin with."""

import pytest

from deployments.running.threads import ray_calls


@pytest.fixture(autouse=True)
def ray_may_be_called() -> None:
    """Whatever an earlier test of this process has ended: closed, it stays so until a Ray of ours starts."""
    ray_calls.open()
