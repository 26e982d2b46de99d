"""Memory and disk of a training run in closed form, before anything is loaded: of shapes, not of measurements.

The model is made on torch's meta device, which holds no numbers. What a learner process holds at the peak of a backward
pass: its share of float32 weights, their gradients and Adam's two moments, the frozen reference, what is gathered of
sharded layers, and activations. Checked against torch's own tracker on small shapes (tests), not on a GPU.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

GIB = 2**30
PROMPT_TOKENS = 2500  # assumed, of the longest prompt (paper: 1,500 to 2,500)
_RESERVE = 2 * GIB  # assumed: CUDA's context, libraries, what the allocator cannot use
_ROLLOUT_BYTES = 40  # assumed, on disk for each token of a reply: ids, log-probabilities, text
_STATE, _EXPORT = 12, 2  # bytes a parameter: float32 weights and two moments; bfloat16
_CHUNK = 32768  # words whose logits trl's fused head has at a time


@dataclass(frozen=True)
class Shape:
    """What of a model's shape takes memory."""

    parameters: int  # all
    layer: int  # of one layer
    layers: int
    head: int  # of the output embeddings
    hidden: int
    queries: int  # heads x their width
    keys: int
    inner: int  # of the feed-forward part
    vocabulary: int

    @property
    def root(self) -> int:
        """What is in no layer: embeddings and the last norm."""
        return self.parameters - self.layers * self.layer


@dataclass(frozen=True)
class LearnerBytes:
    """Of one learner process at the peak of a backward pass."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    average: int  # of the weights over the steps
    gathered: int  # of other processes' parts, or copies in bfloat16
    activations: int
    reserve: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def read_shape(model: str) -> Shape | None:
    """Of a causal language model that lies on this machine; None: it does not, or is of another kind."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from valor_ray.models.hub import loadable

    try:
        config = AutoConfig.from_pretrained(loadable(model, fetch=False), local_files_only=True)
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(config)
        return shape_of(made)
    except (OSError, ValueError, AttributeError, ConfigError):
        return None


def shape_of(model: Any) -> Shape:
    config, layers = model.config, model.base_model.layers
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        parameters=_count(model),
        layer=_count(layers[0]),
        layers=len(layers),
        head=_count(model.get_output_embeddings()),
        hidden=config.hidden_size,
        queries=config.num_attention_heads * width,
        keys=config.num_key_value_heads * width,
        inner=config.intermediate_size,
        vocabulary=config.vocab_size,
    )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def learner_bytes(shape: Shape, config: Config) -> LearnerBytes:
    """Of each learner process of these settings."""
    grpo = config.grpo
    sharded = grpo.fsdp and grpo.workers > 1
    parts = grpo.workers if sharded else 1
    width = 2 if grpo.dtype == "bfloat16" else 4  # bytes of a number in a forward pass
    trained = shape.parameters
    weights = 4 * shape.parameters
    if grpo.lora_rank is not None:
        trained = adapters(shape, grpo.lora_rank)
        weights = width * shape.parameters + 4 * trained
    has_reference = bool(grpo.kl) and grpo.lora_rank is None
    tokens, on_gpu = micro_batch_tokens(config), grpo.num_gpus > 0
    kept = activation_bytes(shape, tokens, width, grpo.gradient_checkpointing)
    if grpo.gradient_checkpointing:  # the layer in work is computed again
        kept += activation_bytes(replace(shape, layers=1), tokens, width, checkpointing=False)
    return LearnerBytes(
        weights=weights // parts,
        gradients=4 * trained // parts,
        optimizer=8 * trained // parts,
        reference=width * shape.parameters // parts if has_reference else 0,
        average=4 * trained if grpo.ema else 0,
        gathered=_gathered(shape, width, sharded, lora=grpo.lora_rank is not None),
        activations=kept + head_bytes(shape, tokens, on_gpu),
        reserve=_RESERVE if grpo.num_gpus else 0,
    )


def micro_batch_tokens(config: Config) -> int:
    """Most tokens of one forward pass, padding included."""
    longest, most = longest_row(config), config.grpo.micro_batch_tokens
    return config.grpo.micro_batch * longest if most is None else max(most, longest)


def longest_row(config: Config) -> int:
    """Tokens of prompt and reply."""
    return min(PROMPT_TOKENS + config.grpo.max_tokens, config.policy.max_model_len)


def adapters(shape: Shape, rank: int) -> int:
    """Parameters of LoRA on all linear layers."""
    ends = (
        (shape.hidden, shape.queries), (shape.hidden, shape.keys), (shape.hidden, shape.keys),
        (shape.queries, shape.hidden), (shape.hidden, shape.inner), (shape.hidden, shape.inner),
        (shape.inner, shape.hidden),
    )  # fmt: skip
    return shape.layers * rank * sum(into + out for into, out in ends)


def _gathered(shape: Shape, width: int, sharded: bool, *, lora: bool) -> int:
    head = 2 * 4 * shape.head  # trl's fused head takes it whole, in float32, and makes its gradient whole
    if not sharded:
        casts = 0 if lora or width == 4 else width * shape.parameters  # autocast keeps its copies for a pass
        return casts
    layers = 2 * width * shape.layer  # one in work, the next on its way
    gradients = (width + 4) * shape.layer  # of the one in work, and as it is summed
    return width * shape.root + layers + gradients + head


