"""Whatever a policy writes: plan and program, or a reason; what a page or a detector then gets of it is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from valor_ray.program.parse import parse_reply
from valor_ray.program.phrases import detection_phrases
from valor_ray.report.kit.listing import listing
from valor_ray.tools import split_phrases

PIECES = st.sampled_from(
    [
        *(
            "<plan>",
            "</plan>",
            "<answer>",
            "</answer>",
            "<think>",
            "</think>",
            "<PLAN>",
            "<answer lang='python'>",
        ),
        *(
            "</ answer>",
            "<plan",
            "```",
            "```python\n",
            "\n```\n",
            "````\n",
            "~~~\n",
            "  ```\n",
            "\n",
            "\r\n",
            " ",
        ),
        *("x = 1", '"""', "'''", "# a", "\\", "\ud800", "\0", "(" * 300, "-" * 300, "é", "\u2028", "[THINK]"),
        *(
            "gd_detect(img_pth, 'a, b')",
            "for w in ['a', 'b']:\n    GD_DETECT(w)",
            "x = f'{x}{x}'\n",
            "x = x + x\n",
        ),
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(codec=None), max_size=5), max_size=30).map("".join)


@given(TEXTS)
def test_any_reply_is_read_or_refused_with_a_reason(text: str) -> None:
    parsed = parse_reply(text)
    if parsed.well_formed:
        assert parsed.plan.strip() and parsed.code.strip()
        assert parsed.plan in text and "</think>" not in text.split("<plan>")[-1].split("</plan>")[0]
    else:
        assert parsed.error and len(parsed.error) < 300 and (parsed.plan, parsed.code) == ("", "")


@given(TEXTS, TEXTS)
def test_two_blocks_make_a_reply_whatever_was_thought_before(thought: str, plan: str) -> None:
    whole = plan.strip() and not any(
        mark in plan.lower() for mark in ("<plan", "<answer", "answer>", "plan>", "think")
    )
    parsed = parse_reply(f"{thought}</think><plan>{plan}</plan><answer>x = 1</answer>")
    assert not whole or (parsed.plan, parsed.code) == (plan.strip(), "x = 1")


@given(TEXTS)
def test_any_program_is_shown_and_searched(code: str) -> None:
    assert listing(code).count('class="row"') == code.strip("\n").count("\n") + 1
    assert all(phrase.strip() for phrase in detection_phrases(code).phrases)


@given(TEXTS)
def test_phrases_that_were_split_stay_as_they_are(text: str) -> None:
    phrases = split_phrases(text)
    assert split_phrases("\n".join(phrases)) == phrases
