"""Reads a page as a browser does, far enough to see what other people's text could have done to it."""

from __future__ import annotations

from html.parser import HTMLParser

ALONE = (
    "meta",
    "input",
    "img",
    "br",
    "path",
    "rect",
    "circle",
    "polygon",
    "polyline",
)  # closed at once, or never


def tags(page: str) -> list[str]:
    """The tags in order. All are closed, none has a handler, and nothing is loaded from elsewhere."""
    parser = _Tags()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser.seen


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "href") or (value or "").startswith(
                ("data:image/png;base64,", "data:image/jpeg;base64,", "#")
            )
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ALONE:
            assert self.open.pop() == tag
