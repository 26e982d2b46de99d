"""A writer that says what a test has put down, in order, and remembers what it was asked."""

from __future__ import annotations

from valor_ray.records import Reply


class Says:
    """ports.Policy over given texts."""

    def __init__(self, *texts: str | Exception) -> None:
        self._texts = list(texts)
        self.asked: list[str] = []

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        self.asked.append(question)
        said = self._texts.pop(0)
        if isinstance(said, Exception):
            raise said
        return [Reply(said, (), (), "", "stop")]
