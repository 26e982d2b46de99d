"""The ports through which steps reach models and judges: Policy, Detector, Depth, Judge, and what builds on them.

What stands behind one (a model in this process, a Serve handle, an HTTP endpoint) is wired in one place, `wiring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from valor_ray.records import (
    DepthMap,
    Detection,
    JudgeReply,
    JudgeRequest,
    Picture,
    Reply,
    Sampling,
    SceneRun,
    SymbolicScene,
    Verdict,
)

T = TypeVar("T")


class Versioned(list[T]):
    """What a model has found, and the version of the weights that found it: a list like any other, also when empty."""

    def __init__(self, items: Iterable[T] = (), version: str = "") -> None:
        super().__init__(items)
        self.version = version


def version_of(result: object) -> str:
    """The weights that a result is by; "" where it does not say."""
    return result.version if isinstance(result, Versioned) else ""


@dataclass(frozen=True)
class Turn:
    """A reply that failed, and what its writer is told: how the conversation about a question goes on."""

    reply: str  # not empty
    request: str  # what went wrong, and what is wanted now


class Policy(Protocol):
    """The LLM that writes plan and program. It sees the question, never the picture.

    Called by `answer`, once for each question and once more for each repair; any number of calls may wait at a time.
    Waits for the engine, which samples for all callers together.
    """

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        """Sample n replies to one question, or to the last of `turns`, which follow it.

        Raises PolicyError; QuestionError when this question or conversation cannot be taken, as one that is too long.
        """
        ...


class Sampler(Protocol):
    """The policy as training samples from it: whole batches, with the same result whenever they are asked for.

    Called by rollouts, once for each share of a step.
    Waits until it has the engine to itself (on a GPU batches share it), then for the whole batch.
    """

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """n replies to each question. The same weights, questions and seed give the same tokens. Raises PolicyError."""
        ...


class Detector(Protocol):
    """Boxes of things named by words, in pixels of the picture that was given.

    Called by LiveTools for each gd_detect of a program; any number of calls may wait at a time.
    Waits for the model; behind a service, also for others whose pictures share the batch.
    """

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        """Boxes of all phrases, best score first; `label` is the phrase as asked. None: the configured threshold.

        `Versioned` where what stands behind it knows which weights it asks."""
        ...


class Depth(Protocol):
    """How far away everything in a picture is.

    Called by LiveTools at most once for each run of a program; any number of calls may wait at a time.
    Waits for the model; behind a service, also for others whose pictures share the batch.
    """

    async def depth(self, picture: Picture) -> DepthMap:
        """Metric depth of every pixel, in metres."""
        ...


class Vqa(Protocol):
    """Questions about what a picture shows, answered in a word or two.

    Called by LiveTools for each vqa of a program; behind it stands a Judge (judges/vqa.py).
    Waits for the judge, but not for long: a judge that is down is an error soon.
    """

    async def vqa(self, picture: Picture, question: str) -> str:
        """Short lower-case answer about the picture (a crop or a whole image). Raises JudgeError."""
        ...


class Judge(Protocol):
    """A judge model behind any endpoint: what the judges of plans, of boxes, and VQA are asked through.

    Called by the reward, the audit and VqaJudge; what belongs to one reply is asked in one call.
    Waits for the endpoint as long as the requests' patience allows, also while it is down.
    """

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """Answers in order, asked at the same time. A failure is a missing answer, never an exception, except
        JudgeError when every further call must fail too (a refused key, an unknown model)."""
        ...


class SyntaxCheck(Protocol):
    """Whether programs run, tried in the placeholder worlds of a sandbox.

    Called by the reward, once for each well-formed reply.
    Waits for a free process of the sandbox and for the program, at most its limits.
    """

    async def __call__(self, code: str) -> Verdict:
        """Whether the program survives every placeholder world. Missing only when the sandbox itself failed."""
        ...


class SceneRuns(Protocol):
    """What a program answers in symbolic scenes, run there in a sandbox.

    Called by the scene tests, once for each program of a question, and once more where a judge had to read a phrase.
    Waits for a free process of the sandbox and for the program in all scenes, at most its limits in one.
    """

    async def __call__(
        self, code: str, question: str, scenes: Sequence[SymbolicScene], words: Mapping[str, Sequence[str]]
    ) -> list[SceneRun]:
        """A run for each scene, in order. words: detection phrase, case-folded -> what it means in words of the scenes;
        nothing: no object of theirs. Never raises for a program; undecided everywhere when the sandbox failed."""
        ...
