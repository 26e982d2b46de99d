import json

import pytest

from valor_ray.untrusted.terminal import safe, safe_json, safe_line

ESCAPES = "a\x1b[31mred\x1b]0;title\x07\x9b2J\rb\x08\x7f\0\x85 \u202eevil\u2066\u2028\ud800"


@pytest.mark.parametrize("text", ["", "plain", "two\nlines\tand a tab", "Würfel 😀 猫 é e\u0301"])
def test_text_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


def test_what_a_terminal_would_obey_is_spelt_out() -> None:
    assert safe(ESCAPES) == (
        r"a\x1b[31mred\x1b]0;title\x07\x9b2J\x0db\x08\x7f\x00\x85 \u202eevil\u2066\u2028\ud800"
    )
    assert safe("a\r\nb") == "a\nb"
    assert all(char.isprintable() for char in safe(ESCAPES))


def test_a_log_line_stays_one_line() -> None:
    assert safe_line("a\nERROR forged\r\n\x1b[2J") == r"a\nERROR forged\n\x1b[2J"


def test_json_keeps_its_value() -> None:
    text = safe_json(json.dumps({ESCAPES: [ESCAPES, "\n"]}, ensure_ascii=False))
    assert text.isprintable() and json.loads(text) == {ESCAPES: [ESCAPES, "\n"]}
