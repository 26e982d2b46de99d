"""What every report is made of, as HTML. Replies, reasons and names are other people's text: all of it is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from valor_ray.records import Head

STYLE = Path(__file__).with_name("style.css")
_LONGEST_TEXT = 6000  # characters of a reply or reason that are shown


def text(said: str) -> str:
    """Other people's text as HTML, cut when it is very long. Half a surrogate pair is in no file: it becomes "?"."""
    short = said if len(said) <= _LONGEST_TEXT else said[:_LONGEST_TEXT] + " … (cut)"
    return escape(short.encode("utf-8", "replace").decode("utf-8"))


def panel(title: str, body: str) -> str:
    return f'<div class="panel"><h2>{title}</h2>{body}</div>'


def audit_table(audit: Mapping[str, Any]) -> str:
    """Audit.report as a table."""
    rows = [
        "<tr><th>head or kind</th><th>verdicts</th><th>as known</th><th>95 % interval</th><th>missing</th></tr>"
    ]
    for name, counts in (*audit["heads"].items(), *audit["kinds"].items()):
        low, high = counts["ci"]
        interval = f"{low:.0%} – {high:.0%}" if counts["asked"] else "–"
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{counts['asked']}</td><td>{counts['agreed']}</td>"
            f"<td>{interval}</td><td>{counts['missing']}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def verdict_list(row: Mapping[str, Any]) -> str:
    """The verdicts of a reward record with their reasons."""
    return f"<dl>{''.join(_lines(row))}</dl>"


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    for head in Head:
        if head.value not in row["reasons"]:
            continue
        value = row[head.value]
        kind = "none" if value is None else ("yes" if value else "no")
        word = "missing" if value is None else kind
        reason = text(row["reasons"][head.value])
        yield f'<dt><span class="{kind}">{head.value}: {word}</span></dt><dd>{reason}</dd>'
