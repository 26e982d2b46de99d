"""The four ports through which steps reach models and judges. What stands behind them is wired in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from valor_ray.records import DepthMap, Detection, JudgeReply, JudgeRequest, Picture, Reply, Sampling, Verdict


class Policy(Protocol):
    """The LLM that writes plan and program. It sees the question, never the picture."""

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        """Sample n replies to one question. Raises QuestionError or PolicyError."""
        ...


class Sampler(Protocol):
    """The policy as training samples from it: whole batches, with the same result whenever they are asked for."""

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """n replies to each question. The same weights, questions and seed give the same tokens. Raises PolicyError."""
        ...


class Detector(Protocol):
    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        """Boxes of all phrases, best score first; `label` is the phrase as asked. None: the configured threshold."""
        ...


class Depth(Protocol):
    async def depth(self, picture: Picture) -> DepthMap:
        """Metric depth of every pixel."""
        ...


class Vqa(Protocol):
    async def vqa(self, picture: Picture, question: str) -> str:
        """Short lower-case answer about the picture (a crop or a whole image). Raises JudgeError."""
        ...


class Judge(Protocol):
    """A judge model behind any endpoint: what the judges of plans, of boxes, and VQA are asked through."""

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """Answers in order, asked at the same time. A failure is a missing answer, never an exception, except
        JudgeError when every further call must fail too (a refused key, an unknown model)."""
        ...


class SyntaxCheck(Protocol):
    async def __call__(self, code: str) -> Verdict:
        """Whether the program survives every placeholder world. Missing only when the sandbox itself failed."""
        ...
