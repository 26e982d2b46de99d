"""Gold programs on scenes: with true tools (are questions and programs right?) or live ones (are the models?).

For evaluation only: this is the one place where programs and the truth about a scene meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from valor_ray.depth_map import depth_at
from valor_ray.measure.answers import is_right
from valor_ray.program.parse import parse_reply
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import DepthMap
from valor_ray.tabletop.dataset import Item
from valor_ray.tabletop.render import Geometry, RenderedObject
from valor_ray.tabletop.replies.write import gold
from valor_ray.tabletop.sample_questions import matches
from valor_ray.tools import ToolHost, split_phrases


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    tall = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = wide * tall
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _in_crop(bbox: tuple[float, ...], crop: list[float] | None) -> list[float] | None:
    """What a detector that is shown a crop makes of a box, in the crop's pixels; None where its centre is not in it."""
    if crop is None:
        return list(bbox)
    left, top, right, bottom = crop
    x, y = (bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2
    if not (left < x < right and top < y < bottom):
        return None
    x1, y1, x2, y2 = bbox
    return [max(x1, left) - left, max(y1, top) - top, min(x2, right) - left, min(y2, bottom) - top]


class TrueTools:
    """A ToolHost that answers from the scene itself."""

    def __init__(self, rendering: Geometry) -> None:
        self._rendering = rendering

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        if tool == "gd_detect":
            return [
                {"bbox": box, "label": phrase}
                for phrase in split_phrases(args["prompt"])
                for thing in self._rendering.objects
                if matches(thing, phrase) and (box := _in_crop(thing.bbox, args.get("image_bbox")))
            ]
        if tool == "depth":
            return depth_at(DepthMap(self._rendering.depth, self._rendering.focal_px), args["bbox"])
        return self._look(args["bbox"], args["prompt"])

    def _look(self, bbox: list[float] | None, prompt: str) -> str:
        if bbox is None:  # a whole question handed on: VQA looks, it does not solve
            return "cannot tell"
        seen = self.seen(bbox)
        return seen.colour if "colour" in prompt else seen.shape

    def seen(self, bbox: list[float]) -> RenderedObject:
        """The thing that a box is about."""
        return max(self._rendering.objects, key=lambda thing: _overlap(thing.bbox, tuple(bbox)))


async def gold_rows(
    items: Iterable[Item], tools: Callable[[Item], ToolHost], sandbox: Sandbox
) -> list[dict[str, Any]]:
    """Runs each question's gold program; one row a question: family, look, right, answer, truth, error."""
    rows = []
    for item in items:
        host, side = tools(item), item.rendering.side
        for question, asked in item.questions:
            program = parse_reply(gold(asked.blueprint))
            result = await sandbox.run(program.code, host, (side, side))
            rows.append(
                {
                    "family": asked.blueprint.family,
                    "look": item.look,
                    "question": question,
                    "right": is_right(result.answer, asked.answer) and result.error is None,
                    "answer": result.answer,
                    "truth": asked.answer,
                    "error": result.error,
                }
            )
    return rows
