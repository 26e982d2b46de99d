"""The demo's page: one HTML file that needs nothing else, pictures included."""

from __future__ import annotations

import base64
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from valor_ray.demo.questions import AskedQuestion
from valor_ray.demo.report import short
from valor_ray.images import from_array, to_png
from valor_ray.report.kit.depth_colours import colour_depth
from valor_ray.report.kit.listing import listing
from valor_ray.report.kit.overlay import overlay

TEMPLATE = Path(__file__).with_name("page.html")


def write_page(
    path: Path, outcomes: Sequence[AskedQuestion], depths: Mapping[Path, np.ndarray], settings: str = ""
) -> Path:
    """Write the page and return its path.

    depths: metres by picture, as `questions.depth_maps` gives them; a picture without one shows none.
    settings: a sentence about the models used.
    """
    right = sum(outcome.right for outcome in outcomes)
    values = {
        "settings": escape(settings),
        "right": right,
        "wrong": len(outcomes) - right,
        "count": len(outcomes),
        "without": sum(bool(outcome.reply["error"]) for outcome in outcomes),
        "median": f"{statistics.median(outcome.seconds for outcome in outcomes):.1f}",
        "families": "".join(_families(outcomes)),
        "cards": "\n".join(_card(outcome, depths.get(outcome.question.image)) for outcome in outcomes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
    return path


def _families(outcomes: Sequence[AskedQuestion]) -> Iterator[str]:
    asked = Counter(outcome.question.family for outcome in outcomes)
    right = Counter(outcome.question.family for outcome in outcomes if outcome.right)
    for family, count in asked.items():
        share = 100 * right[family] / count
        yield (
            f'<div class="family"><span>{escape(family)}</span><i><b style="width:{share:.0f}%"></b></i>'
            f"<span>{right[family]}/{count}</span></div>"
        )


def _card(outcome: AskedQuestion, depth: np.ndarray | None) -> str:
    reply, question = outcome.reply, outcome.question
    mark = "right" if outcome.right else "wrong"
    error = f'<div class="error">{escape(str(reply["error"]))}</div>' if reply["error"] else ""
    sections = [
        _section("Plan", f'<p class="plan">{escape(reply["plan"].strip())}</p>' if reply["plan"] else ""),
        _section("Program", listing(reply["code"]) if reply["code"] else ""),
        _section("Trace", _trace(reply["trace"]) if reply["trace"] else ""),
    ]
    return (
        f'<article class="{mark}"><div>{_picture(outcome)}{_depth(depth)}</div><div>'
        f"<h2>{escape(question.text)}</h2>"
        f'<div class="verdict"><span class="badge">{mark}</span>'
        f'<span class="answer">{escape(short(reply["answer"]))}</span>'
        f'<span class="soft">truth: {escape(short(question.truth))} · {escape(question.family)} · '
        f"{outcome.seconds:.1f} s</span></div>{error}{''.join(sections)}</div></article>"
    )


def _section(title: str, body: str) -> str:
    return f"<h3>{title}</h3>{body}" if body else ""


def _picture(outcome: AskedQuestion) -> str:
    image = outcome.question.image
    drawn = overlay(image, outcome.reply["trace"])
    caption = f"{escape(image.name)} · look {escape(outcome.question.look)}"
    return (
        f"<figure><div>{_inline(image.read_bytes())}{drawn}</div><figcaption>{caption}</figcaption></figure>"
    )


def _depth(depth: np.ndarray | None) -> str:
    if depth is None:
        return ""
    seen = depth[np.isfinite(depth)]
    span = f"{seen.min():.2f} to {seen.max():.2f} m" if seen.size else "nothing seen"
    image = _inline(to_png(from_array(colour_depth(depth))))
    return f"<figure><div>{image}</div><figcaption>depth, near is red: {span}</figcaption></figure>"


def _inline(png: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'


def _trace(calls: Sequence[Mapping[str, Any]]) -> str:
    lines = ['<tr><th>line</th><th>call</th><th>result</th><th class="num">ms</th></tr>']
    for call in calls:
        arguments = ", ".join(f"{name}={_value(value)}" for name, value in call["args"].items())
        result = (
            f'<span class="error">{escape(call["error"])}</span>'
            if call["error"]
            else escape(_value(call["result"]))
        )
        lines.append(
            f"<tr><td>{call['line']}</td><td><code>{escape(call['tool'])}({escape(arguments)})</code></td>"
            f'<td><code>{result}</code></td><td class="num">{call["ms"]:.0f}</td></tr>'
        )
    return f"<table>{''.join(lines)}</table>"


def _value(value: Any) -> str:
    """A JSON value in one line, numbers to four digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, str) else short(value)
