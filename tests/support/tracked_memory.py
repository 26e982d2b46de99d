"""Memory of a training step of a small sharded model, by torch's own tracker: real tensors, pretended processes.

`python tracked_memory.py JSON`, in a process of its own: {"shape": of Qwen3Config, "world", "micro", "tokens",
"checkpointing", "bf16"} -> {"peak", "after_backward": {category: bytes}}.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(asked: dict[str, Any]) -> dict[str, Any]:
    import torch
    from torch import distributed
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    torch.set_num_threads(1)
    distributed.init_process_group("fake", rank=0, world_size=asked["world"], store=FakeStore())
    mesh = init_device_mesh("cpu", (asked["world"],))
    model = Qwen3ForCausalLM(Qwen3Config(**asked["shape"]))
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    if asked["checkpointing"]:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    half = torch.bfloat16 if asked["bf16"] else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    tracker = FSDPMemTracker(model, optimizer)
    ids = torch.randint(0, asked["shape"]["vocab_size"], (asked["micro"], asked["tokens"]))
    tracker.track_inputs((ids,))
    with tracker:
        for _step in range(2):
            out = model(input_ids=ids, labels=ids, fused_lm_head=True)
            out.log_probs.sum().backward()
            after = tracker.get_tracker_snapshot("current")
            optimizer.step()
            optimizer.zero_grad()
            if _step == 0:
                tracker.reset_mod_stats()
    return {"peak": _named(tracker.get_tracker_snapshot("peak")), "after_backward": _named(after)}


def _named(snapshot: dict[Any, dict[Any, int]]) -> dict[str, int]:
    (of_cpu,) = snapshot.values()
    return {str(getattr(name, "value", name)): value for name, value in of_cpu.items()}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
