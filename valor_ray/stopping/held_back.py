"""What a version of the policy makes of questions that it was not trained on, measured without their answers.

    question ─► replies (T .7) ─► kept ─► programs, in the image ─► answers ─► agreement ─┐
                                    └───► scene tests; text heads ─► verdicts ─────────────┴─► a record of signals.jsonl

Queries have no field for an answer (law 8): nothing here can know one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.answer import answer_of
from valor_ray.asking.remembered import Remembered
from valor_ray.asking.watched import Watched
from valor_ray.errors import ServiceError
from valor_ray.judges.vqa import VqaJudge
from valor_ray.ports import Sampler
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.scenes.run import ScenesOfPrograms
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import Query, Reply, Sampling
from valor_ray.runs.at_once import each
from valor_ray.runs.record_file import replace_text
from valor_ray.selecting.agreement import votes
from valor_ray.stopping.rule import choose
from valor_ray.stopping.verdicts import Judged, Judges
from valor_ray.tools import LiveTools
from valor_ray.wiring import OpenEyes, judging, vlm_cache

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

MOST_UNASKED = 0.1  # share of the questions whose eyes or VQA may fail
_AT_ONCE = 48  # questions; most wait for tools and judges
_AT_A_TIME = 16  # questions in a call of the sampler
_SEED = 16  # of the samples: every version draws by the same

Say = Callable[[str], None]


@dataclass(frozen=True)
class QuestionSignals:
    """Of one question; shares 0..1 of its samples, None where unknown."""

    agreement: float | None  # None: the picture could not be looked at
    answered: float
    well_formed: float
    judged: Judged


class HeldBackQuestions:
    """training.choice.StopSignals: the questions of a run that its versions are compared by.

    `valor train reasoning` makes one; training.choice calls `measure` when the engines carry what is to be measured,
    and `choose` when all is recorded.
    """

    def __init__(
        self, config: Config, folder: Path, queries: Sequence[Query], seen: dict[Any, Any] | None = None
    ) -> None:
        """folder: of replies and judges' answers. queries: kept apart from training; the first `stopping.questions` by
        a hash of their ids are asked, so that families and looks are mixed. seen: what eyes have said, shared.
        """
        self._config, self._folder = config, folder
        ordered = sorted(queries, key=lambda query: hashlib.sha256(query.query_id.encode()).hexdigest())
        self.queries = ordered[: config.stopping.questions]
        self._seen = {} if seen is None else seen
        self._failures = Counter[str]()  # why pictures could not be looked at, in the version under way
        self.asked = self._digest()

    def _digest(self) -> str:
        """What a record must say that it is of: questions and how they were asked."""
        stopping = self._config.stopping
        names = [
            (query.query_id, query.question, query.image and Path(query.image).name) for query in self.queries
        ]
        text = json.dumps([names, stopping.samples, stopping.temperature, stopping.judged])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    async def measure(
        self,
        sampler: Sampler,
        eyes: OpenEyes,
        steps: Sequence[int],
        carry: Callable[[int], None],
        record: Callable[[Mapping[str, Any]], None],
        say: Say,
    ) -> None:
        """A record of each version, in order, as soon as it is known. carry: makes the engines carry a step; may block.

        Eyes, judges and sandbox are opened once for all. Raises ServiceError when the eyes or VQA fail on too many
        questions, and what sampling, judging and opening raise: the same call goes on with the replies that are kept.
        """
        async with AsyncExitStack() as opened:
            asked = await opened.enter_async_context(self._chain(eyes))
            for step in steps:
                say(f"asking {len(self.queries)} held-back questions, version {step}: signals without labels")
                await asyncio.to_thread(carry, step)
                record(await self._record(step, sampler, asked))

    async def _record(self, step: int, sampler: Sampler, asked: _Asked) -> dict[str, Any]:
        start = time.monotonic()
        self._failures.clear()
        replies = await self._replies(step, sampler)
        signals: dict[int, QuestionSignals] = {}

        async def one(number: int) -> None:
            signals[number] = await asked(self.queries[number], replies[number])

        await each(range(len(self.queries)), one, _AT_ONCE)
        rows = [signals[number] for number in range(len(self.queries))]
        unasked = sum(signals[n].agreement is None for n, query in enumerate(self.queries) if query.image)
        if unasked > MOST_UNASKED * len(rows):
            raise ServiceError(
                f"The pictures of {unasked} of {len(rows)} held-back questions could not be looked at "
                f"({self._failures.most_common(1)[0][0]}). The same command asks again."
            )
        return {"step": step, "asked": self.asked, **_figures(rows), "unasked": unasked,
                "seconds": round(time.monotonic() - start, 2)}  # fmt: skip

    async def _replies(self, step: int, sampler: Sampler) -> list[list[str]]:
        """Of each question; kept before anybody is paid to judge them."""
        path = self._folder / f"step-{step:06d}" / "replies.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["asked"] == self.asked:
                return [list(texts) for texts in kept["replies"]]
        stopping, policy = self._config.stopping, self._config.policy
        sampling = Sampling(stopping.temperature, policy.top_p, policy.max_tokens, policy.top_k, policy.min_p)
        questions = [query.question for query in self.queries]
        parts = [questions[at : at + _AT_A_TIME] for at in range(0, len(questions), _AT_A_TIME)]
        sampled = await asyncio.gather(
            *(
                sampler.sample(part, n=stopping.samples, seed=_SEED + number, sampling=sampling)
                for number, part in enumerate(parts)
            )
        )
        texts = [[reply.text for reply in mine] for part in sampled for mine in part]
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps({"asked": self.asked, "replies": texts}, ensure_ascii=False) + "\n")
        return texts

    @asynccontextmanager
    async def _chain(self, eyes: OpenEyes) -> AsyncIterator[_Asked]:
        config, part = self._config, self._config.vlm_part
        async with AsyncExitStack() as opened:
            judge = await opened.enter_async_context(judging(config.judge, self._folder / "judge_cache"))
            vlm = judge
            if part != "judge":
                vlm = await opened.enter_async_context(judging(config.vlm, vlm_cache(self._folder), part))
            seeing = Remembered(await opened.enter_async_context(eyes()), self._seen)
            sandbox = await opened.enter_async_context(Sandbox(config.sandbox))
            judges = Judges(
                judge, SyntaxOfPrograms(sandbox), ScenesOfPrograms(sandbox), config.reward, config.stopping
            )
            vqa, patience = VqaJudge(vlm, config.vlm, part), config.sandbox.tool_seconds / 2

            async def asked(query: Query, replies: Sequence[str]) -> QuestionSignals:
                judged = asyncio.create_task(judges(query.question, replies))
                try:
                    answers = await self._answers(
                        query, replies, sandbox, lambda: Watched(seeing, seeing, vqa, patience)
                    )
                    return _signals(replies, answers, await judged)
                finally:
                    judged.cancel()

            yield asked

    async def _answers(
        self, query: Query, replies: Sequence[str], sandbox: Sandbox, watched: Callable[[], Watched]
    ) -> list[Any] | None:
        """What each reply's program answers, None for none; nothing at all where the picture is not to be seen."""
        if not query.image:
            return None
        picture = images.load(Path(query.image), self._config.images)
        answers: dict[str, Any] = {}

        async def run(text: str) -> None:
            eyes = watched()
            tools = LiveTools(picture, eyes, eyes, eyes)
            said = await answer_of(Reply(text, (), (), "", "stop"), picture, sandbox, tools, time.monotonic())
            answers[text] = None if said.error else said.answer
            if eyes.failure is not None:
                raise ServiceError(eyes.failure)

        try:
            await each(dict.fromkeys(replies), run, len(replies))
        except ServiceError as error:
            self._failures[str(error)] += 1
            return None
        return [answers[text] for text in replies]

    def choose(
        self, records: Sequence[Mapping[str, Any]], kl: Mapping[int, float | None], alarm: str
    ) -> dict[str, Any]:
        """rule.choose on this run's reward and pictures."""
        pictures = [query.image or query.query_id for query in self.queries]
        return choose(records, kl, alarm, self._config.reward, pictures)


