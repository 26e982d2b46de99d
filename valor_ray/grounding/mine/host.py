"""What `valor mine` asks of whatever carries queries and pictures to the models: Ray, or this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from valor_ray.grounding.mine.outcome import Order, Outcome
from valor_ray.records import Query

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


class Mining(Protocol):
    """A host that runs. Both generators read their input only as fast as what they give is taken, in any order.

    Called by `mine`, one after the other; closing a generator ends what it has started.
    """

    def programs(self, queries: Sequence[Query]) -> Generator[Outcome, None, None]:
        """An outcome for every query: waits for policy and sandbox. Raises ValorError when all must fail."""
        ...

    def pictures(self, orders: Sequence[Order]) -> Generator[Outcome, None, None]:
        """An outcome for every order: waits for detector and verifier. Raises ValorError when all must fail."""
        ...

    def trouble(self) -> str:
        """What keeps the verifier from answering now, or "". Called from another thread than the generators."""
        ...


class MineHost(Protocol):
    """Implemented by deployments.mining.host.RayMineHost and local.LocalMineHost."""

    def running(
        self, config: Config, cache: Path, say: Callable[[str], None]
    ) -> AbstractContextManager[Mining]:
        """Entering starts what both phases need, leaving ends all.

        cache: where the verifier's answers are kept. Raises ConfigError, ServiceError.
        """
        ...
