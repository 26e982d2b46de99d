"""The scenes head: a program must give, in made-up scenes, the answers that a judge gives for them. Ours.

    question ─► things ─► 8 scenes ─► asked twice ─► scenes on which both agree          once a question
    program ──► runs in these ─► phrases nobody knows: the judge, once a phrase ─► again     once a reply
            ─► every answer right: yes · one wrong: no · fewer than 4 decided: missing

A judge's failure is a missing verdict; a question that no scenes can be made for has no such head. See docs/design.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from valor_ray.errors import ProgramError
from valor_ray.judges.scene_questions import (
    answers_request,
    read_answers,
    read_things,
    read_words,
    things_request,
    words_request,
)
from valor_ray.measure.answers import is_right
from valor_ray.ports import Judge, SceneRuns
from valor_ray.reasoning.scenes.record import COUNT, Given, SceneTest, mark
from valor_ray.reasoning.scenes.remembered import Remembered
from valor_ray.reasoning.scenes.sample import sample_scenes
from valor_ray.records import JudgeReply, QuestionThings, SceneRun, SymbolicScene, Usage, Verdict

FEWEST = 4  # with an answer; and that a reply must be decided in
ASKINGS = (0, 1)
_REMEMBERED = 4096  # questions, and phrases
_ROUNDS = 4  # of runs: a phrase may be met only once an earlier one is known
_NAMED = 3  # scenes that a reason tells of


@dataclass(frozen=True)
class SceneVerdict:
    """What the scene tests say of one reply."""

    verdict: Verdict | None  # None: the head does not apply to the question
    usage: Usage  # of all judge calls that this reply has caused
    test: str = ""  # JSON of record.SceneTest; "" when the judge has failed


@dataclass
class _Question:
    """A question, prepared."""

    test: SceneTest
    scenes: tuple[SymbolicScene, ...] = ()  # those kept
    expected: tuple[Given, ...] = ()  # in each of them
    missing: str = ""  # why a judge gave nothing
    by: str = ""  # the judge's model
    usage: Usage = field(default_factory=Usage)  # until a reply has taken it

    @property
    def nouns(self) -> tuple[str, ...]:
        return tuple(sorted({each.noun for scene in self.scenes for each in scene.objects}))

    def charge(self) -> Usage:
        """What the first reply of the question pays for all; the others find it there."""
        usage, self.usage = self.usage, Usage(cached=True, model=self.by)
        return usage


class SceneTests:
    """Tests programs in a question's scenes, which are made, and asked about, once.

    Called by the reward, with every well-formed reply, many at a time on one event loop; waits for the judge, then for
    the sandbox. `prepare` may come before: it is shared with, and remembered for, the replies of the question.
    """

    def __init__(self, judge: Judge, runs: SceneRuns) -> None:
        self._judge, self._runs = judge, runs
        self._questions: Remembered[str, _Question] = Remembered(
            self._prepared, _REMEMBERED, lambda question: not question.missing
        )
        self._words: Remembered[tuple[str, tuple[str, ...]], JudgeReply] = Remembered(
            self._ask_words, _REMEMBERED, lambda reply: reply.content is not None
        )

    async def prepare(self, question: str) -> None:
        """Ask what a question names, and for its answers. Raises JudgeError when every call must fail."""
        await self._questions(question)

    async def verdict(self, question: str, code: str) -> SceneVerdict:
        """yes, no or missing with the reason; no verdict where the head does not apply to the question.

        Missing: a judge's failure, a broken sandbox, or (undecided) fewer than 4 scenes that decide about the program.
        Raises JudgeError when every further call must fail too.
        """
        prepared, _ = await self._questions(question)
        usage = prepared.charge()
        if prepared.missing:
            return SceneVerdict(Verdict(None, prepared.missing), usage)
        if prepared.test.why:
            return SceneVerdict(None, usage, prepared.test.as_json())
        try:
            runs, asked, failure = await self._run(question, code, prepared)
        except ProgramError as error:
            return SceneVerdict(Verdict(None, str(error)), usage)
        usage = together((usage, *asked))
        if failure:
            return SceneVerdict(Verdict(None, failure), usage)
        marks = tuple(mark(run, truth) for run, truth in zip(runs, prepared.expected, strict=True))
        test = replace(prepared.test, program=tuple(run.answer for run in runs), marks="".join(marks))
        return SceneVerdict(_verdict(runs, test, prepared), usage, test.as_json())

    async def _prepared(self, question: str) -> _Question:
        said = (await self._judge.ask([things_request(question)]))[0]
        things = read_things(said)
        if said.content is None or isinstance(things, str):
            return _without(said, str(things), said.usage)
        scenes = sample_scenes(question, things, COUNT)
        if len(scenes) < FEWEST:
            why = f"only {len(scenes)} scenes can be made for what it names"
            return _Question(SceneTest(things, why=why), usage=said.usage)
        replies = await self._judge.ask([answers_request(question, scenes, asking) for asking in ASKINGS])
        usage = together((said.usage, beside([reply.usage for reply in replies])))
        answers: list[tuple[Given | None, ...]] = []
        for reply in replies:
            given = read_answers(reply, things, len(scenes))
            if isinstance(given, str):
                return _without(reply, given, usage, things)
            answers.append(tuple(given))
        return _question(things, scenes, answers, usage)

    async def _run(
        self, question: str, code: str, prepared: _Question
    ) -> tuple[list[SceneRun], list[Usage], str]:
        """A run in each kept scene; what the judge was asked on the way; why it gave nothing, when it failed.

        Scenes that a phrase leaves undecided run again once the judge has said which objects it names.
        """
        runs = await self._runs(code, question, prepared.scenes, {})
        words: dict[str, tuple[str, ...]] = {}
        usages: list[Usage] = []
        for _ in range(_ROUNDS):
            new = sorted({_phrase(run) for run in runs} - {"", *words})
            if not new:
                break
            replies = await asyncio.gather(*(self._words((phrase, prepared.nouns)) for phrase in new))
            usages.append(beside([_paid(reply.usage, first) for reply, first in replies]))
            for phrase, (reply, _) in zip(new, replies, strict=True):
                named = read_words(reply, prepared.nouns)
                if reply.content is None:
                    return runs, usages, str(named)
                if not isinstance(named, str):
                    words[phrase] = named
            open_scenes = [n for n, run in enumerate(runs) if _phrase(run) in words]
            if not open_scenes:
                break
            scenes = [prepared.scenes[n] for n in open_scenes]
            for n, run in zip(open_scenes, await self._runs(code, question, scenes, words), strict=True):
                runs[n] = run
        return runs, usages, ""

    async def _ask_words(self, key: tuple[str, tuple[str, ...]]) -> JudgeReply:
        return (await self._judge.ask([words_request(*key)]))[0]


def _without(reply: JudgeReply, why: str, usage: Usage, things: QuestionThings | None = None) -> _Question:
    """A question without scenes: the judge has failed, or what it said is of no use."""
    test = SceneTest(things, why=why)
    return _Question(test, missing=why if reply.content is None else "", by=reply.usage.model, usage=usage)


def _question(
    things: QuestionThings,
    scenes: Sequence[SymbolicScene],
    answers: Sequence[tuple[Given | None, ...]],
    usage: Usage,
) -> _Question:
    """With the scenes on which both askings agree, where they are enough and tell one answer from another."""
    first, second = answers
    kept = [n for n, pair in enumerate(zip(first, second, strict=True)) if _same(*pair)]
    expected = tuple(answer for n in kept if (answer := first[n]) is not None)
    why = ""
    if len(kept) < FEWEST:
        why = f"the judge's two answers agree in {len(kept)} of {len(scenes)} scenes; {FEWEST} are wanted"
    elif all(_same(expected[0], answer) for answer in expected):
        why = f"the judge's answer is {expected[0]!r} in every scene: nothing can be told by it"
    test = SceneTest(things, (first, second), tuple(n + 1 for n in kept), why=why)
    return _Question(test, tuple(scenes[n] for n in kept), expected, by=usage.model, usage=usage)


def _same(first: Given | None, second: Given | None) -> bool:
    """Two answers that are right by each other. None agrees with nothing."""
    if first is None or second is None:
        return False
    return is_right(first, second) and is_right(second, first)


def _phrase(run: SceneRun) -> str:
    """The detection phrase that left a run undecided, as SceneRuns takes it; "" where it was none."""
    return run.phrase.casefold() if run.status == "undecided" else ""


def _verdict(runs: Sequence[SceneRun], test: SceneTest, prepared: _Question) -> Verdict:
    told = list(zip(test.kept, runs, test.marks, prepared.expected, strict=True))
    if handed := next((run for run in runs if run.status == "handed_on"), None):
        return Verdict(False, f"hands the question on: {handed.why}", prepared.by)
    left = [place for place in told if place[2] != "?"]
    if all(run.status == "undecided" and not run.level for run in runs):
        return Verdict(None, f"the program could not be run: {runs[0].why}", prepared.by)
    if len(left) < FEWEST:
        why = next(run.why for run in runs if run.status == "undecided")
        told_of = f"undecided: {len(left)} of {len(told)} scenes decide about the program ({why})"
        return Verdict(None, told_of, prepared.by, undecided=True)
    if wrong := [place for place in left if place[2] == "-"]:
        said = [_told(number, run, truth) for number, run, _, truth in wrong[:_NAMED]]
        more = [f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
        return Verdict(False, "; ".join([*said, *more]), prepared.by)
    dropped = f", {len(told) - len(left)} undecided" if len(left) < len(told) else ""
    return Verdict(True, f"gives the judge's answer in all {len(left)} scenes{dropped}", prepared.by)


def _told(number: int, run: SceneRun, truth: Given) -> str:
    gave = f"gave {str(run.answer)[:60]!r}" if run.status == "answered" else f"failed ({run.why[:120]})"
    return f"scene {number}: {gave}, the judge {str(truth)!r}"


def together(usages: Sequence[Usage]) -> Usage:
    """Of calls one after the other. Cached only when all of them were."""
    return Usage(
        latency_s=sum(usage.latency_s for usage in usages),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cost_usd=sum(usage.cost_usd for usage in usages),
        tries=sum(usage.tries for usage in usages),
        cached=all(usage.cached for usage in usages),
        model=next((usage.model for usage in usages if usage.model), ""),
    )


def beside(usages: Sequence[Usage]) -> Usage:
    """Of calls at the same time."""
    return replace(together(usages), latency_s=max(usage.latency_s for usage in usages))


def _paid(usage: Usage, first: bool) -> Usage:
    return usage if first else Usage(usage.latency_s, cached=True, model=usage.model)
