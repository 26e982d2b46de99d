"""Rows of hub sets that training and evaluation both use: the measured ones are kept out. No answer is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from valor_ray.benchmarks.data import omni3d
from valor_ray.errors import ConfigError
from valor_ray.queries.read import counted, read_queries
from valor_ray.records import Query

_MOST_NAMED = 20  # listed in one message


def without_reserved(
    queries: Sequence[Query], source: str | None, say: Callable[[str], None] = lambda line: None
) -> list[Query]:
    """The queries of a hub set that may be trained on: those about pictures of measured rows are left out, and said.

    source: that the queries were read from. Known by the hub's name alone: a copy under another name passes, for which
    `jobs.gather_queries` is. Raises ConfigError when measured rows themselves are among them: that was not meant.
    """
    hub = f"hf:{omni3d.SET.hub}"
    if source is None or source.split(":train")[0].lower() != hub.lower():
        return list(queries)
    measured = read_queries(f"{hub}:train[:{omni3d.FIRST}]")
    rows = {query.query_id for query in measured}
    if bad := [query for query in queries if query.query_id in rows]:
        raise ConfigError(
            f"{source}: {len(bad)} of these queries are among the first {omni3d.FIRST} rows of {omni3d.SET.title}, "
            f"which the paper's tables are of: {_named(bad)}. Begin at {hub}:train[{omni3d.FIRST}:]."
        )
    shared = omni3d.reserved(queries, measured)
    if shared:
        say(
            f"{source}: {counted(len(shared), 'query', 'queries')} left out, about pictures of the first "
            f"{omni3d.FIRST} rows of {omni3d.SET.title}, which are measured with: {_named(shared)}"
        )
    left = set(shared)
    return [query for query in queries if query not in left]


def _named(queries: Sequence[Query]) -> str:
    more = f" and {len(queries) - _MOST_NAMED} more" if len(queries) > _MOST_NAMED else ""
    return ", ".join(query.query_id for query in queries[:_MOST_NAMED]) + more
