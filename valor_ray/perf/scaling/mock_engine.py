"""An engine that takes time and computes nothing: what rollouts are measured against. For measurement only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from valor_ray.reasoning.planning.sizing.stages import EngineSpeed
from valor_ray.records import Reply, Sampling
from valor_ray.runs.publications import version_name

_VERSION = version_name(0)
_PROMPT_TOKENS = 120  # of a made-up prompt
_PLAN = "1. Detect the cup {name} and the plate.\n2. If nothing is found, answer no.\n3. Compare the x."
_CODE = 'cups = gd_detect(img_pth, "cup {name}")\nfinal_answer = "yes" if cups else "no"'


_BY = re.compile(r"^Sampled by (\S+)\.$", re.MULTILINE)


def sampler_of(reply: str) -> str:
    """Which engine wrote a reply."""
    found = _BY.search(reply)
    return found[1] if found else ""


@dataclass(frozen=True)
class MockSpeed:
    """Of one engine, which gives each of its sequences a token at a time."""

    seats: int  # sequences at a time; others wait for a seat
    tokens_per_s: float  # of one sequence, however many there are
    reply_tokens: int  # of every reply

    def engine(self) -> EngineSpeed:
        """As `valor plan` reckons with it."""
        return EngineSpeed(self.seats, fixed_s=1 / self.tokens_per_s)


class MockEngine:
    """ports.Sampler: calls share the seats, as sequences of an engine that batches continuously.

    Called by MockPolicyDeployment and tests. Waits as long as the engine that it stands for would compute. Replies are
    well formed, all different, and name who sampled them in their plan.
    """

    def __init__(self, speed: MockSpeed, name: str = "mock") -> None:
        self._speed, self._name = speed, name
        self._seats = asyncio.Semaphore(speed.seats)

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """n replies to each question, of min(reply_tokens, sampling.max_tokens) tokens."""
        tokens = min(self._speed.reply_tokens, sampling.max_tokens)

        async def one(name: str) -> Reply:
            async with self._seats:
                await asyncio.sleep(tokens / self._speed.tokens_per_s)
            return self._reply(name, tokens)

        names = [f"{seed}-{index}-{k}" for index in range(len(questions)) for k in range(n)]
        replies = await asyncio.gather(*map(one, names))
        return [list(replies[start : start + n]) for start in range(0, len(replies), n)]

    def _reply(self, name: str, tokens: int) -> Reply:
        text = f"<plan>\n{_PLAN.format(name=name)}\nSampled by {self._name}.\n</plan>\n"
        text += f"<answer>\n{_CODE.format(name=name)}\n</answer>"
        return Reply(
            text=text,
            token_ids=tuple(range(3, tokens + 3)),
            logprobs=(-0.5,) * tokens,
            policy_version=_VERSION,
            finish_reason="stop",
            prompt_ids=tuple(range(3, _PROMPT_TOKENS + 3)),
            versions=((_VERSION, tokens),),
        )
