"""Questions for bare pictures (paper: the SA-1B half of its queries): a VLM writes several, one a picture is kept.

The VLM stands behind ports.Judge, so its answers are on disk before they are used. Nothing here knows an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.answer import check_question
from valor_ray.errors import ConfigError, ImageError, QuestionError
from valor_ray.ports import Judge
from valor_ray.queries.apart import normalised, prompt_examples
from valor_ray.queries.kinds import QuestionKind, choose, kind_of
from valor_ray.queries.pictures import Shot
from valor_ray.queries.read import LONGEST_QUESTION
from valor_ray.records import JudgeReply, JudgeRequest
from valor_ray.runs.progress import Pace
from valor_ray.runs.record_file import RecordFile, read_records

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

FAILED = "failed.jsonl"  # beside the queries: pictures without one, of the last run
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"questions": {"type": "array", "items": {"type": "string"}}},
    "required": ["questions"],
    "additionalProperties": False,
}
_IN_WORK = 64  # pictures at a time
_DECODING = 2  # pictures decoded at a time: each may have a hundred megapixels
_SAY_EVERY_S = 5.0
_UNUSABLE = "The judge wrote no question that can be used. Ask another model, or another --per-image."
_NOT_OURS = "holds something other than the queries of this job. Give another file."
_HEAD = b'{"query_id": '  # how a file of ours begins
_FATES = ("written", "failed", "missing", "unusable")


def query_request(path: Path, per_image: int, config: Config) -> JudgeRequest:
    """What the VLM is asked about a picture. Raises ImageError."""
    picture = images.load(path, config.images)
    uri = images.to_jpeg_uri(picture, config.vlm.jpeg_quality, config.vlm.max_side)
    wanted = f"Write {per_image} question{'s' * (per_image > 1)} about this picture."
    content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": wanted}]
    messages = ({"role": "system", "content": _prompt()}, {"role": "user", "content": content})
    return JudgeRequest("write_queries", _version(), messages, SCHEMA)


def usable(content: Mapping[str, Any]) -> list[str]:
    """The questions of an answer, without empty, too long and repeated ones and without the prompts' own examples."""
    seen = {normalised(example) for example in prompt_examples()}
    questions = []
    for text in content["questions"]:
        try:
            question = check_question(" ".join(text.split()), LONGEST_QUESTION)
        except QuestionError:
            continue
        if (key := normalised(question)) not in seen:
            seen.add(key)
            questions.append(question)
    return questions


@dataclass
class Writing:
    """A run that appends a query (query_id, image, question) to `out` for each picture that has none there yet.

    `jobs.write_queries` makes one and calls `run`, which waits for the judge, _IN_WORK pictures at a time.
    Pictures without one are rows of failed.jsonl (query_id, what, error) and are tried again by the next run.
    """

    out: Path
    seed: int
    say: Callable[[str], None]
    kinds: Counter[QuestionKind] = field(default_factory=Counter)  # of all queries in `out`
    counts: Counter[str] = field(default_factory=Counter)
    cost_usd: float = 0.0

    async def run(
        self, shots: Sequence[Shot], judge: Judge, config: Config, per_image: int
    ) -> dict[str, Any]:
        """Returns the summary. Raises ConfigError when `out` holds something else, JudgeError when every call must
        fail, StorageError."""
        start = time.monotonic()
        file, failed = self._open()
        try:
            have = self._written()
            todo = [shot for shot in shots if shot.query_id not in have]
            pace = Pace(len(todo))
            pace.count(0)
            async with aclosing(_answers(todo, judge, config, per_image)) as answers:
                async for shot, reply, fate in answers:
                    self._take(shot, reply, fate, file, failed)
                    pace.count()
                    if pace.due(_SAY_EVERY_S):
                        self.say(pace.line("pictures"))
        finally:
            file.close()
            failed.close()
        return {
            "images": len(shots),
            "before": len(shots) - len(todo),
            **{name: self.counts[name] for name in (*_FATES, "calls", "tries", "cache_hits")},
            "kinds": {kind.value: self.kinds[kind] for kind in QuestionKind},
            "cost_usd": self.cost_usd,
            "seconds": time.monotonic() - start,
        }

    def _open(self) -> tuple[RecordFile, RecordFile]:
        """`out`, unless it is somebody else's file: opening cuts off a torn last line, which only ours may have."""
        try:
            self.out.touch()
            with self.out.open("rb") as file:
                if not _HEAD.startswith(file.read(len(_HEAD))):
                    raise ConfigError(f"--out {self.out} {_NOT_OURS}")
            return RecordFile(self.out, keep=True), RecordFile(self.out.with_name(FAILED), keep=False)
        except OSError as error:
            raise ConfigError(f"--out {self.out}: {error}. Give a file that can be written.") from error

    def _written(self) -> set[str]:
        have = set()
        for record in read_records(self.out):
            if not isinstance(record, dict) or not isinstance(record.get("question"), str):
                raise ConfigError(f"--out {self.out} {_NOT_OURS}")
            have.add(str(record.get("query_id")))
            self.kinds[kind_of(record["question"])] += 1
        return have

    def _take(self, shot: Shot, reply: JudgeReply, fate: str, file: RecordFile, failed: RecordFile) -> None:
        usage = reply.usage
        self.cost_usd += usage.cost_usd
        self.counts.update(calls=int(usage.tries > 0), tries=usage.tries, cache_hits=int(usage.cached))
        questions = usable(reply.content) if reply.content is not None else []
        if questions:
            question = choose(questions, self.kinds, self.seed, shot.query_id)
            folder = self.out.absolute().parent
            image = shot.path.relative_to(folder) if shot.path.is_relative_to(folder) else shot.path
            file.append({"query_id": shot.query_id, "image": image.as_posix(), "question": question})
            self.kinds[kind_of(question)] += 1
        else:
            fate = "unusable" if reply.content is not None else fate
            failed.append({"query_id": shot.query_id, "what": fate, "error": reply.missing or _UNUSABLE})
        self.counts[fate] += 1


async def _answers(
    shots: Sequence[Shot], judge: Judge, config: Config, per_image: int
) -> AsyncGenerator[tuple[Shot, JudgeReply, str], None]:
    """Picture, answer and fate, in the order of the pictures, so that the choice among questions is repeatable."""
    decoding = asyncio.Semaphore(_DECODING)

    async def ask(shot: Shot) -> tuple[Shot, JudgeReply, str]:
        if shot.error:
            return shot, JudgeReply(None, shot.error), "failed"
        try:
            async with decoding:
                request = await asyncio.to_thread(query_request, shot.path, per_image, config)
        except ImageError as error:
            return shot, JudgeReply(None, str(error)), "failed"
        reply = (await judge.ask([request]))[0]
        return shot, reply, "written" if reply.content is not None else "missing"

    waiting: deque[asyncio.Task] = deque()
    try:
        for shot in shots:
            waiting.append(asyncio.create_task(ask(shot)))
            if len(waiting) == _IN_WORK:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@cache
def _prompt() -> str:
    return files("valor_ray").joinpath("prompts", "write_queries.txt").read_text(encoding="utf-8").strip()


@cache
def _version() -> str:
    return hashlib.sha256(f"{_prompt()}\0{json.dumps(SCHEMA, sort_keys=True)}".encode()).hexdigest()[:12]
