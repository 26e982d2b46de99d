"""Rows of hub sets that training and evaluation both use: the measured ones are refused. No answer is read."""

from __future__ import annotations

from collections.abc import Sequence

from valor_ray.benchmarks.data import omni3d
from valor_ray.errors import ConfigError
from valor_ray.queries.read import read_queries
from valor_ray.records import Query

_MOST_NAMED = 20  # listed in one message


def check_reserved(queries: Sequence[Query], source: str | None) -> None:
    """Raises ConfigError when queries of a hub set are rows that a benchmark measures with, or about their pictures.

    source: that the queries were read from. Known by the hub's name alone: a copy under another name passes.
    """
    hub = f"hf:{omni3d.SET.hub}"
    if source is None or source.split(":train")[0].lower() != hub.lower():
        return
    bad = omni3d.reserved(queries, read_queries(f"{hub}:train[:{omni3d.FIRST}]"))
    if bad:
        named = ", ".join(query.query_id for query in bad[:_MOST_NAMED])
        more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        raise ConfigError(
            f"{source}: {len(bad)} of these queries are among the first {omni3d.FIRST} rows of {omni3d.SET.title}, "
            f"which the paper's tables are of, or about their pictures: {named}{more}. Begin at "
            f"{hub}:train[{omni3d.FIRST}:]; of rows there that share a picture with a measured one, write the others "
            "to a file, and name that."
        )
