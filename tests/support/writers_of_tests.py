"""A writer that says what a test has put down, in order, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from valor_ray.ports import Turn
from valor_ray.records import Reply


class Says:
    """ports.Policy over given texts; a Reply among them is given as it is."""

    def __init__(self, *texts: str | Reply | Exception) -> None:
        self._texts = list(texts)
        self.asked: list[str] = []
        self.turns: list[tuple[Turn, ...]] = []  # of each call
        self.seeds: list[int | None] = []

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        self.asked.append(question)
        self.turns.append(tuple(turns))
        self.seeds.append(seed)
        said = self._texts.pop(0)
        if isinstance(said, Exception):
            raise said
        return [said if isinstance(said, Reply) else Reply(said, (), (), "", "stop")]
