"""Parts of a mining run as tests script them: a policy, a detector, a verifier that keeps what it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rough_endpoint as rough
from bases import BASES
from mined import saved_picture

from valor_ray.config.tree import Config
from valor_ray.grounding.mine.outcome import Order, Outcome, picture_outcome, program_outcome
from valor_ray.grounding.mine.phrases import ProgramPhrases
from valor_ray.judges.sections import read_sections
from valor_ray.program.phrases import detection_phrases
from valor_ray.records import Detection, JudgeReply, JudgeRequest, Picture, Query, Reply, Usage


def reply(*lines: str) -> str:
    return "<plan>\n1. Look.\n</plan>\n<answer>\n" + "\n".join([*lines, "final_answer = 1"]) + "\n</answer>"


def config(*overrides: str) -> Config:
    return Config.load("local", [*BASES, "grounding.audit_every=0", *overrides])


def pictures(folder: Path, count: int) -> list[Query]:
    """Two queries about each of `count` pictures: one asks for a ball, the other for a ball and a cone."""
    queries = []
    for n in range(count):
        path = folder / f"{n}.png"
        saved_picture(path, 60 + n)
        queries += [Query(f"{n}-a", "ball", str(path)), Query(f"{n}-b", "ball, cone", str(path))]
    return queries


class Policy:
    """Asks the detector for what the question says; "malformed" gets no program. cost_usd: of a reply."""

    def __init__(self, cost_usd: float = 0.0) -> None:
        self.cost_usd = cost_usd
        self.asked: list[tuple[str, int | None]] = []

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        self.asked.append((question, seed))
        text = "no" if question == "malformed" else reply(f"gd_detect(img_pth, {question!r})")
        return [Reply(text, (), (), "base", "stop", cost_usd=self.cost_usd)]


async def phrases_of(code: str) -> ProgramPhrases:
    return ProgramPhrases(detection_phrases(code).phrases, (), "ok")


class Detector:
    """One box a phrase, side by side; `boxes` of each phrase when it is given."""

    def __init__(self, boxes: int = 1) -> None:
        self.boxes = boxes
        self.asked: list[tuple[str, ...]] = []

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        self.asked.append(tuple(phrases))
        assert box_threshold == 0.1
        return [
            Detection((2.0 + 3 * k, 5.0 + 8 * row, 4.0 + 3 * k, 11.0 + 8 * row), phrase, 0.9 - 0.01 * k)
            for row, phrase in enumerate(phrases)
            for k in range(self.boxes)
        ]


def keep_all(head: str, text: str) -> dict[str, Any]:
    """The answer of a verifier that finds every box right, every object another, and nothing where no box is."""
    if head == "box_crop":
        return {"reason": "fits", "verdict": "keep"}
    name = "phrases" if head == "box_presence" else "boxes"
    boxes = [json.loads(line) for line in read_sections(text)[name].splitlines()]
    if head == "box_presence":
        return {"phrases": [{**b, "reason": "nowhere", "verdict": "absent"} for b in boxes]}
    if head == "box_duplicates":
        return {"objects": [{"indices": [b["index"]], "best": b["index"], "reason": "one"} for b in boxes]}
    said = {"reason": "fits", "verdict": "keep"}
    return {"boxes": [{"index": b["index"], "label": b["label"], **said} for b in boxes]}


class Judge:
    """ports.Judge that remembers nothing. `missing`: heads that get no answer."""

    def __init__(self, answer: Callable[[str, str], dict[str, Any]] = keep_all) -> None:
        self.answer, self.missing = answer, set[str]()
        self.asked: Counter[str] = Counter()

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asked.update(request.head for request in requests)
        return [self._one(request) for request in requests]

    def _one(self, request: JudgeRequest) -> JudgeReply:
        if request.head in self.missing:
            return JudgeReply(None, "the judge is down", Usage(tries=1))
        text = request.messages[-1]["content"][-1]["text"]
        usage = Usage(tries=1, prompt_tokens=10, completion_tokens=2, cost_usd=0.01, model="scripted")
        return JudgeReply(self.answer(request.head, text), usage=usage)


class Host:
    """mine.host.MineHost over the scripted parts; `stop_after` outcomes of a phase it is killed."""

    def __init__(self, config: Config, **parts: Any) -> None:
        self.config = config
        self.policy = parts.get("policy", Policy())
        self.detector = parts.get("detector", Detector())
        self.judge = parts.get("judge", Judge())
        self.stop_after: int | None = None
        self.twice = False  # every outcome, as when a worker has died
        self.started = 0

    @contextmanager
    def running(self, config: Config, cache: Path, say: Callable[[str], None]) -> Iterator[Host]:
        self.started += 1
        yield self

    def programs(self, queries: Sequence[Query]) -> Generator[Outcome, None, None]:
        seed = self.config.grounding.seed
        yield from self._each(program_outcome(q, self.policy, phrases_of, seed) for q in queries)

    def pictures(self, orders: Sequence[Order]) -> Generator[Outcome, None, None]:
        yield from self._each(picture_outcome(o, self.detector, self.judge, self.config) for o in orders)

    def trouble(self) -> str:
        return ""

    def _each(self, work: Any) -> Generator[Outcome, None, None]:
        for number, one in enumerate(work):
            if number == self.stop_after:
                one.close()
                raise KeyboardInterrupt
            outcome = asyncio.run(one)
            yield outcome
            if self.twice:
                yield outcome


class CountingVlm:
    """An endpoint of this process that keeps every box, and counts each call by its content."""

    def __init__(self) -> None:
        self.url, self.down, self.delay_s = "", False, 0.0
        self.calls: Counter[str] = Counter()  # answered ones

    async def behave(self, n: int, body: dict[str, Any], request: Any) -> Any:
        came_while_down = self.down  # its caller may be killed by the time that it is answered
        await asyncio.sleep(self.delay_s)
        if came_while_down or self.down:
            return rough.failed(503, "down for a while")
        self.calls[hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()] += 1
        head = body["response_format"]["json_schema"]["name"]
        return rough.said(json.dumps(keep_all(head, body["messages"][-1]["content"][-1]["text"])))

    @property
    def asked(self) -> int:
        return sum(self.calls.values())


@contextmanager
def counting_vlm() -> Iterator[CountingVlm]:
    vlm = CountingVlm()
    with rough.endpoint(vlm.behave) as end:
        vlm.url = end.url
        yield vlm
