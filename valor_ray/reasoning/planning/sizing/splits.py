"""Which split of so many GPUs into learner and policy replicas gives the shortest step, and wastes least."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import Node, nodes_of, put_group
from valor_ray.placement.training import placement
from valor_ray.reasoning.planning.memory import GIB, Shape, learner_bytes
from valor_ray.reasoning.planning.sizing.constants import DEFAULT_CARD, Known, read_constants
from valor_ray.reasoning.planning.sizing.stages import (
    EngineSpeed,
    Load,
    StageSeconds,
    engine_speed,
    judging_s,
    learning_s,
    publication_s,
    sampling_s,
)

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

_ALIKE = 1.02  # of the shortest step: among these the fewest GPUs win
_EPSILON = 1e-6
_MOST_GPUS = 1024  # looked for, where fewer do not hold the settings
_LORA = {"fsdp": False, "lora_rank": 16}


@dataclass(frozen=True)
class Split:
    """Who gets how many GPUs while steps are made."""

    learner_processes: int
    policy_replicas: int
    learner_gpus: float
    policy_gpus: float
    evaluation_gpus: (
        float  # detector and depth model, before and after learning: on idle GPUs or the learner's
    )
    idle_gpus: float

    def settings(self) -> list[str]:
        return [f"grpo.workers={self.learner_processes}", f"policy.replicas={self.policy_replicas}"]


@dataclass(frozen=True)
class Candidate:
    """A split and what a step takes with it."""

    split: Split
    seconds: StageSeconds
    step_s: float
    bound_by: str  # the longest of StageSeconds.bounds

    @property
    def used(self) -> float:
        return self.split.learner_gpus + self.split.policy_gpus


def load_of(config: Config, known: Known, reply_tokens: int | None, prompt_tokens: int | None) -> Load:
    """What a step asks for; None: as the constants say. Raises ConfigError when replies would not fit."""
    grpo = config.grpo
    if reply_tokens is not None and reply_tokens > grpo.max_tokens:
        raise ConfigError(
            f"--reply-tokens {reply_tokens} is more than grpo.max_tokens {grpo.max_tokens}. Give fewer, or --set "
            f"grpo.max_tokens={reply_tokens}."
        )
    prompt = min(prompt_tokens or known.constants.prompt_tokens, config.policy.max_model_len - 1)
    longest = min(grpo.max_tokens, config.policy.max_model_len - prompt)
    mean = min(reply_tokens or known.constants.reply_share * grpo.max_tokens, longest)
    return Load(grpo.prompts, grpo.samples, prompt, mean, longest)


def plan_gpus(
    config: Config, gpus: int, known: Known, reply_tokens: int | None = None, prompt_tokens: int | None = None
) -> dict[str, Any]:
    """{gpus, card, split, settings, seconds_per_step, stages, bound_by, utilisation, alternatives, load, assumptions}.

    Raises ConfigError when the settings put nothing on GPUs, or so many GPUs do not hold them, with what would.
    """
    if not (config.policy.num_gpus and config.grpo.num_gpus):
        raise ConfigError(
            "The settings give policy or learner no GPU. Give --profile gpu, or --set policy.num_gpus=1 --set "
            "grpo.num_gpus=1."
        )
    load, shape = load_of(config, known, reply_tokens, prompt_tokens), known.shape(config.policy.model)
    found = list(candidates(config, gpus, known, load, shape))
    if not found:
        raise ConfigError(_too_few(config, gpus, known, load, shape))
    best = best_of(found)
    sizes = {each.split.learner_processes for each in found} - {best.split.learner_processes}
    others = [best_of([each for each in found if each.split.learner_processes == size]) for size in sizes]
    return {
        "gpus": gpus,
        "card": known.card.name,
        "split": asdict(best.split),
        "settings": best.split.settings(),
        "seconds_per_step": round(best.step_s, 1),
        "stages": {name: round(value, 2) for name, value in asdict(best.seconds).items()},
        "bound_by": best.bound_by,
        "utilisation": utilisation(best, gpus),
        "alternatives": [_short(each) for each in sorted(others, key=lambda each: each.step_s)],
        "load": asdict(load),
        "assumptions": known.assumptions(),
    }


def step_seconds(config: Config) -> dict[str, Any]:
    """{seconds_per_step, step_bound_by, step_assumes} of a run as it is set, for `--dry-run`.

    Null without GPUs, or where the model's shape is not to be had, or a GPU does not hold it.
    """
    known = read_constants(DEFAULT_CARD)
    nothing = dict.fromkeys(("seconds_per_step", "step_bound_by", "step_assumes"))
    if not (config.policy.num_gpus and config.grpo.num_gpus):
        return nothing
    try:
        load, shape = load_of(config, known, None, None), known.shape(config.policy.model)
    except ConfigError:
        return nothing
    speed = engine_speed(shape, config, load, known)
    if speed is None:
        return nothing
    split = _split(config, 0, config.grpo.workers, config.policy.replicas)
    others = (
        *(judging_s(config, load, known), learning_s(shape, config, load, known)),
        publication_s(shape, config, known),
    )
    found = _candidate(split, load, speed, others, config.grpo.max_lag)
    return {
        "seconds_per_step": round(found.step_s, 1),
        "step_bound_by": found.bound_by,
        "step_assumes": f"GPUs as {DEFAULT_CARD}, replies of {load.reply_tokens:g} tokens; `valor plan` says more",
    }


def best_of(found: list[Candidate]) -> Candidate:
    """Of the shortest step, or within 2 % of it with fewer GPUs."""
    shortest = min(each.step_s for each in found)
    return min(
        (each for each in found if each.step_s <= _ALIKE * shortest),
        key=lambda each: (each.used, each.step_s),
    )


def utilisation(candidate: Candidate, gpus: int) -> dict[str, float]:
    """Shares of a step in which learner, policy and all GPUs together work."""
    seconds, split, step_s = candidate.seconds, candidate.split, candidate.step_s
    worked = seconds.learning * split.learner_gpus + seconds.sampling * split.policy_gpus
    return {
        "learner": round(seconds.learning / step_s, 3),
        "policy": round(seconds.sampling / step_s, 3),
        "all": round(worked / (gpus * step_s), 3),
    }


def candidates(config: Config, gpus: int, known: Known, load: Load, shape: Shape) -> Iterator[Candidate]:
    """Every split that memory, micro-batches and machines of `node_gpus` GPUs allow."""
    speed = engine_speed(shape, config, load, known)
    if speed is None:
        return
    judging, publication = judging_s(config, load, known), publication_s(shape, config, known)
    nodes = nodes_of(gpus, int(known.constants.node_gpus))
    for workers in _learners(config, gpus, known):
        sized = with_workers(config, workers)
        if not holds(shape, sized, known):
            continue
        learning = learning_s(shape, sized, load, known)
        for replicas in range(1, _most_engines(sized, nodes, load.replies) + 1):
            split = _split(config, gpus, workers, replicas)
            yield _candidate(split, load, speed, (judging, learning, publication), config.grpo.max_lag)


def _most_engines(config: Config, nodes: Sequence[Node], most: int) -> int:
    """So many, at most `most`, find a place beside the learner, and detector and depth model when it is away."""
    grpo, left = config.grpo, [node.copy() for node in nodes]
    if put_group("learner", grpo.workers, grpo.num_gpus, left, {}) < grpo.workers:
        return 0
    engines = sum(node.room(config.policy.num_gpus) for node in left)
    for count in range(min(engines, most), 0, -1):
        try:
            placement(with_replicas(config, count), nodes)
        except ConfigError:
            continue
        return count
    return 0


def _candidate(
    split: Split, load: Load, speed: EngineSpeed, others: tuple[float, float, float], max_lag: int
) -> Candidate:
    """others: seconds of judging, learning, publication."""
    sampling, longest = sampling_s(load, split.policy_replicas, speed)
    seconds = StageSeconds(sampling, longest, *others)
    bounds = seconds.bounds(max_lag)
    return Candidate(split, seconds, seconds.step(max_lag), max(bounds, key=lambda name: bounds[name]))


def holds(shape: Shape, config: Config, known: Known) -> bool:
    """Whether a learner process of these settings fits its card."""
    card = known.card.gib if config.grpo.gpu_gib is None else min(known.card.gib, config.grpo.gpu_gib)
    return learner_bytes(shape, config).total <= card * min(1.0, config.grpo.num_gpus) * GIB


def with_workers(config: Config, workers: int) -> Config:
    return config.model_copy(update={"grpo": config.grpo.model_copy(update={"workers": workers})})


def with_replicas(config: Config, replicas: int) -> Config:
    return config.model_copy(update={"policy": config.policy.model_copy(update={"replicas": replicas})})


def _learners(config: Config, gpus: int, known: Known) -> Iterator[int]:
    """Numbers of learner processes that cut a step evenly, on a part of a node or on whole ones."""
    grpo, node = config.grpo, int(known.constants.node_gpus)
    for workers in range(1, math.floor(gpus / grpo.num_gpus + _EPSILON) + 1):
        whole = workers * grpo.num_gpus
        if grpo.prompts * grpo.samples % (grpo.micro_batch * workers) == 0 and (
            whole <= node or whole % node == 0
        ):
            yield workers


def _eyes(config: Config) -> float:
    """GPUs of detector and depth model, which evaluations want where there are any."""
    parts = (config.detector, config.depth) if config.grpo.eval_questions else ()
    return sum(part.num_gpus * part.replicas for part in parts)


def _split(config: Config, gpus: int, workers: int, replicas: int) -> Split:
    learner, policy = workers * config.grpo.num_gpus, replicas * config.policy.num_gpus
    return Split(workers, replicas, learner, policy, _eyes(config), round(gpus - learner - policy, 6))


def _short(candidate: Candidate) -> dict[str, Any]:
    split = candidate.split
    return {
        "learner_processes": split.learner_processes,
        "policy_replicas": split.policy_replicas,
        "idle_gpus": split.idle_gpus,
        "seconds_per_step": round(candidate.step_s, 1),
        "bound_by": candidate.bound_by,
    }


def _too_few(config: Config, gpus: int, known: Known, load: Load, shape: Shape) -> str:
    """What would hold the settings, or other ones."""
    if engine_speed(shape, config, load, known) is None:
        return (
            f"A policy replica of {config.policy.model} does not fit policy.num_gpus {config.policy.num_gpus:g} of "
            f"{known.card.name} ({known.card.gib:g} GiB each). Give --set policy.num_gpus="
            f"{math.ceil(config.policy.num_gpus) + 1}, a lower policy.max_model_len, or another --card."
        )
    needed = _smallest(config, known, load, shape)
    said = f"{gpus} GPU(s) of {known.card.gib:g} GiB do not hold {config.policy.model} with these settings. "
    said += "No number of them does. " if needed is None else f"The fewest that do: {needed}. "
    lora = config.model_copy(update={"grpo": config.grpo.model_copy(update=_LORA)})
    fewest = _smallest(lora, known, load, shape) if config.grpo.lora_rank is None else None
    if fewest is not None and (needed is None or fewest < needed):
        said += f"With --set grpo.fsdp=false --set grpo.lora_rank=16 (adapters): {fewest}. "
    return said + "Or give a smaller policy.model, or another --card."


def _smallest(config: Config, known: Known, load: Load, shape: Shape) -> int | None:
    for workers in _learners(config, _MOST_GPUS, known):
        sized = with_replicas(with_workers(config, workers), 1)
        if holds(shape, sized, known):
            needed = math.ceil(workers * config.grpo.num_gpus + config.policy.num_gpus - _EPSILON)
            for gpus in range(needed, _MOST_GPUS + 1):
                if _most_engines(sized, nodes_of(gpus, int(known.constants.node_gpus)), 1):
                    return gpus
    return None
