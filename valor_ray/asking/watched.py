"""The tools' ports, watched: a part that failed is told from a program that did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from valor_ray.errors import JudgeError, ValorError
from valor_ray.ports import Depth, Detector, Vqa
from valor_ray.records import DepthMap, Detection, Picture

T = TypeVar("T")


class Watched:
    """The ports behind one question's tools; remembers a failure that its program would turn into one of its own."""

    def __init__(self, detector: Detector, depth: Depth, judge: Vqa, patience_s: float) -> None:
        """patience_s: a look that is cut off after so long has failed, and not the program that waited for it."""
        self._detector, self._depth, self._judge = detector, depth, judge
        self._patience_s = patience_s
        self.failure: str | None = None

    async def vqa(self, picture: Picture, question: str) -> str:
        try:
            return await self._waited("judge", self._judge.vqa(picture, question))
        except JudgeError as error:
            self.failure = f"The judge failed: {error}"
            raise
        except ValorError as error:
            self.failure = f"The judge could not be asked: {error}"
            raise

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        look = self._detector.detect(picture, phrases, box_threshold=box_threshold)
        return await self._looked("detector", look)

    async def depth(self, picture: Picture) -> DepthMap:
        return await self._looked("depth model", self._depth.depth(picture))

    async def _looked(self, part: str, look: Awaitable[T]) -> T:
        try:
            return await self._waited(part, look)
        except ValorError as error:
            self.failure = f"The {part} failed: {error}"
            raise

    async def _waited(self, part: str, look: Awaitable[T]) -> T:
        began = time.monotonic()
        try:
            return await look
        except asyncio.CancelledError:  # the sandbox has a limit for waiting, too
            if (waited := time.monotonic() - began) > self._patience_s:
                self.failure = f"The {part} gave no answer for {waited:.0f} s"
            raise
