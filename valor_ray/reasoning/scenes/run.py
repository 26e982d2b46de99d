"""Programs in symbolic scenes, over a sandbox of this process; recent results are remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from valor_ray.errors import ProgramError
from valor_ray.records import SceneRun, SymbolicScene

if TYPE_CHECKING:
    from valor_ray.program.sandbox import Sandbox

_REMEMBERED = 4096  # programs in their scenes
Key = tuple[str, str, int, tuple[tuple[str, tuple[str, ...]], ...]]


class ScenesOfPrograms:
    """ports.SceneRuns over a sandbox of this process."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._known: OrderedDict[Key, list[SceneRun]] = OrderedDict()

    async def __call__(
        self, code: str, question: str, scenes: Sequence[SymbolicScene], words: Mapping[str, Sequence[str]]
    ) -> list[SceneRun]:
        """A run for each scene, in order; undecided everywhere when the sandbox itself fails."""
        key = (code, question, _mark(scenes), _frozen(words))
        if key in self._known:
            self._known.move_to_end(key)
            return list(self._known[key])
        try:
            runs = await self._sandbox.tour(code, scenes, question, words)
        except ProgramError as error:
            return [SceneRun("undecided", why=str(error))] * len(scenes)
        self._known[key] = runs
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return list(runs)


def _mark(scenes: Sequence[SymbolicScene]) -> int:
    """Tells sets of scenes apart: by every box and depth and what stands there."""
    return hash(
        tuple(
            (
                scene.image_size,
                tuple((o.noun, o.bbox, o.depth_m, *o.attributes.items()) for o in scene.objects),
            )
            for scene in scenes
        )
    )


def _frozen(words: Mapping[str, Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((phrase, tuple(meant)) for phrase, meant in words.items()))
