"""What `valor score` asks of whatever carries its rows to the judges: Ray, or this process."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


@dataclass(frozen=True)
class Work:
    """What a host gets."""

    shards: Path  # folder of parquet files with the rows (work.SCHEMA)
    rows: int  # canaries included
    config: Config  # judge.cache_dir is set


class ScoreHost(Protocol):
    """Carries rows to `score_row` and brings their records back, in any order.

    Called by `score`, once. Implemented by deployments.scoring.RayScoreHost and local.LocalScoreHost.
    Reads rows only as fast as their records are taken: whoever takes them slowly, or a judge that is down, holds it.
    """

    def rows(self, work: Work) -> Generator[dict[str, Any], None, None]:
        """A record for every row. Closing it ends what was started. Raises ValorError when all must fail."""
        ...

    def trouble(self) -> str:
        """What keeps the judge from answering now, or "". Called from another thread than `rows`."""
        ...
