"""What the mock endpoint answers to a vision verifier's requests: it reads them, so that a wrong one is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from valor_ray.judges.sections import read_sections

PICTURES = {"box_coarse": 2, "box_crop": 1, "box_duplicates": 2}  # by head
_REASON = "measured, not judged"


def box_answer(body: Mapping[str, Any]) -> str | None:
    """The content of a chat completion for this request; None when it is of another head.

    Every box is kept, and each is an object of its own: no picture is looked at. Raises ValueError when the request has
    not the pictures or sections that its head must have.
    """
    head = (body.get("response_format") or {}).get("json_schema", {}).get("name")
    if head not in PICTURES:
        return None
    content = body["messages"][-1]["content"]
    texts = [part["text"] for part in content if part["type"] == "text"]
    uris = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    if len(uris) != PICTURES[head] or len(texts) != 1:
        raise ValueError(
            f"{head} needs {PICTURES[head]} picture(s) and one text, not {len(uris)}, {len(texts)}"
        )
    if not all(uri.startswith("data:image/") for uri in uris):
        raise ValueError(f"{head}: a picture is no data URI")
    sections = read_sections(texts[0])
    if head == "box_crop":
        if not sections.get("label"):
            raise ValueError("box_crop needs a label")
        return json.dumps({"reason": _REASON, "verdict": "keep"})
    boxes = [json.loads(line) for line in sections.get("boxes", "").split("\n")]
    if [box["index"] for box in boxes] != list(range(1, len(boxes) + 1)):
        raise ValueError(f"{head}: indices must count from 1")
    return json.dumps(_coarse(boxes) if head == "box_coarse" else _duplicates(boxes))


def _coarse(boxes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    said = {"reason": _REASON, "verdict": "keep"}
    return {"boxes": [{"index": box["index"], "label": box["label"], **said} for box in boxes]}


def _duplicates(boxes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    places = [box["index"] for box in boxes]
    return {"objects": [{"indices": [place], "best": place, "reason": _REASON} for place in places]}
