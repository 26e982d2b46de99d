"""`python -m valor_ray.tabletop.measure_scenes`: how often the scene tests err about replies, by execution.

Replies are drawn (right ones and flawed ones in several styles), filled in from a file, or those of a training run.
What is measured is what ships (reasoning.scenes.check) over the rule-based oracle, called in this process; truth is
whether the program is right in a dozen rendered scenes with true tools. For evaluation only.

A noisy judge (--noise, a share): `independent` replaces answers in scenes, each asking its own; `repeated` replaces the
same answers in both askings; `systematic` misreads whole questions, the same way in both. --keep-differing goes by the
first asking alone: no scene is dropped because the second one differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.config.tree import Config
from valor_ray.judges.sections import read_sections
from valor_ray.measure.intervals import wilson
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.scenes.check import SceneTests
from valor_ray.reasoning.scenes.run import ScenesOfPrograms
from valor_ray.records import JudgeReply, JudgeRequest, Usage
from valor_ray.tabletop.judge.scenes.noise import with_noise
from valor_ray.tabletop.judge.scenes.oracle import fill
from valor_ray.tabletop.judge.scenes.question import read_question
from valor_ray.tabletop.questions import PARTS
from valor_ray.tabletop.replies.measured import Case, drawn_cases, file_cases, run_cases
from valor_ray.tabletop.truth_of_programs import SceneShelf, TrueScene, is_right_everywhere

NOISE_KINDS = ("independent", "repeated", "systematic")
_AT_ONCE = 4  # programs


@dataclass(frozen=True)
class Outcome:
    """What the scene tests said of one reply, and the truth."""

    case: Case
    right: bool
    verdict: bool | None  # None: missing, or the head does not apply
    applies: bool
    reason: str


class OracleJudge:
    """ports.Judge: the offline judge's oracle without its server, with the noise that is asked for."""

    def __init__(
        self, noise: float = 0.0, kind: str = "independent", keep_differing: bool = False, seed: int = 0
    ) -> None:
        self._noise, self._kind, self._keep, self._seed = noise, kind, keep_differing, seed
        self.calls = 0

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.calls += len(requests)
        return [self._reply(request, number) for number, request in enumerate(requests)]

    def _reply(self, request: JudgeRequest, asking: int) -> JudgeReply:
        message = str(request.messages[-1]["content"])
        content = fill(request.head, message)
        if content is None:
            return JudgeReply(None, "the oracle cannot read the question")
        if request.head == "scene_answers" and self._noise > 0:
            self._disturb(content["scenes"], read_sections(message)["question"], asking)
        return JudgeReply(content, usage=Usage(tries=1, model="oracle"))

    def _disturb(self, entries: list[dict[str, Any]], question: str, asking: int) -> None:
        asked = read_question(question)
        assert asked is not None
        for entry in entries:
            scene = "" if self._kind == "systematic" else entry["scene"]
            again = asking if self._kind == "independent" and not self._keep else 0
            key = f"{self._seed} {question} {scene} {again}"
            entry["answer"] = with_noise(entry["answer"], asked, self._noise, key)


async def measure(cases: Iterable[Case], judge: OracleJudge, seed: int = 0) -> tuple[list[Outcome], int]:
    """Outcomes of the cases, and how many were left out: malformed, or asked clearly by no rendered scene."""
    shelf, room = SceneShelf(seed=seed), asyncio.Semaphore(_AT_ONCE)
    async with Sandbox(Config.load().sandbox) as sandbox:
        tests = SceneTests(judge, ScenesOfPrograms(sandbox))

        async def one(case: Case, code: str, scenes: tuple[TrueScene, ...]) -> Outcome:
            async with room:
                said = await tests.verdict(case.question, code)
                right = await is_right_everywhere(code, scenes, sandbox)
            if said.verdict is None:
                return Outcome(case, right, None, False, said.test)
            return Outcome(case, right, said.verdict.value, True, said.verdict.reason)

        work, left_out = [], 0
        for case in cases:
            parsed, scenes = parse_reply(case.reply), shelf.scenes(case.blueprint)
            if parsed.well_formed and scenes:
                work.append(one(case, parsed.code, scenes))
            else:
                left_out += 1
        return list(await asyncio.gather(*work)), left_out


