"""Whatever a program passes to a tool: a canonical call of bounded size, or a ToolError of a few words."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from valor_ray.errors import ToolError
from valor_ray.tools import IMAGE_NAME, MAX_PHRASES, MAX_PROMPT_CHARS, SPELLINGS, check_call, split_phrases

SIZE = (100, 50)
TEXTS = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    [
        IMAGE_NAME,
        "",
        " , ",
        "red cube . blue ball .",
        "a,b;c",
        "\ud800",
        "x" * 2001,
        "a, " * 600,
        "a\nb",
        "a,b " * 499,
    ]
)
NUMBERS = st.one_of(
    st.integers(-200, 200),
    st.floats(),
    st.sampled_from([10**400, -(10**4000), 1e308, -1e308, 5e-324, True, 99.999]),
)
BOXES = st.lists(NUMBERS, min_size=4, max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | BOXES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS | st.just("crop"), inner, max_size=3),
    max_leaves=12,
)
IMAGES = st.just(IMAGE_NAME) | BOXES.map(lambda box: {"crop": box}) | st.just({"crop": None}) | VALUES
BY_NAME = {
    "img_pth": IMAGES,
    "image": IMAGES,
    "crop": IMAGES,
    "bbox": BOXES | VALUES,
    "prompt": TEXTS | VALUES,
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    if draw(st.integers(0, 19)) == 0:
        return draw(TEXTS), draw(st.dictionaries(TEXTS, VALUES, max_size=3))
    name = draw(st.sampled_from(list(SPELLINGS)))
    args = {each: draw(BY_NAME.get(each, NUMBERS | VALUES)) for each in SPELLINGS[name][1]}
    if draw(st.integers(0, 19)) == 0:
        args.pop(draw(st.sampled_from(sorted(args))))
    return name, args


@given(calls())
def test_any_call_is_canonical_or_refused_in_few_words(call: tuple[str, dict[str, Any]]) -> None:
    name, args = call
    try:
        tool, canonical = check_call(name, args, SIZE)
    except ToolError as error:
        assert 0 < len(str(error)) < 400
        return
    assert tool in ("gd_detect", "depth", "vqa")
    assert set(canonical) <= {"prompt", "bbox", "image_bbox"}
    for key in ("bbox", "image_bbox"):
        if canonical.get(key) is not None:
            x1, y1, x2, y2 = canonical[key]
            assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]
            assert all(isinstance(v, float) and math.isfinite(v) for v in canonical[key])
    prompt = canonical.get("prompt", "")
    assert len(prompt) <= MAX_PROMPT_CHARS and prompt.encode("utf-8") is not None
    assert tool != "gd_detect" or 1 <= len(split_phrases(prompt)) <= MAX_PHRASES
    assert json.dumps(canonical, allow_nan=False)


@given(calls())
def test_canonical_calls_stay_as_they_are(call: tuple[str, dict[str, Any]]) -> None:
    try:
        tool, canonical = check_call(*call, SIZE)
    except ToolError:
        return
    image = {"crop": canonical["image_bbox"]} if "image_bbox" in canonical else IMAGE_NAME
    again = {key: value for key, value in canonical.items() if key != "image_bbox"} | {"img_pth": image}
    assert check_call(tool, again, SIZE) == (tool, canonical)
