"""Right answers of unchanged programs through several detectors: what a better detector is worth. For evaluation only.

The programs are fixed once: `gold`, the right reply to each question (only what tools see can make it wrong), and
`greedy`, what the base policy writes at temperature 0, which is kept in a file. Each is run in the sandbox with the
detector, the depth model and VQA of the settings; only the detector changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.models import DetectorConfig
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.judges.vqa import VqaJudge
from valor_ray.measure.answers import is_right
from valor_ray.measure.paired import paired_change
from valor_ray.ports import Depth, Detector, Vqa
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import DepthMap, Detection, Picture
from valor_ray.runs.at_once import each as each_of
from valor_ray.runs.record_file import read_records, replace_text
from valor_ray.tabletop.finetune.detections import weights_of
from valor_ray.tabletop.finetune.programs import Question, greedy_replies, questions
from valor_ray.tabletop.scenes import GROUNDING_LOOKS
from valor_ray.tools import LiveTools
from valor_ray.wiring import InProcessDepth, InProcessDetector, judging

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

QUESTIONS = 300
START = "start"
GOLD, GREEDY = "gold", "greedy"
RIGHT, WRONG, MALFORMED = "right", "wrong answer", "malformed reply"
_AT_ONCE = 4
_DEPTH = {"model", "image_side"}  # what decides a depth map
_HOW_ASKED = {  # of the vision model: what decides no answer
    *(
        "api_key_env",
        "timeout_s",
        "requests_per_minute",
        "tokens_per_minute",
        "max_in_flight",
        "price_in",
        "price_out",
    ),
    *("retries", "patience_s", "first_in_flight", "hedge", "replicas", "cache_dir", "delay_s"),
}


@dataclass(frozen=True)
class Row:
    """How a program ended with one detector."""

    query_id: str
    end: str  # RIGHT, WRONG, MALFORMED, or "program: STATUS"
    answer: Any = None


def answers(
    models: Mapping[str, DetectorConfig],
    config: Config,
    cache: Path,
    count: int = QUESTIONS,
    say: Callable[[str], None] = print,
    *,
    looks: Sequence[str] = GROUNDING_LOOKS,
    programs: Sequence[str] = (GOLD, GREEDY),
) -> dict[str, Any]:
    """Shares of right answers on `count` held-out questions, by model, and each model's change over "start".

    cache: gets greedy.jsonl (the base policy's replies, made once) and what each detector has answered, by its weights
    and by the depth and vision models beside it; neither is made again. Blocks for `count` programs a model and kind;
    `greedy` also for the policy, once. Raises ConfigError without a model "start" or where greedy.jsonl is of other
    questions, JudgeError when VQA fails.
    """
    if START not in models:
        raise ConfigError(f"No model {START!r} to compare with: there are {', '.join(models)}.")
    asked = questions(count, looks)
    replies = {
        kind: {each.query_id: each.gold for each in asked}
        if kind == GOLD
        else greedy_replies(config, asked, cache / "greedy.jsonl", say)
        for kind in programs
    }
    rows = asyncio.run(_run(models, config, asked, replies, cache, say))
    return {
        "n": len(asked),
        "pictures": len({each.picture.key for each in asked}),
        "looks": list(looks),
        "programs": {kind: _kind_record({name: rows[name, kind] for name in models}, asked) for kind in programs},
    }  # fmt: skip


class _Eyes:
    """ports.Detector and ports.Depth for programs that run side by side: one look at a time, and one at each depth."""

    def __init__(self, depth: Depth) -> None:
        self.detector: Detector | None = None
        self._depth, self._maps = depth, dict[str, DepthMap]()
        self._looking = asyncio.Lock()

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        assert self.detector is not None
        async with self._looking:
            return await self.detector.detect(picture, phrases, box_threshold=box_threshold)

    async def depth(self, picture: Picture) -> DepthMap:
        async with self._looking:
            if picture.key not in self._maps:
                self._maps[picture.key] = await self._depth.depth(picture)
            return self._maps[picture.key]


class _Vqa:
    """ports.Vqa that remembers a failure, which a program would make one of its own."""

    def __init__(self, judge: Vqa) -> None:
        self._judge = judge
        self.failure: JudgeError | None = None

    async def vqa(self, picture: Picture, question: str) -> str:
        try:
            return await self._judge.vqa(picture, question)
        except JudgeError as error:
            self.failure = error
            raise


async def _run(
    models: Mapping[str, DetectorConfig],
    config: Config,
    asked: Sequence[Question],
    replies: Mapping[str, Mapping[str, str]],
    cache: Path,
    say: Callable[[str], None],
) -> dict[tuple[str, str], list[Row]]:
    """Rows in the order of the questions, by model and kind of program."""
    from valor_ray.models.grounding_dino.detector import GroundingDino
    from valor_ray.models.moge.depth import MoGe

    rows: dict[tuple[str, str], list[Row]] = {}
    async with (
        judging(config.vlm, cache / "vlm_cache", config.vlm_part) as vlm,
        Sandbox(config.sandbox) as sandbox,
    ):
        vqa = _Vqa(VqaJudge(vlm, config.vlm, config.vlm_part))
        eyes = _Eyes(InProcessDepth(MoGe(config.depth)))
        for name, model in models.items():
            file = cache / "answers" / f"{_key(model, config)}.jsonl"
            known = {(row["program"], row["query_id"]): row for row in read_records(file)}
            eyes.detector = None
            for kind, texts in replies.items():
                todo = [q for q in asked if not _same(known.get((kind, q.query_id)), texts[q.query_id])]
                if todo:
                    say(f"{len(todo)} {kind} programs through {name}")
                    eyes.detector = eyes.detector or InProcessDetector(GroundingDino(model))
                    made = await _ends(todo, texts, eyes, vqa, sandbox)
                    known |= {(kind, row.query_id): _record(row, kind, texts[row.query_id]) for row in made}
                rows[name, kind] = [_row(known[kind, q.query_id]) for q in asked]
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_text(file, "".join(json.dumps(row) + "\n" for row in known.values()))
    return rows


def _key(model: DetectorConfig, config: Config) -> str:
    """Of what a detector shows to programs, and of what else sees for them."""
    beside = json.dumps(
        [
            config.depth.model_dump(mode="json", include=_DEPTH),
            config.vlm.model_dump(mode="json", exclude=_HOW_ASKED),
        ],
        sort_keys=True,
    )
    seen = hashlib.sha256(beside.encode()).hexdigest()[:8]
    return f"{weights_of(model)}-{model.box_threshold:g}-{model.text_threshold:g}-{model.image_side}-{seen}"


def _record(row: Row, kind: str, reply: str) -> dict[str, Any]:
    return {"program": kind, "reply": reply, **asdict(row)}


def _same(record: Mapping[str, Any] | None, reply: str) -> bool:
    return record is not None and record["reply"] == reply


def _row(record: Mapping[str, Any]) -> Row:
    return Row(record["query_id"], record["end"], record["answer"])


async def _ends(
    asked: Sequence[Question], replies: Mapping[str, str], eyes: _Eyes, vqa: _Vqa, sandbox: Sandbox
) -> list[Row]:
    rows: list[Row] = []

    async def one(question: Question) -> None:
        tools = LiveTools(question.picture, eyes, eyes, vqa)
        rows.append(await _end(question, replies[question.query_id], tools, sandbox))

    await each_of(asked, one, _AT_ONCE)
    if vqa.failure is not None:
        raise vqa.failure
    return rows


async def _end(question: Question, reply: str, tools: LiveTools, sandbox: Sandbox) -> Row:
    parsed = parse_reply(reply)
    if not parsed.well_formed:
        return Row(question.query_id, MALFORMED)
    size = (question.picture.width, question.picture.height)
    result = await sandbox.run(parsed.code, tools, size)
    if result.error is not None:
        return Row(question.query_id, f"program: {result.status.value}")
    right = is_right(result.answer, question.truth)
    return Row(question.query_id, RIGHT if right else WRONG, result.answer)


def _kind_record(rows: Mapping[str, Sequence[Row]], asked: Sequence[Question]) -> dict[str, Any]:
    """Of one kind of program: each model's figures, and its change over "start"."""
    return {
        "models": {
            name: {"right": _percent(sum(row.end == RIGHT for row in own) / max(len(own), 1)),
                   "ends": dict(Counter(row.end for row in own).most_common())}
            for name, own in rows.items()
        },
        "changes": {
            name: _change(rows[START], own, asked)
            | {f"by_{part}": _parts(rows[START], own, asked, part) for part in ("look", "family", "text")}
            for name, own in rows.items()
            if name != START
        },
    }  # fmt: skip


def _parts(
    before: Sequence[Row], after: Sequence[Row], asked: Sequence[Question], part: str
) -> dict[str, Any]:
    made = {}
    for value in dict.fromkeys(getattr(each, part) for each in asked):
        places = [place for place, each in enumerate(asked) if getattr(each, part) == value]
        made[value] = _change(
            [before[place] for place in places],
            [after[place] for place in places],
            [asked[place] for place in places],
        )
    return made


def _change(before: Sequence[Row], after: Sequence[Row], asked: Sequence[Question]) -> dict[str, Any]:
    """In % of the questions; the interval is clustered by picture."""
    marks = [[row.end == RIGHT for row in rows] for rows in (before, after)]
    said = paired_change(marks[0], marks[1], [each.picture.key for each in asked])
    return {
        "n": said.n,
        "start": _percent(said.before),
        "end": _percent(said.after),
        "gain": _percent(said.gain),
        "gain_ci": [_percent(side) for side in said.ci],
        "fixed": said.fixed,
        "broken": said.broken,
        "p": round(said.p, 5),
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)
