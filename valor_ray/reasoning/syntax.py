"""The syntax head: a program must survive every placeholder world and set final_answer in each (REFERENCE §3)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from valor_ray.errors import ProgramError
from valor_ray.program.inside.placeholders import WORLDS
from valor_ray.records import ProgramStatus, Verdict

if TYPE_CHECKING:
    from valor_ray.program.sandbox import Sandbox

IMAGE_SIZE = (640, 480)  # px, of the picture that placeholders pretend to see
_REMEMBERED = 8192  # verdicts of recent programs


class SyntaxOfPrograms:
    """ports.SyntaxCheck over a sandbox of this process."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._known: OrderedDict[str, Verdict] = OrderedDict()

    async def __call__(self, code: str) -> Verdict:
        """yes, or no with the first world that it does not survive; missing when the sandbox itself fails."""
        if code in self._known:
            self._known.move_to_end(code)
            return self._known[code]
        try:
            verdict = await self._survey(code)
        except ProgramError as error:
            return Verdict(None, str(error))
        self._known[code] = verdict
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return verdict

    async def _survey(self, code: str) -> Verdict:
        results = await self._sandbox.survey(code, WORLDS, IMAGE_SIZE)
        for world, result in zip(WORLDS, results, strict=False):
            if result.status is not ProgramStatus.OK:
                where = f" (line {result.line})" if result.line else ""
                return Verdict(False, f"{world.name}: {result.error}{where}", result.level)
        return Verdict(True, f"runs in all {len(WORLDS)} placeholder worlds", results[-1].level)
