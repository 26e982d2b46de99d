"""Templates of pages: what is not marked as HTML is text, and a value that is missing is an error."""

import re
import tomllib

import pytest
from house import ROOT, House, sources
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from valor_ray.records import Head
from valor_ray.report.kit.templates import cut, environment, render, verdicts

PACKAGE = ROOT / "valor_ray"
TEMPLATES = sorted(
    str(path.relative_to(PACKAGE))
    for room in ("report", "demo")
    for path in (PACKAGE / room).rglob("*")
    if path.suffix in (".html", ".css", ".js")
)
EVIL = "</script><script>alert(1)</script>{{ 7 * 7 }} \" '"
# Who may say that a text is HTML: they draw SVG and listings, and escape each word in them.
DRAWING = {
    f"valor_ray.report.{name}"
    for name in (
        *("kit.plots", "kit.curves", "kit.listing", "kit.overlay", "kit.scene_drawing"),
        *("score.plots", "grounding.plots", "grounding.overlay", "improve.plots"),
    )
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_escapes_and_none_steps_round_it(name: str) -> None:
    assert environment().get_template(name).environment.autoescape is True
    text = (PACKAGE / name).read_text()
    assert not re.search(r"\|\s*safe|autoescape", text)
    assert not re.search(r"=\{\{|='\{\{", text)  # attributes are quoted


def test_only_drawing_modules_mark_text_as_html() -> None:
    marking = {
        name
        for name, text in sources().items()
        if name.startswith(("valor_ray.report", "valor_ray.demo")) and "Markup(" in text
    }
    assert marking == DRAWING


def test_the_package_ships_every_template() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = {
        path
        for pattern in project["tool"]["setuptools"]["package-data"]["valor_ray"]
        for path in PACKAGE.glob(pattern)
    }
    assert TEMPLATES and {PACKAGE / name for name in TEMPLATES} <= shipped


def planted(text: str, **values: object) -> str:
    """What the pages' environment makes of another template."""
    other = environment().overlay(loader=DictLoader({"page": text}))
    return other.get_template("page").render(values)


def test_text_is_escaped_in_content_and_in_attributes_and_drawings_are_not() -> None:
    page = planted('<p title="{{ a }}">{{ a }}{{ svg }}</p>', a=EVIL, svg=Markup("<svg/>"))
    assert page.count("<") == 3 and "{{ 7 * 7 }}" in page and page.count('"') == 2


def test_values_that_are_missing_are_errors() -> None:
    with pytest.raises(UndefinedError):
        planted("{{ row.question }}", row={})
    with pytest.raises(UndefinedError):
        render("report/score/page.html")


def test_long_texts_are_cut_and_other_values_become_text() -> None:
    assert len(cut("x" * 10**6)) < 6100
    assert (cut(None), cut(7), cut([1]), cut("as it is")) == ("", "7", "[1]", "as it is")


def test_half_a_surrogate_pair_does_not_stop_a_page() -> None:
    values = {name: [] for name in ("families", "cards", "totals", "shows")}
    assert "half ?" in render("demo/page.html", settings="half \ud800", change="", **values)


def test_verdicts_are_those_with_a_reason_in_the_order_of_the_heads() -> None:
    row = dict.fromkeys((head.value for head in Head), True) | {"logic": None, "syntax": False}
    row["reasons"] = {"syntax": "x", "logic": None, "format": 3, "other": "nobody's"}
    assert [(one.head, one.kind, one.said, one.reason) for one in verdicts(row)] == [
        ("format", "yes", "yes", "3"),
        ("syntax", "no", "no", "x"),
        ("logic", "none", "missing", ""),
    ]
    assert list(verdicts(row | {"reasons": [1]})) == []


def test_the_report_knows_nothing_above_it() -> None:
    house = House(sources())
    allowed = (
        *("valor_ray.report", "valor_ray.records", "valor_ray.errors", "valor_ray.config", "valor_ray.runs"),
        *("valor_ray.measure", "valor_ray.program.parse", "valor_ray.judges.audit"),
        *("valor_ray.images", "valor_ray.judges.boxes.geometry"),  # thumbnails; when two phrases are one
        "valor_ray.reasoning.scenes",  # a room below: what scenes are, for their drawings
    )
    packages = {
        "valor_ray.judges",
        "valor_ray.judges.boxes",
        "valor_ray.program",
        "valor_ray.reasoning",
    }  # named on the way
    imported = {
        other
        for name in house
        if name.startswith("valor_ray.report")
        for other in house.ours(name) - packages
    }
    assert {name for name in imported if not name.startswith(allowed)} == set()
