"""The plain way to check boxes: a picture at a time, a call at a time, everything as PNG, with the sync client.

As the reference works, in our own code: whole pictures at full size, clean and annotated; each crop after the answer
to the one before; then the annotated picture once more for the doubles. The words of the requests are ours.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from valor_ray.config.grounding import GroundingConfig
from valor_ray.judges.boxes.requests import SCHEMAS
from valor_ray.judges.sections import write_sections
from valor_ray.perf.boxes.account import Figures, cpu_s
from valor_ray.perf.boxes.load import Work
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.records import Detection

TIMEOUT_S = 60.0
_LINE = 4  # px, of an outline


def check_plainly(work: Sequence[Work], grounding: GroundingConfig, mock: MockJudge) -> Figures:
    """Figures of taking all pictures through the three checks, one after the other."""
    import openai

    client = openai.OpenAI(base_url=mock.base_url, api_key="none", timeout=TIMEOUT_S)
    before, calls, started = cpu_s(mock.pid), mock.stats()["calls"], time.perf_counter()
    kept = [_one(client, each, grounding) for each in work]
    wall, cpu = time.perf_counter() - started, cpu_s(mock.pid) - before
    client.close()
    return Figures(len(work), wall, cpu, mock.stats()["calls"] - calls, sum(kept))


def _one(client: Any, work: Work, grounding: GroundingConfig) -> int:
    """How many boxes are kept."""
    image = Image.fromarray(work.picture.rgb)
    clean = _uri(image)
    boxes = list(work.candidates)
    said = _ask(client, "box_coarse", [clean, _uri(_annotated(image, boxes))], _sections(image, boxes))
    keep = {each["index"] for each in said["boxes"] if each["verdict"] == "keep"}
    boxes = [box for number, box in enumerate(boxes, 1) if number in keep]
    left = []
    for box in boxes:
        crop = _crop(image, box, grounding)
        text = write_sections({"label": box.label, "picture": _size(crop)})
        if _ask(client, "box_crop", [_uri(crop)], text)["verdict"] == "keep":
            left.append(box)
    said = _ask(client, "box_duplicates", [clean, _uri(_annotated(image, left))], _sections(image, left))
    return len({each["best"] for each in said["objects"]})


def _ask(client: Any, head: str, uris: Sequence[str], text: str) -> Any:
    pictures = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    completion = client.chat.completions.create(
        model="mock",
        messages=[{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": head, "strict": True, "schema": SCHEMAS[head]},
        },
    )
    return json.loads(completion.choices[0].message.content)


def _annotated(image: Image.Image, boxes: Sequence[Detection]) -> Image.Image:
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    for number, box in enumerate(boxes, 1):
        pen.rectangle(box.bbox, outline="red", width=_LINE)
        pen.text((box.bbox[0] + 6, box.bbox[1] + 6), str(number), fill="red")
    return drawn


def _crop(image: Image.Image, box: Detection, grounding: GroundingConfig) -> Image.Image:
    """With its margin, the long side at the setting's px."""
    x1, y1, x2, y2 = box.bbox
    pad_x, pad_y = grounding.crop_padding * (x2 - x1), grounding.crop_padding * (y2 - y1)
    window = (
        max(0, x1 - pad_x),
        max(0, y1 - pad_y),
        min(image.width, x2 + pad_x),
        min(image.height, y2 + pad_y),
    )
    crop = image.crop(tuple(round(side) for side in window))  # type: ignore[arg-type]  # four of them
    scale = grounding.crop_side / max(crop.size)
    size = max(1, round(crop.width * scale)), max(1, round(crop.height * scale))
    return crop.resize(size, Image.Resampling.LANCZOS)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _sections(image: Image.Image, boxes: Sequence[Detection]) -> str:
    lines = [
        json.dumps({"index": number, "label": box.label, "box": [round(side) for side in box.bbox]})
        for number, box in enumerate(boxes, 1)
    ]
    return write_sections({"boxes": "\n".join(lines), "picture": _size(image)})


def _size(image: Image.Image) -> str:
    return json.dumps({"width": image.width, "height": image.height})
