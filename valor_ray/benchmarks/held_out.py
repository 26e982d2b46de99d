"""The held-out questions that a training run is measured by: before, after, always the same ones.

This is evaluation: the only thing that meets their answers. Training gets figures from it, never a row.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.answer import answer
from valor_ray.benchmarks import tabletop
from valor_ray.benchmarks.runner import ANSWERS, EvalReport, Query, Row, evaluate
from valor_ray.errors import ConfigError, JudgeError, ServiceError
from valor_ray.ports import Depth, Detector, Policy, Vqa
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import DepthMap, Detection, Picture
from valor_ray.runs.folder import read_records
from valor_ray.tools import LiveTools
from valor_ray.wiring import vision

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

MOST_UNASKED = 0.01  # share of the questions that may fail for other reasons than the policy's
CONCURRENCY = 96  # most of them wait for tools while the engine has a full batch


class HeldOut:
    """Asks through the real chain: policy, sandbox, live tools. What these see is kept from one time to the next."""

    def __init__(self, config: Config, folder: Path, questions: int, data: Path | None = None) -> None:
        """folder: of the answers, the judge's too. data: a folder of `valor tabletop render`; None: rendered from the
        held-out split.

        Raises ConfigError.
        """
        self._config, self._folder = config, folder
        if data is None:
            data = folder / "data"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                tabletop.make(data, questions)
            except ConfigError as error:
                raise ConfigError(f"grpo.eval_questions={questions}: {error}") from error
        self.queries, self._truths = tabletop.load(data, questions)
        self._seen: dict[Any, Any] = {}

    async def ask(self, policy: Policy, step: int, say: Any) -> dict[str, Any]:
        """The evaluation record of version `step`; answers go to folder/step-N.

        Raises ServiceError when policy or judge failed on too many questions: a failure is not a wrong answer.
        """
        out = self._folder / f"step-{step:06d}"
        answers = self._folder / "judge_cache"
        async with vision(self._config, answers) as parts, Sandbox(self._config.sandbox) as sandbox:
            eyes = _Remembered(parts.detector, parts.depth, self._seen)

            async def one(query: Query) -> Mapping[str, Any]:
                picture = images.load(query.image, self._config.images)
                judge = _Watched(parts.judge)
                tools = LiveTools(picture, eyes, eyes, judge)
                seed = int(hashlib.sha256(query.query_id.encode()).hexdigest()[:8], 16) % 2**31
                found = await answer(query.question, picture, policy, sandbox, tools, seed=seed)
                if judge.failure is not None:
                    raise ServiceError(f"The judge failed: {judge.failure}")
                return asdict(found)

            def told(done: int, row: Row) -> None:
                if done % 100 == 0:
                    say(f"version {step}: {done} of {len(self.queries)} held-out questions asked")

            report = await evaluate(
                "held-out", self.queries, self._truths, one, out, concurrency=CONCURRENCY, progress=told
            )
        self._check_asked(report, out, say)
        families = {
            name: {"n": share.n, "right": round(share.accuracy * share.n)}
            for name, share in report.by_family.items()
        }
        return {
            "step": step,
            "n": report.n,
            "accuracy": report.accuracy,
            "ci": list(report.ci),
            "well_formed": report.well_formed,
            "by_family": families,
            "unasked": report.unasked,
            "seconds": report.seconds,
        }

    def _check_asked(self, report: EvalReport, out: Path, say: Any) -> None:
        if not report.unasked:
            return
        reasons = Counter(row["error"] for row in read_records(out / ANSWERS) if row["unasked"])
        failed = (
            f"{report.unasked} of {report.n} held-out questions could not be asked "
            f"({reasons.most_common(1)[0][0]})"
        )
        if report.unasked > MOST_UNASKED * report.n:
            raise ServiceError(f"{failed}. The same command asks these again.")
        say(f"{failed} and count as wrong")


class _Watched:
    """ports.Vqa that remembers its failure, which a program would turn into a failure of its own."""

    def __init__(self, judge: Vqa) -> None:
        self._judge = judge
        self.failure: JudgeError | None = None

    async def vqa(self, picture: Picture, question: str) -> str:
        try:
            return await self._judge.vqa(picture, question)
        except JudgeError as error:
            self.failure = error
            raise


class _Remembered:
    """ports.Detector and ports.Depth that look at a picture once."""

    def __init__(self, detector: Detector, depth: Depth, seen: dict[Any, Any]) -> None:
        self._detector, self._depth, self._seen = detector, depth, seen
        self._looking: dict[Any, asyncio.Lock] = defaultdict(asyncio.Lock)  # questions share pictures

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        key = (picture.key, tuple(phrases), box_threshold)
        async with self._looking[key]:
            if key not in self._seen:
                self._seen[key] = await self._detector.detect(picture, phrases, box_threshold=box_threshold)
        return list(self._seen[key])

    async def depth(self, picture: Picture) -> DepthMap:
        async with self._looking[picture.key]:
            if picture.key not in self._seen:
                self._seen[picture.key] = await self._depth.depth(picture)
        return self._seen[picture.key]
