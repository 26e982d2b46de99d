"""Records of rewards and rollouts as Arrow schemas: `pa.Table.from_pylist(list(read_records(path)), ROLLOUT_SCHEMA)`.

Apart from the records, which every process imports: pyarrow takes 0.1 s and 30 MB of each.
"""

from __future__ import annotations

import pyarrow as pa

from valor_ray.records import Head

REWARD_SCHEMA = pa.schema(
    [
        ("value", pa.float64()),
        *((head.value, pa.bool_()) for head in Head),
        ("left_out", pa.list_(pa.string())),
        ("reasons", pa.map_(pa.string(), pa.string())),
        ("by", pa.map_(pa.string(), pa.string())),
        ("calls", pa.int64()),
        ("cache_hits", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("latency_s", pa.map_(pa.string(), pa.float64())),
        ("seconds", pa.float64()),
        ("scene_test", pa.string()),
    ]
)  # of reward.reward_record

ROLLOUT_SCHEMA = pa.schema(
    [
        ("rollout_id", pa.string()),
        ("step", pa.int64()),
        ("shard", pa.int64()),
        ("group", pa.int64()),
        ("sample", pa.int64()),
        ("query_id", pa.string()),
        ("question", pa.string()),
        ("reply", pa.string()),
        ("prompt_ids", pa.list_(pa.int64())),
        ("token_ids", pa.list_(pa.int64())),
        ("logprobs", pa.list_(pa.float64())),
        ("versions", pa.map_(pa.string(), pa.int64())),  # pairs in order
        ("finish_reason", pa.string()),
        *REWARD_SCHEMA,
        ("fate", pa.string()),
        ("advantage", pa.float64()),
    ]
)  # of records.Rollout