_Asked = Callable[[Query, Sequence[str]], Awaitable[QuestionSignals]]


def _signals(replies: Sequence[str], answers: Sequence[Any] | None, judged: Judged) -> QuestionSignals:
    formed = sum(parse_reply(text).well_formed for text in replies) / len(replies)
    if answers is None:
        return QuestionSignals(None, 0.0, formed, judged)
    agreeing = max(votes(answers)) / len(answers)
    return QuestionSignals(agreeing, sum(one is not None for one in answers) / len(answers), formed, judged)


def _figures(rows: Sequence[QuestionSignals]) -> dict[str, Any]:
    """Means over the questions of which a signal is known; null where it is known of none."""
    columns: dict[str, Sequence[float | None]] = {
        "agreement": [row.agreement for row in rows],
        "scenes": [row.judged.scenes for row in rows],
        "text": [row.judged.text for row in rows],
        "reward": [row.judged.reward for row in rows],
        "well_formed": [row.well_formed for row in rows],
        "answered": [row.answered for row in rows if row.agreement is not None],
    }
    known = {name: [value for value in column if value is not None] for name, column in columns.items()}
    per_question = zip(columns["agreement"], columns["scenes"], columns["text"], strict=True)
    return {
        "n": len(rows),
        **{name: round(sum(values) / len(values), 4) if values else None for name, values in known.items()},
        "scenes_n": len(known["scenes"]),
        "judge_calls": sum(row.judged.calls for row in rows),
        "judge_cost_usd": round(sum(row.judged.cost_usd for row in rows), 6),
        "questions": [[None if v is None else round(v, 4) for v in row] for row in per_question],
    }
