"""The pages' templates. Replies, reasons and names are other people's text: whatever a template shows is escaped.

Only what the drawing modules of the kit mark as `Markup` (SVG, program listings) goes in as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from valor_ray.records import Head

_LONGEST_TEXT = 6000  # characters of a reply or reason that are shown


@dataclass(frozen=True)
class Verdict:
    """One verdict as a page shows it."""

    head: str
    kind: str  # yes, no or none: its colour in style.css
    said: str  # yes, no or missing
    reason: str


def render(name: str, /, **values: Any) -> str:
    """The page that a template makes of values; its name is its path in the package, "report/score/page.html".

    Any UTF-8 file can hold it: half a surrogate pair becomes "?". Raises jinja2.UndefinedError for a missing value.
    """
    page = environment().get_template(name).render(values)
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def environment() -> Environment:
    """Where every page of the package gets its templates, with autoescape on in all of them.

    Called by `render`, once a process; it reads files of the package and waits for nothing else.
    """
    made = Environment(
        loader=PackageLoader("valor_ray", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"cut": cut, "verdicts": verdicts}
    return made


def as_text(said: Any) -> str:
    """What a record holds where a text should be; "" for None."""
    return said if isinstance(said, str) else "" if said is None else str(said)


def cut(said: Any) -> str:
    """Other people's text for a page: of a very long one the start."""
    text = as_text(said)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " … (cut)"


def verdicts(row: Mapping[str, Any]) -> Iterator[Verdict]:
    """The verdicts of a reward record that have a reason, whatever else is recorded there."""
    reasons = row["reasons"] if isinstance(row["reasons"], Mapping) else {}
    for head in Head:
        if head.value in reasons:
            value = row[head.value]
            kind = "none" if value is None else "yes" if value else "no"
            said = "missing" if value is None else kind
            yield Verdict(head.value, kind, said, cut(reasons[head.value]))
