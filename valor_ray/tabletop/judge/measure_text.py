"""`python -m valor_ray.tabletop.judge.measure_text`: how well the six heads agree with the truth of execution.

Replies are drawn from the base policy's mixture of right and wrong habits, for held-out scenes; each program runs with
true tools, which tells whether it is right. The heads see question, plan and program only. For evaluation: this is no
part of the judge, whose process never imports scenes or truth (a test looks).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from valor_ray.config.tree import Config
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.measure.answers import is_right
from valor_ray.measure.intervals import wilson
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.reward import reward_value
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import Head, Verdict
from valor_ray.tabletop.dataset import items
from valor_ray.tabletop.gold_check import TrueTools
from valor_ray.tabletop.habits import base_text
from valor_ray.tabletop.judge.text.verdict import judge

ALL_YES = "all six"


@dataclass
class Agreement:
    """Counts of (head, program right, verdict), and the rewards of right and wrong programs."""

    verdicts: Counter[tuple[str, bool, bool | None]] = field(default_factory=Counter)
    rewards: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})

    def add(self, verdicts: dict[Head, Verdict], right: bool, value: float | None) -> None:
        for head, verdict in verdicts.items():
            self.verdicts[head, right, verdict.value] += 1
        if value is not None:
            self.rewards[right].append(value)
            self.verdicts[ALL_YES, right, value > 1 - 1e-9] += 1

    def row(self, head: str) -> dict[str, Any]:
        """Shares with 95 % Wilson intervals."""
        yes, yes_of = self._count(head, True, True)
        no, no_of = self._count(head, False, False)
        missing = sum(n for (name, _, value), n in self.verdicts.items() if name == head and value is None)
        return {
            "head": head,
            "yes_when_right": _share(yes, yes_of),
            "no_when_wrong": _share(no, no_of),
            "missing": missing,
        }

    def _count(self, head: str, right: bool, value: bool) -> tuple[int, int]:
        counted = self.verdicts[head, right, value]
        return counted, counted + self.verdicts[head, right, not value]

    def auc(self) -> float | None:
        """How often a right program has the higher reward of a right and a wrong one; ties count half."""
        right, wrong = np.array(self.rewards[True]), np.array(self.rewards[False])
        if not len(right) or not len(wrong):
            return None
        above = (right[:, None] > wrong[None, :]).mean() + 0.5 * (right[:, None] == wrong[None, :]).mean()
        return round(float(above), 4)


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count / of:.3f} [{low:.3f}, {high:.3f}] of {of}" if of else "–"


async def measure(scenes: int, seed: int) -> Agreement:
    """Judge one drawn reply per question of `scenes` held-out scenes."""
    config = Config.load()
    agreement = Agreement()
    rng = np.random.default_rng([seed, 29])
    async with Sandbox(config.sandbox) as sandbox:
        syntax = SyntaxOfPrograms(sandbox)
        for item in items(scenes, seed, None, "held_out"):
            tools, side = TrueTools(item.rendering), item.rendering.rgb.shape[0]
            for _, asked in item.questions:
                question, reply = base_text(asked.blueprint, rng)
                parsed = parse_reply(reply)
                verdicts = {Head.FORMAT: Verdict(parsed.well_formed)}
                right = False
                if parsed.well_formed:
                    result = await sandbox.run(parsed.code, tools, (side, side))
                    right = result.error is None and is_right(result.answer, asked.answer)
                    verdicts[Head.SYNTAX] = await syntax(parsed.code)
                    for head, request in verdict_requests(question, parsed.plan, parsed.code).items():
                        judged = judge(head.value, str(request.messages[-1]["content"]))
                        verdicts[head] = Verdict(judged.verdict, judged.reason)
                agreement.add(verdicts, right, reward_value(verdicts, config.reward))
    return agreement


def main() -> None:
    parser = argparse.ArgumentParser(prog="measure_text", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=int, default=1000, help="held-out scenes, two questions each (1000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    agreement = asyncio.run(measure(args.scenes, args.seed))
    for head in (*Head, ALL_YES):
        print(json.dumps(agreement.row(head), ensure_ascii=False), flush=True)
    rewards = {str(right): round(float(np.mean(v)), 4) for right, v in agreement.rewards.items() if v}
    print(json.dumps({"auc": agreement.auc(), "mean_reward_by_right": rewards}))


if __name__ == "__main__":
    main()
