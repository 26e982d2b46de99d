"""The held-out questions that a training run is measured by: before, after, always the same ones.

This is evaluation: the only thing that meets their answers. Training gets figures from it, never a row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray import images
from valor_ray.asking.kept import Kept
from valor_ray.asking.question import Chain, ask
from valor_ray.asking.remembered import Remembered
from valor_ray.benchmarks.data import own, tabletop
from valor_ray.benchmarks.figures import EvalReport
from valor_ray.benchmarks.runner import ANSWERS, AnswerFn, evaluate, unanswered
from valor_ray.errors import ConfigError, ServiceError
from valor_ray.judges.vqa import VqaJudge
from valor_ray.ports import Policy
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import Query
from valor_ray.runs.record_file import read_records
from valor_ray.wiring import OpenEyes, judging, vlm_cache

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

MOST_UNASKED = 0.01  # share of the questions that may fail for other reasons than the policy's
CONCURRENCY = 96  # most of them wait for tools while the engine has a full batch


class HeldOut:
    """Asks through the real chain: policy, sandbox, live tools. What the eyes have seen is kept for the next version.

    `valor train reasoning` makes one a run, and `reasoning.training.run` asks it before the first and after the last
    step. `ask` waits for all answers; a second call for a version asks only what has none yet.
    """

    def __init__(self, config: Config, folder: Path, questions: int, data: Path | None = None) -> None:
        """folder: of the answers, those of VQA too. data: a folder of `valor tabletop render`; None: rendered from the
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
        self.queries, self._truths = own.load(data, questions)
        self.seen: dict[Any, Any] = {}  # what eyes have said, for whoever else looks at these pictures

    async def ask(self, policy: Policy, eyes: OpenEyes, step: int, say: Any) -> dict[str, Any]:
        """The evaluation record of version `step`; answers go to folder/step-N.

        eyes: opened once, and only when a question has no answer yet; VQA asks config.vlm from this process.
        Raises ServiceError when policy, eyes or VQA failed on too many questions (a failure is not a wrong answer),
        and what opening the eyes raises.
        """
        out = self._folder / f"step-{step:06d}"

        def told(done: int, row: Any) -> None:
            if done % 100 == 0:
                say(f"version {step}: {done} of {len(self.queries)} held-out questions asked")

        async with AsyncExitStack() as opened:
            one: AnswerFn = _nobody
            if unanswered(out, self.queries):
                one = await opened.enter_async_context(self._chain(policy, eyes))
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

    @asynccontextmanager
    async def _chain(self, policy: Policy, eyes: OpenEyes) -> AsyncIterator[AnswerFn]:
        """Everything that answering needs, and the function that answers with it."""
        async with chain_of(self._config, self._folder, policy, eyes, self.seen) as chain:

            async def one(query: Query) -> Kept:
                picture = images.load(Path(query.image), self._config.images)
                seed = int(hashlib.sha256(query.query_id.encode()).hexdigest()[:8], 16) % 2**31
                return await ask(query.question, picture, chain, seed=seed)

            yield one

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


@asynccontextmanager
async def chain_of(
    config: Config, folder: Path, policy: Policy, eyes: OpenEyes, seen: dict[Any, Any]
) -> AsyncIterator[Chain]:
    """All that answering needs, in this process, for as long as the block lasts.

    folder: of the answers of VQA. seen: what the eyes have seen, kept for further blocks.
    """
    part = config.vlm_part
    async with (
        judging(config.vlm, vlm_cache(folder), part) as vlm,
        eyes() as seeing,
        Sandbox(config.sandbox) as sandbox,
    ):
        remembering, vqa = Remembered(seeing, seen), VqaJudge(vlm, config.vlm, part)
        patience_s = config.sandbox.tool_seconds / 2
        yield Chain(policy, remembering, remembering, vqa, sandbox, patience_s)


async def _nobody(query: Query) -> Kept:
    raise AssertionError(f"{query.query_id} has an answer")  # only a run that has all answers asks nobody
