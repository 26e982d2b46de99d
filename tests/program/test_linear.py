"""Texts of programs, models and callers are read in time linear in them, at the sizes to which they are limited."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from growth import linear

from valor_ray.errors import ToolError
from valor_ray.judges.scene_questions import read_things
from valor_ray.judges.sections import read_sections, write_sections
from valor_ray.measure.answers import number
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.program.conversation import without_paths
from valor_ray.program.inside.placeholders import vqa_answer
from valor_ray.program.inside.scene_words import Language, tokens
from valor_ray.program.inside.scene_world import _options
from valor_ray.program.parse import parse_reply
from valor_ray.queries.apart import normalised
from valor_ray.queries.kinds import kind_of
from valor_ray.records import JudgeReply
from valor_ray.report.kit.listing import listing
from valor_ray.tools import check_call, split_phrases
from valor_ray.untrusted.terminal import safe

LANGUAGE = Language((), {})
PIECES = (
    *(
        "a",
        "a-",
        "a ",
        " ",
        "-",
        "a,",
        ",a ",
        " or ",
        "a or ",
        "the a ",
        "option",
        "option ",
        "options: ",
        "option[",
    ),
    *(
        "options: [a",
        "{",
        "a. ",
        ". ",
        ".",
        "/",
        "/a",
        "//a",
        '"',
        '"\\',
        "'\\",
        "\\",
        "#",
        "1",
        "1.",
        "is ",
        "\n",
    ),
    *(
        "```\n",
        "````\n",
        "  ```",
        "~~~\n",
        "<plan>",
        "<answer ",
        "< ",
        "<think>",
        "</think>",
        "</answer",
        "\r\n",
    ),
    *(
        "\x1b[",
        "é",
        "\u202e",
        "how many ",
        "number of ",
        "<<<plan 00000000>>>\n",
        "\t",
        " \n",
        "\n\t",
        "'",
        "rb'",
    ),
)
READERS: dict[str, Callable[[str], object]] = {
    "vqa": lambda text: vqa_answer(text, 0),
    "options of scenes": lambda text: _options(text, LANGUAGE),
    "words of scenes": tokens,
    "phrases": split_phrases,
    "caption": normal_form,
    "reply": parse_reply,
    "plan and answer": lambda text: parse_reply(f"<plan>{text}</plan><answer>```\n{text}\n```</answer>"),
    "paths": without_paths,
    "listing": listing,
    "terminal": safe,
    "kind": kind_of,
    "question": normalised,
    "number": number,
    "sections": lambda text: read_sections(write_sections({"plan": text, "code": text})),
    "things": lambda text: read_things(JudgeReply({"things": [{"noun": text, "attributes": []}]})),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_takes_more_than_its_length(reader: str) -> None:
    """Screened at one size; whatever takes long there is looked at closely."""
    for piece in PIECES:
        assert linear(lambda size, piece=piece: READERS[reader](piece * (size // len(piece))), 16_000), piece


def test_a_call_with_the_longest_prompt_is_checked_at_once() -> None:
    for piece in PIECES:
        prompt = (piece * 2000)[:2000]
        assert linear(lambda size, prompt=prompt: _checked(prompt[:size]), 2000)


def _checked(prompt: str) -> None:
    with suppress(ToolError):
        check_call("gd_detect", {"img_pth": "image.png", "prompt": prompt}, (640, 480))
