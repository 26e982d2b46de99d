"""Tools without models: the worlds in which a program must survive before it counts as running (REFERENCE §3).

Loaded in the sandbox, where the fast path answers tool calls without leaving the process; the driver answers those of
the fork path from here too.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from valor_ray.tools import split_phrases

# Prompts are the program's: every repetition is bounded or possessive, so that none takes long.
OPTIONS = re.compile(r"options?\s{0,4}:?\s{0,4}[{\[(]([^})\]]{1,400}+)[})\]]", re.IGNORECASE)
_THING = r"(?:the |an? )?([\w-]{1,40}(?: [\w-]{1,40})?)"
_EITHER = re.compile(rf"\b{_THING},? or {_THING}\s*\?", re.IGNORECASE)
_NUMERIC = re.compile(r"\b(how (many|much|tall|wide|long|far|big)|number|count|digits?)\b", re.IGNORECASE)
_YES_NO = re.compile(
    r"^\s*(is|are|was|were|does|do|did|can|could|has|have|will|would|should)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class World:
    """What placeholder tools answer."""

    name: str = "two of everything"  # in words, for the reason of a verdict
    boxes: tuple[int, ...] = (2,)  # per phrase, in the order in which a program asks, then from the start
    turn: int = 0  # which of the fitting answers VQA gives: yes/no, the first/second option, a number, a word
    nearest_m: float = 1.5  # depth of a box at the lower edge; 3 m more at the upper edge

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


WORLDS = (
    World("several of everything", (3, 2)),
    World("one of everything", (1,), turn=1),
    World("nothing is detected", (0,), turn=1),
    World("only the first thing is found", (2, 0)),
    World("only later things are found", (0, 2), turn=1),
)


class PlaceholderTools:
    """A ToolHost for one run: plausible answers that depend on nothing but the calls so far and the world."""

    def __init__(self, image_size: tuple[int, int], world: World | None = None) -> None:
        self.world = world or World()
        self._size = image_size
        self._seen: dict[str, int] = {}  # phrase -> when it was first asked for

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        return self.answer(tool, args)

    def answer(self, tool: str, args: dict[str, Any]) -> Any:
        """The JSON result of a call whose name and arguments come from `check_call`."""
        if tool == "gd_detect":
            return self._detect(split_phrases(args["prompt"]))
        if tool == "depth":
            x1, _, _, y2 = args["bbox"]
            # the slight slope keeps boxes of one row apart, so that programs may sort by depth
            return self.world.nearest_m + 3 * (1 - y2 / self._size[1]) + 0.1 * x1 / self._size[0]
        return vqa_answer(args["prompt"], self.world.turn)

    def _detect(self, phrases: tuple[str, ...]) -> list[dict[str, Any]]:
        """Boxes on a grid: one column per box, one row per phrase, sizes and heights all different."""
        width, height = self._size
        detections = []
        for phrase in phrases:
            row = self._seen.setdefault(phrase.casefold(), len(self._seen))
            boxes = self.world.boxes[row % len(self.world.boxes)]
            for i in range(boxes):
                column = width / boxes
                scale = 0.9 / (1 + 0.3 * ((i + 2 * row) % 5))
                x, y = i * column, height * (1 - 0.07 * (row % 8))
                detections.append(
                    {"bbox": [x, y - scale * height / 2, x + scale * column, y], "label": phrase}
                )
        return detections


def vqa_answer(prompt: str, turn: int) -> str:
    """A short answer of the kind that the prompt asks for: one of its options, a number, yes or no, or a word."""
    for pattern in (OPTIONS, _EITHER):
        if match := pattern.search(prompt):
            groups = match[1].split(",") if pattern is OPTIONS else match.groups()
            options = [option.strip().lower() for option in groups if option.strip()]
            if options:
                return options[turn % len(options)]
    if _NUMERIC.search(prompt):
        return ("2", "1")[turn % 2]
    if _YES_NO.search(prompt):
        return ("yes", "no")[turn % 2]
    return ("red", "wooden table")[turn % 2]
