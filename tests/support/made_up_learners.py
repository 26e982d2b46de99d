"""Made-up learners for the choice of queries: no model, no judge, a chance of success for each query.

`python tests/support/made_up_learners.py` prints what docs/design/training.md says of them: simulated, nothing more.
A group in which some samples succeed makes its query easier, and those of its family a little; all slide back slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from scipy import stats

from valor_ray.config.tree import Config
from valor_ray.reasoning.curriculum import Learnability
from valor_ray.reasoning.training.schedule import assignments
from valor_ray.records import Query

SAMPLES, FAMILIES = 8, 10
LEARNT, FAMILY_LEARNT, FORGOTTEN = (
    0.25,
    0.02,
    0.005,
)  # logits a useful group, the same, share of the gain a step
STARTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {  # logits at the start
    "a third known, a third out of reach": lambda rng, n: rng.permutation(
        np.concatenate([rng.normal(at, 1, n - 2 * (n // 3) if not at else n // 3) for at in (-6, 0, 6)])
    ),
    "most hard": lambda rng, n: rng.normal(-4, 2, n),
    "all near half": lambda rng, n: rng.normal(0, 0.5, n),
}


class Reward(NamedTuple):
    """Of a rollout what the choice reads: a whole one takes most of the time."""

    step: int
    shard: int
    group: int
    query_id: str
    value: float


@dataclass(frozen=True)
class Told:
    """Of one run."""

    useful: float  # of the groups that a step asks first, the mean
    success: float  # mean chance over all queries at the end
    longest: int  # steps that a query was not asked
    never: int  # queries that were not asked


def simulate(curriculum: str, start: str, seed: int, queries: int, prompts: int, steps: int) -> Told:
    """One run of steps without reserve, with lag 1."""
    asked = [Query(f"q{i}", f"Question {i}?") for i in range(queries)]
    grpo = Config.load(
        "local", [f"grpo.seed={seed}", f"grpo.prompts={prompts}", f"grpo.steps={steps}", "grpo.reserve=0"]
    ).grpo
    chooser, shuffled = Learnability(asked, grpo), assignments(asked, grpo, shards=1)
    rng = np.random.default_rng([seed, 7])
    logits = STARTS[start](rng, queries)
    begun, family = logits.copy(), rng.integers(FAMILIES, size=queries)
    last, longest, useful = np.zeros(queries, int), 0, 0
    for step in range(1, steps + 1):
        order = chooser.order(step) if curriculum == "learnability" else next(shuffled).queries
        chosen = [int(query.query_id[1:]) for query in order]
        wins = rng.random((prompts, SAMPLES)) < 1 / (1 + np.exp(-logits[chosen]))[:, None]
        chooser.saw(
            cast("Any", Reward(step, 0, group, f"q{query}", float(won)))
            for group, query in enumerate(chosen)
            for won in wins[group]
        )
        logits -= FORGOTTEN * (logits - begun)
        for query, won in zip(chosen, wins.sum(1), strict=True):
            if 0 < won < SAMPLES:
                useful += 1
                logits[query] += LEARNT
                logits[family == family[query]] += FAMILY_LEARNT
        longest = max(longest, int((step - last[chosen]).max()))
        last[chosen] = step
    longest = max(longest, int((steps - last).max()))
    return Told(useful / steps, float((1 / (1 + np.exp(-logits))).mean()), longest, int((last == 0).sum()))


def main() -> None:
    seeds = range(20)
    for start in STARTS:
        for steps in (100, 300):
            runs = {
                how: [simulate(how, start, seed, 200, 8, steps) for seed in seeds]
                for how in ("shuffled", "learnability")
            }
            print(f"{start}, {steps} steps of 8 of 200 queries, {len(seeds)} seeds")
            for name in ("useful", "success"):
                before, after = (np.array([getattr(run, name) for run in runs[how]]) for how in runs)
                gain, half = (
                    (after - before).mean(),
                    stats.t.ppf(0.975, len(seeds) - 1) * stats.sem(after - before),
                )
                figures = f"{gain:+.3f} [{gain - half:.3f}, {gain + half:.3f}]"
                print(f"  {name}: {before.mean():.3f} -> {after.mean():.3f} ({figures})")
            for how, made in runs.items():
                print(
                    f"  {how}: longest {max(run.longest for run in made)}, never {sum(run.never for run in made)}"
                )


if __name__ == "__main__":
    main()