def activation_bytes(shape: Shape, tokens: int, width: int, checkpointing: bool) -> int:
    """Kept for the backward pass of one micro-batch of so many tokens, without the output head's own.

    width: bytes of a number in the forward pass; norms keep float32. Attention keeps no scores (SDPA).
    """
    wide = 5 * shape.hidden + 5 * shape.queries + 5 * shape.keys + 4 * shape.inner
    layer = tokens * (width * wide + 8 * shape.hidden)
    ends = tokens * round(8.2 * shape.hidden)  # embeddings, last norm, what the head is given
    if not checkpointing:
        return shape.layers * layer + ends
    return shape.layers * tokens * width * shape.hidden + ends


def head_bytes(shape: Shape, tokens: int, on_gpu: bool) -> int:
    """Of trl's fused head in a backward pass: on a GPU a kernel makes no logits; on CPU about 30 bytes each."""
    return 0 if on_gpu else 30 * tokens * min(shape.vocabulary, _CHUNK)


def engine_bytes(shape: Shape, config: Config) -> dict[str, int | None]:
    """Of a policy replica: its weights; the rest of the card is its KV cache, unless kv_cache_gib says how much."""
    width = 4 if config.policy.dtype == "float32" else 2
    cache = config.policy.kv_cache_gib
    rank = config.grpo.lora_rank
    weights = shape.parameters + (0 if rank is None else adapters(shape, rank))
    return {"weights": width * weights, "kv_cache": None if cache is None else int(cache * GIB)}


def publication_bytes(shape: Shape, config: Config) -> int:
    """A version: the model as the engine has it, or its adapters in float32."""
    if config.grpo.lora_rank is not None:
        return 4 * adapters(shape, config.grpo.lora_rank)
    return (4 if config.policy.dtype == "float32" else 2) * shape.parameters


def checkpoint_bytes(shape: Shape, config: Config) -> int:
    """What a learner goes on from: sharded or not, 12 bytes a trained parameter, and 4 of an average."""
    rank, state = config.grpo.lora_rank, _STATE + (4 if config.grpo.ema else 0)
    return state * (shape.parameters if rank is None else adapters(shape, rank))


def disk_bytes(shape: Shape, config: Config, steps: int) -> int:
    """Most that the run folder takes: checkpoints that stay, one in work, publications, exports, rollouts."""
    grpo = config.grpo
    compared = len({step for every in config.kept_every for step in range(every, steps + 1, every)})
    evaluated = 1 + compared
    kept = grpo.keep_checkpoints + 3 + compared
    made = 2 + steps // grpo.save_every
    apart = grpo.fsdp or grpo.lora_rank is not None or grpo.ema  # checkpoints do not hold what is evaluated
    exports = evaluated * _EXPORT * shape.parameters if apart else 0
    published = (grpo.max_lag + 3) * publication_bytes(shape, config)
    replies = steps * grpo.prompts * grpo.samples
    rollouts = replies * _ROLLOUT_BYTES * longest_row(config)
    return min(kept, made) * checkpoint_bytes(shape, config) + exports + published + rollouts


def memory_plan(config: Config, steps: int) -> dict[str, Any]:
    """For `--dry-run`: GiB by process and category; null where the model's shape is not to be had.

    Raises ConfigError where a learner's card is known to be too small (grpo.gpu_gib), with what would help.
    """
    shape = read_shape(config.policy.model)
    if shape is None:
        return dict.fromkeys(("memory_gib", "disk_gib", "publication_gib", "checkpoint_gib"))
    learner = learner_bytes(shape, config)
    check_fits(learner, config)
    engine = engine_bytes(shape, config)
    return {
        "memory_gib": {
            "learner": {name: _gib(value) for name, value in asdict(learner).items()}
            | {"total": _gib(learner.total)},
            "policy_replica": {
                name: None if value is None else _gib(value) for name, value in engine.items()
            },
        },
        "disk_gib": _gib(disk_bytes(shape, config, steps)),
        "publication_gib": _gib(publication_bytes(shape, config)),
        "checkpoint_gib": _gib(checkpoint_bytes(shape, config)),
    }


def check_fits(learner: LearnerBytes, config: Config) -> None:
    """Raises ConfigError where a learner process cannot fit its card."""
    grpo = config.grpo
    if not grpo.num_gpus or grpo.gpu_gib is None or learner.total <= grpo.gpu_gib * GIB:
        return
    held = learner.weights + learner.gradients + learner.optimizer + learner.reference + learner.average
    tokens, longest = grpo.micro_batch_tokens, longest_row(config)
    if learner.activations > held and tokens is not None and tokens > longest:
        advice = f"--set grpo.micro_batch_tokens={max(longest, tokens // 2)}"
    elif learner.activations > held and tokens is None and grpo.micro_batch > 1:
        advice = f"--set grpo.micro_batch={max(1, grpo.micro_batch // 2)}"
    elif not grpo.gradient_checkpointing:
        advice = "--set grpo.gradient_checkpointing=true"
    elif not grpo.fsdp and grpo.lora_rank is None:
        advice = "--set grpo.fsdp=true with more grpo.workers, or --set grpo.lora_rank=16"
    elif grpo.lora_rank is None:
        advice = f"more processes (grpo.workers is {grpo.workers}), or --set grpo.fsdp=false --set grpo.lora_rank=16"
    else:
        advice = "a smaller policy.model"
    parts = ", ".join(f"{name} {_gib(value):g}" for name, value in asdict(learner).items() if value)
    raise ConfigError(
        f"A learner process needs about {_gib(learner.total):g} GiB ({parts}); grpo.gpu_gib is {grpo.gpu_gib:g}. "
        f"Give {advice}."
    )


def _gib(count: int) -> float:
    return round(count / GIB, 3 if count < GIB else 1)
