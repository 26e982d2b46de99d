"""The models of a learner process: the policy that it trains, and the frozen start policy beside it.

Sharded, by transformers' own FSDP2: each process reads its rows of the files alone, onto its own device; a layer is a
unit; gradients are summed in float32 whatever the forward pass is. What is trained is float32: an update of 1e-6 is
lost in bfloat16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from valor_ray.config.training import GrpoConfig, learner_processes
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.adapters import read_adapters
from valor_ray.models.checkpoint import check_language_model
from valor_ray.models.hub import loadable


def is_sharded(grpo: GrpoConfig) -> bool:
    """Whether this process holds a part of the weights only. One process alone has them all."""
    return grpo.fsdp and learner_processes() > 1


def start_model(model: str) -> str:
    """What loads the start policy, by its `model` setting. Raises ConfigError: not there, or adapters."""
    place = loadable(model)
    if read_adapters(Path(place)) is not None:
        raise ConfigError(
            f"policy.model {model!r} holds adapters, and a run starts from a whole model: give the `merged` folder of "
            "a checkpoint of the run that trained them, or its own folder (--run) to go on with it."
        )
    return place


def base_name(model: str) -> str:
    """How adapters name the model that they change: its `model` setting, absolute where it is a path."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.exists() else model


def load_policy(config: Config) -> tuple[Any, Any]:
    """The start policy to be trained, and its tokenizer. Collective where it is sharded. Raises ConfigError."""
    import torch
    from transformers import AutoTokenizer

    grpo = config.grpo
    start = start_model(config.policy.model)
    if Path(start).is_dir():
        check_language_model(Path(start))
    frozen = grpo.dtype == "bfloat16" and grpo.lora_rank  # adapters are trained, the rest stays as it is
    try:
        model = _load(start, torch.bfloat16 if frozen else torch.float32, grpo)
        tokenizer = AutoTokenizer.from_pretrained(start)
    except (OSError, ValueError) as error:
        raise ConfigError(f"policy.model {config.policy.model!r} cannot be trained: {error}") from error
    return model, tokenizer


def load_reference(config: Config, policy: Any) -> Any | None:
    """The start policy, frozen, for the divergence from it; None: grpo.kl is 0, or `policy` is adapters on top of it.

    As precise as the forward pass (grpo.dtype). Collective where it is sharded.
    """
    import torch
    from trl.trainer.utils import add_fused_lm_head

    grpo = config.grpo
    if not grpo.kl or grpo.lora_rank is not None:
        return None
    dtype = torch.bfloat16 if grpo.dtype == "bfloat16" else torch.float32
    reference = _load(loadable(config.policy.model), dtype, grpo)
    if not is_sharded(grpo):
        reference.to(next(policy.parameters()).device)
    reference.eval().requires_grad_(False)
    add_fused_lm_head(reference, temperature=grpo.temperature)
    return reference


def _load(start: str, dtype: Any, grpo: GrpoConfig) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.distributed import DistributedConfig

    if not is_sharded(grpo):
        return AutoModelForCausalLM.from_pretrained(start, dtype=dtype)
    config = AutoConfig.from_pretrained(start)
    mixed = grpo.dtype == "bfloat16" and dtype == torch.float32
    parts = DistributedConfig(fsdp_size=learner_processes(), fsdp_mixed_precision=mixed)
    return _shardable(config).from_pretrained(start, config=config, dtype=dtype, distributed_config=parts)


def _shardable(config: Any) -> Any:
    """The class of a model of that shape.

    Where output and input embeddings are one tensor, both stay with the root: transformers 5.19 gives the input's to a
    group of its own, and from the second step on the output reads what they were a step ago.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    shape = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if not config.tie_word_embeddings:
        return shape
    config.base_model_fsdp_plan = {"layers.*": "free_full_weight"}
    return type(shape.__name__, (shape,), {"_fsdp_plan": {}})