def table(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row for all, and for each family, kind and style: shares with 95 % Wilson intervals, "share [low, high] of n".

    A reply with two flaws is in the rows of both.
    """
    groups: dict[str, list[Outcome]] = {"all": list(outcomes)}
    for name in ("family", "kind", "style"):
        values = [(value, each) for each in outcomes for value in getattr(each.case, name).split(" + ")]
        for value, outcome in sorted(values, key=lambda pair: pair[0]):
            groups.setdefault(f"{name} {value}", []).append(outcome)
    return [{"group": group, **_row(members)} for group, members in groups.items()]


def _row(outcomes: list[Outcome]) -> dict[str, Any]:
    asked = [each for each in outcomes if each.applies]
    right = [each.verdict for each in asked if each.right]
    wrong = [each.verdict for each in asked if not each.right]
    return {
        "n": len(outcomes),
        "right": sum(each.right for each in outcomes),
        "false_no": _share(right.count(False), len(right) - right.count(None)),
        "false_yes": _share(wrong.count(True), len(wrong) - wrong.count(None)),
        "missing": _share(right.count(None) + wrong.count(None), len(asked)),
        "missing_when_wrong": _share(wrong.count(None), len(wrong)),
        "not_applicable": _share(len(outcomes) - len(asked), len(outcomes)),
    }


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count / of:.3f} [{low:.3f}, {high:.3f}] of {of}" if of else "–"


def _wrong(outcomes: Sequence[Outcome], most: int) -> list[dict[str, Any]]:
    """Some of the replies on which the scene tests err, for whoever looks into it."""
    odd = [each for each in outcomes if each.verdict is not each.right]
    return [
        {
            "question": each.case.question, "family": each.case.family, "kind": each.case.kind,
            "style": each.case.style,
            "right": each.right, "verdict": each.verdict, "reason": each.reason, "reply": each.case.reply,
        }
        for each in odd[:most]
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="measure_scenes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--n", type=int, default=600, help="drawn replies (600), a half of them with flaws")
    parser.add_argument("--each", type=int, default=4, help="drawn replies a question (4)")
    parser.add_argument(
        "--part", choices=PARTS, default="training", help="whose wordings and pairs questions have"
    )
    parser.add_argument(
        "--replies", type=Path, help="JSONL of family, relation, kind, style, reply with @a@ …"
    )
    parser.add_argument("--draws", type=int, default=4, help="questions for each reply of the file (4)")
    parser.add_argument("--run", type=Path, help="a training run's folder: its rollouts.jsonl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--noise", type=float, default=0.0, help="share of the judge's answers, or questions, gone wrong"
    )
    parser.add_argument("--noise-kind", choices=NOISE_KINDS, default="independent")
    parser.add_argument(
        "--keep-differing", action="store_true", help="no scene is dropped for a second answer"
    )
    parser.add_argument(
        "--wrong", type=Path, help="write replies on which the scene tests err to this file (JSONL)"
    )
    return parser.parse_args()


def main() -> None:
    args = _arguments()
    cases: Iterable[Case]
    if args.replies:
        cases = file_cases(args.replies, args.draws, args.seed, args.part)
    elif args.run:
        cases = run_cases(args.run, args.n, args.seed)
    else:
        cases = drawn_cases(args.n, args.each, args.seed, args.part)
    judge = OracleJudge(args.noise, args.noise_kind, args.keep_differing, args.seed)
    outcomes, left_out = asyncio.run(measure(cases, judge, args.seed))
    for row in table(outcomes):
        print(json.dumps(row, ensure_ascii=False), flush=True)
    print(json.dumps({"left_out": left_out, "judge_calls": judge.calls, "replies": len(outcomes)}))
    if args.wrong:
        lines = (json.dumps(row, ensure_ascii=False) for row in _wrong(outcomes, 200))
        args.wrong.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
