"""The four ports through which steps reach models and judges. What stands behind them is wired in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from valor_ray.records import DepthMap, Detection, Picture, Reply


class Policy(Protocol):
    """The LLM that writes plan and program. It sees the question, never the picture."""

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        """Sample n replies to one question. Raises QuestionError or PolicyError."""
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


class Judge(Protocol):
    async def vqa(self, picture: Picture, question: str) -> str:
        """Short lower-case answer about the picture (a crop or a whole image). Raises JudgeError."""
        ...
