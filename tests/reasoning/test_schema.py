"""Arrow schemas say what the records are."""

from __future__ import annotations

from dataclasses import fields

import pyarrow as pa
from rollout_of import rollout_of

from valor_ray.reasoning.schema import REWARD_SCHEMA, ROLLOUT_SCHEMA
from valor_ray.records import Rollout, Sample


def test_schemas_have_the_fields_of_the_records_in_their_order() -> None:
    names = [each.name for each in fields(Rollout)]
    assert ROLLOUT_SCHEMA.names == names
    assert [*(each.name for each in fields(Sample)), *REWARD_SCHEMA.names, "fate", "advantage"] == names


def test_rollouts_fit_into_a_table_and_come_back_from_it() -> None:
    versions = (("step-000001", 2), ("step-000002", 1))
    unknown = dict.fromkeys(("value", "format", "syntax", "logic", "attribute", "spatial", "adherence"))
    rollouts = [
        rollout_of(2, versions=versions),
        rollout_of(2, sample=1, **unknown, reasons={}, advantage=None),
    ]
    table = pa.Table.from_pylist([rollout.to_record() for rollout in rollouts], ROLLOUT_SCHEMA)
    maps = ("reasons", "by", "latency_s")  # pairs in Arrow
    rows = [row | {name: dict(row[name]) for name in maps} for row in table.to_pylist()]
    assert [Rollout.from_record(row) for row in rows] == rollouts
