"""How long the stages of a training step take, in closed form.

    step = max(sampling + publication, learning + publication, judging,
               (longest + judging + learning + publication) / (max_lag + 1))

Stages of different steps overlap, at most max_lag + 1 steps at a time (the last term; `longest`: from a step's first
token to its last); while weights are published neither the learner nor an engine does anything else. An engine's token
takes the time to read its weights once and every sequence's cache, or that of its products, whichever is more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valor_ray.reasoning.planning.memory import GIB, Shape, publication_bytes
from valor_ray.reasoning.planning.sizing.constants import Known

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_GATHERED = (
    10  # bytes a parameter that a sharded learner moves for a micro-batch: two passes, gradients, reference
)
_SCENE_CALLS = 3  # a question's, as in plan.py
_SMALL, _LARGE = 0.6e9, 8e9  # parameters of the models that the two shares of peak are of
_ACTIVATIONS = 2 * GIB  # assumed, of an engine: what is neither weights nor cache


@dataclass(frozen=True)
class EngineSpeed:
    """Of one policy replica."""

    seats: int  # sequences at a time
    fixed_s: float  # of the step that gives each of them a token: weights
    each_s: float = 0.0  # and for each sequence: its cache
    compute_s: float = 0.0  # a sequence's products, where they take longer than the memory
    prompt_s: float = 0.0  # of a prompt's token

    def token_s(self, sequences: int) -> float:
        """Seconds in which each of so many sequences gets one token."""
        return max(self.fixed_s + sequences * self.each_s, sequences * self.compute_s)


@dataclass(frozen=True)
class Load:
    """What a step asks for."""

    prompts: int
    samples: int  # of each
    prompt_tokens: float  # mean
    reply_tokens: float  # mean
    longest_tokens: float  # of a reply

    @property
    def replies(self) -> int:
        return self.prompts * self.samples


@dataclass(frozen=True)
class StageSeconds:
    """Of one step."""

    sampling: float
    longest: float  # at least so long passes from a step's first token to its last
    judging: float
    learning: float
    publication: float

    def step(self, max_lag: int) -> float:
        return max(self.bounds(max_lag).values())

    def bounds(self, max_lag: int) -> dict[str, float]:
        """What a step cannot be shorter than; `latency`: as only so many steps may be in work at a time."""
        through = max(self.sampling, self.longest) + self.judging + self.learning + self.publication
        return {
            "sampling": self.sampling + self.publication,
            "judging": self.judging,
            "learning": self.learning + self.publication,
            "latency": through / (max_lag + 1),
        }


def sampling_s(load: Load, replicas: int, speed: EngineSpeed) -> tuple[float, float]:
    """Seconds of sampling a step by so many engines, all equally loaded; and of its longest reply."""
    each = max(1, math.ceil(load.replies / replicas))
    at_once = min(each, speed.seats)
    token_s = speed.token_s(at_once)
    prompts = load.prompts * load.prompt_tokens * speed.prompt_s / replicas  # a group's samples share theirs
    return each / at_once * load.reply_tokens * token_s + prompts, load.longest_tokens * token_s + prompts


def engine_speed(shape: Shape, config: Config, load: Load, known: Known) -> EngineSpeed | None:
    """Of a policy replica; None where its card does not hold it and one sequence of policy.max_model_len."""
    constants, card = known.constants, known.card
    width = 4 if config.policy.dtype == "float32" else 2
    gpus, share = max(1.0, config.policy.num_gpus), min(1.0, config.policy.num_gpus)
    cache_bytes = 2 * shape.layers * shape.keys * width  # of a token
    part = config.policy.gpu_memory_utilization or constants.engine_room * share
    room = part * card.gib * gpus * GIB - width * shape.parameters - _ACTIVATIONS
    if config.policy.kv_cache_gib is not None:
        room = min(room, config.policy.kv_cache_gib * GIB)
    if room < cache_bytes * config.policy.max_model_len:
        return None
    context = load.prompt_tokens + load.reply_tokens / 2
    most = config.policy.max_num_seqs or constants.engine_seats
    seats = int(min(most, room // (cache_bytes * (load.prompt_tokens + load.reply_tokens))))
    memory = constants.engine_memory_share * card.memory_tb_s * 1e12 * gpus * share
    products = 2 * shape.parameters / (constants.engine_peak_share * card.tflops * 1e12 * gpus * share)
    return EngineSpeed(
        seats=max(1, seats),
        fixed_s=width * shape.parameters / memory,
        each_s=cache_bytes * context / memory,
        compute_s=products,
        prompt_s=products,
    )


def learning_s(shape: Shape, config: Config, load: Load, known: Known) -> float:
    """Seconds of a step's passes and update by grpo.workers processes."""
    constants, card, grpo = known.constants, known.card, config.grpo
    share = min(1.0, grpo.num_gpus)
    tokens = load.replies * (load.prompt_tokens + load.reply_tokens) / grpo.workers
    rate = learner_share(shape.parameters, known) * card.tflops * 1e12 * share / (6 * shape.parameters)
    if not (grpo.fsdp and grpo.workers > 1):
        return tokens / rate
    link = card.link_gb_s if grpo.workers <= constants.node_gpus else constants.network_gb_s
    passes = math.ceil(load.replies / (grpo.micro_batch * grpo.workers))
    moved = _GATHERED * shape.parameters * (grpo.workers - 1) / grpo.workers
    return max(tokens / rate, passes * moved / (constants.link_share * link * 1e9))


def learner_share(parameters: int, known: Known) -> float:
    """Of the card's peak: between the two known ones by the logarithm of the size."""
    small, large = known.constants.learner_share_small, known.constants.learner_share_large
    place = math.log(parameters / _SMALL) / math.log(_LARGE / _SMALL)
    return small + (large - small) * min(1.0, max(0.0, place))


def judging_s(config: Config, load: Load, known: Known) -> float:
    """Seconds until the last verdict of a step, where all its replies come at once."""
    judge, constants = config.judge, known.constants
    calls = len(config.reward.judged()) * load.replies
    calls += _SCENE_CALLS * load.prompts * (config.reward.scenes > 0)
    if not calls:
        return 0.0
    rate = judge.replicas * min(judge.max_in_flight / constants.judge_call_s, 1000 / constants.gateway_cpu_ms)
    if judge.requests_per_minute is not None:
        rate = min(rate, judge.requests_per_minute / 60)
    return calls / rate + constants.judge_call_s


def publication_s(shape: Shape, config: Config, known: Known) -> float:
    """Seconds in which new weights come from the learner into every engine."""
    constants, size = known.constants, publication_bytes(shape, config) / 1e9
    if config.policy.weight_transfer is not None:
        return size / constants.transfer_gb_s
    return size / constants.write_gb_s + size / constants.read_gb_s
