"""Text that a terminal or a log only shows: none of it moves the cursor, changes the title or hides what follows."""

from __future__ import annotations

import re

# all controls but new line and tab, C1 among them; what turns the direction of text; line separators of Unicode that
# some terminals obey; half pairs, which no stream can write
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)


def safe(text: str) -> str:
    r"""The text with every such character spelt out: ESC as \x1b. New lines and tabs stay."""
    return _UNSAFE.sub(lambda match: _spelt(match[0]), text.replace("\r\n", "\n"))


def safe_line(text: str) -> str:
    r"""The same in one line, for logs: a new line is spelt \n."""
    return safe(text).replace("\n", "\\n")


def safe_json(text: str) -> str:
    r"""JSON text as `json.dumps` writes it, with such characters as \u escapes: the value is the same."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _spelt(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
