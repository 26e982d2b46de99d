"""A program as HTML: numbered lines, words coloured by kind."""

from __future__ import annotations

import keyword
import re
from html import escape

from markupsafe import Markup

# a text that is not closed goes to the end of its line, so that none is looked at twice
_TOKEN = re.compile(
    r"(?P<c>#.*)"
    r"|(?P<s>[rfb]{0,2}(?:\"(?:\\.?|[^\"\\])*+\"?|'(?:\\.?|[^'\\])*+'?))"
    r"|(?P<n>\b\d+(?:\.\d+)?\b)"
    r"|(?P<k>\b(?:" + "|".join(keyword.kwlist) + r")\b)"
)


def listing(code: str) -> Markup:
    """<pre> with one span a line; any text is allowed, Python or not."""
    return Markup(
        "<pre>"
        + "\n".join(f'<span class="row">{_coloured(line)}</span>' for line in code.strip("\n").split("\n"))
        + "</pre>"
    )


def _coloured(line: str) -> str:
    parts, end = [], 0
    for token in _TOKEN.finditer(line):
        parts += [
            escape(line[end : token.start()]),
            f'<span class="{token.lastgroup}">{escape(token.group())}</span>',
        ]
        end = token.end()
    return "".join(parts) + escape(line[end:])
