"""`python -m valor_ray.tabletop.judge.measure_text`: how often the four text heads err, by the truth of execution.

Replies are drawn (development styles and flaws of tabletop/replies), read from a file of templates (--replies), or
taken from a training run (--run). A program is right when it answers its question in twenty scenes that ask it clearly,
run with true tools. The heads see question, plan and program only. For evaluation: this is no part of the judge,
whose process never imports scenes or truth (a test looks).

Of right replies: "false no", a head says no, and "cannot tell". Of wrong ones: "false yes", which for a single head
only tells what it lets pass (each is to find one kind of flaw), and for all four together what gets full reward.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valor_ray.config.tree import Config
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.measure.intervals import wilson
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import JUDGED
from valor_ray.tabletop.judge.text.judged import Judged
from valor_ray.tabletop.judge.text.verdict import judge
from valor_ray.tabletop.questions import PARTS, Part
from valor_ray.tabletop.replies.measured import Case, drawn_cases, file_cases, run_cases
from valor_ray.tabletop.truth_of_programs import SceneShelf, is_right_everywhere

ALL = "all four"


@dataclass(frozen=True)
class Verdicts:
    """A reply, whether its program is right, and what each head said."""

    case: Case
    right: bool
    judged: dict[str, Judged]  # by head

    @property
    def together(self) -> bool | None:
        """yes only when all say yes, no when one does: what decides about full reward."""
        values = [one.verdict for one in self.judged.values()]
        return False if False in values else None if None in values else True


@dataclass
class Errors:
    """Counts of (head, program right, verdict)."""

    counts: Counter[tuple[str, bool, bool | None]] = field(default_factory=Counter)

    def add(self, one: Verdicts) -> None:
        for head, judged in one.judged.items():
            self.counts[head, one.right, judged.verdict] += 1
        self.counts[ALL, one.right, one.together] += 1

    def row(self, head: str) -> dict[str, Any]:
        """Shares with n and 95 % Wilson intervals; a false no and a false yes are out of all right and all wrong."""
        of = {right: sum(self.counts[head, right, v] for v in (True, False, None)) for right in (True, False)}
        missing = self.counts[head, True, None] + self.counts[head, False, None]
        return {
            "head": head,
            "false no": share(self.counts[head, True, False], of[True]),
            "false yes": share(self.counts[head, False, True], of[False]),
            "cannot tell": share(missing, of[True] + of[False]),
            "cannot tell when right": share(self.counts[head, True, None], of[True]),
        }


def share(count: int, of: int) -> dict[str, Any]:
    low, high = wilson(count, of)
    return {"share": round(count / of, 4) if of else None, "n": of, "ci": [round(low, 4), round(high, 4)]}


async def measure(cases: Iterable[Case]) -> list[Verdicts]:
    """Truth and verdicts of each well-formed reply whose question can be asked in some scene; the others are left out.

    Renders scenes as it needs them (seconds) and runs each program in up to twenty of them.
    """
    shelf, measured = SceneShelf(), []
    truths: dict[tuple[str, str], bool] = {}
    async with Sandbox(Config.load().sandbox) as sandbox:
        for case in cases:
            parsed, scenes = parse_reply(case.reply), shelf.scenes(case.blueprint)
            if not parsed.well_formed or not scenes:
                continue
            key = (repr(case.blueprint), parsed.code)
            if key not in truths:
                truths[key] = await is_right_everywhere(parsed.code, scenes, sandbox)
            requests = verdict_requests(case.question, parsed.plan, parsed.code)
            judged = {
                head.value: judge(head.value, str(r.messages[-1]["content"])) for head, r in requests.items()
            }
            measured.append(Verdicts(case, truths[key], judged))
    return measured


def table(measured: Iterable[Verdicts]) -> list[dict[str, Any]]:
    errors = Errors()
    for one in measured:
        errors.add(one)
    return [errors.row(head) for head in (*(head.value for head in JUDGED), ALL)]


def by(measured: Iterable[Verdicts], name: str) -> dict[str, dict[str, Any]]:
    """The errors of all heads together by kind, style or family of the replies."""
    groups: dict[str, Errors] = defaultdict(Errors)
    for one in measured:
        groups[str(getattr(one.case, name))].add(one)
    return {group: errors.row(ALL) for group, errors in sorted(groups.items())}


def _cases(args: argparse.Namespace) -> Iterable[Case]:
    part: Part = args.part
    if args.replies:
        return file_cases(args.replies, args.draws, args.seed, part)
    if args.run:
        return run_cases(args.run, args.n, args.seed)
    return drawn_cases(args.n, args.each, args.seed, part)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="measure_text", description=(__doc__ or "").split("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--replies", type=Path, help="JSONL of family, relation, kind, style, reply with @a@ @b@ …"
    )
    source.add_argument("--run", type=Path, help="folder of a training run: its rollouts.jsonl")
    parser.add_argument("--n", type=int, default=2000, help="replies drawn, or rollouts of a run (2000)")
    parser.add_argument("--each", type=int, default=2, help="drawn replies to a question (2)")
    parser.add_argument(
        "--draws", type=int, default=3, help="questions that a line of --replies is filled in for (3)"
    )
    parser.add_argument(
        "--part", choices=PARTS, default="development", help="whose questions are asked (development)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument(
        "--errors", type=int, default=0, help="show so many replies that are judged wrongly (0)"
    )
    return parser


def main() -> None:
    args = _parser().parse_args()
    measured = asyncio.run(measure(_cases(args)))
    groups = {name: by(measured, name) for name in ("kind", "style", "family")}
    if args.json:
        print(json.dumps({"heads": table(measured), **groups}, ensure_ascii=False))
        return
    for row in table(measured):
        print(_line(str(row["head"]), row))
    for name, rows in groups.items():
        print(f"\nall four, by {name}")
        for group, row in rows.items():
            print(_line(group, row))
    for one in [one for one in measured if one.together is not one.right][: args.errors]:
        reasons = {
            head: judged.reason for head, judged in one.judged.items() if judged.verdict is not one.right
        }
        print(
            f"\n{one.case.kind}, {one.case.style}, right: {one.right}\n{one.case.question}\n{one.case.reply}\n{reasons}"
        )


def _line(name: str, row: dict[str, Any]) -> str:
    cells = []
    for error in ("false no", "false yes", "cannot tell"):
        cell = row[error]
        low, high = cell["ci"]
        text = f"{cell['share']:.3f} [{low:.3f}, {high:.3f}] of {cell['n']}" if cell["n"] else "–"
        cells.append(f"{error} {text}")
    return f"{name:28.28}  " + "   ".join(f"{cell:42}" for cell in cells).rstrip()


if __name__ == "__main__":
    main()
