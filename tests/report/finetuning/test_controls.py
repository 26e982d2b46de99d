"""The control table: known columns first, intervals beside their figures, others as they come."""

import pytest
from finetuned import controls

from valor_ray.report.finetuning.controls import MOST_ROWS, Cell, control_table


def test_columns_are_those_that_any_row_has_and_intervals_go_with_them() -> None:
    rows = [
        {"name": "start", "ap50": 57.13, "control": "start", "gain": None},
        {
            "name": "true",
            "gain": 3.0,
            "gain_ci": [1, 5],
            "ap50": 60,
            "ap50_ci": [58, 62],
            "extra_thing": 0.25,
        },
        {"name": "worse", "gain": -3.0, "gain_ci": [-5, -1], "note": "why"},
        {"name": "unsure", "gain": 1.0, "gain_ci": [-1, 3], "over_verified": -2.0},
    ]
    table = control_table({"rows": rows, "note": "said"})
    assert table.columns == ("AP50", "gain", "over verified", "extra thing") and table.note == "said"
    assert (
        table.rows[0].cells == (Cell("57.1"), Cell("–"), Cell("–"), Cell("–"))
        and table.rows[0].whisker is None
    )
    assert table.rows[1].cells == (
        Cell("60.0", "58.0 – 62.0"),
        Cell("+3.0", "+1.0 … +5.0", "yes"),
        Cell("–"),
        Cell("0.25"),
    )
    assert [row.cells[1].kind for row in table.rows[1:]] == ["yes", "no", "none"]
    assert table.rows[2].note == "why" and table.rows[3].cells[2] == Cell("-2.0")


def test_what_is_the_same_in_every_row_is_said_once() -> None:
    same = control_table(
        {"rows": [{"name": "start"}, {"name": "a", "steps": 240}, {"name": "b", "steps": 240}]}
    )
    assert same.columns == () and same.same == "The same in every row: steps 240."
    other = control_table({"rows": [{"name": "a", "steps": 240}, {"name": "b", "steps": 200}]})
    assert other.columns == ("steps",) and other.same == ""


def test_intervals_are_drawn_on_one_scale_with_0() -> None:
    drawn = [row.whisker for row in control_table(controls()).rows[1:]]
    assert len({each.zero for each in drawn}) == 1
    for each in drawn:
        assert 0 <= each.low < each.at < each.high <= 200
        assert (each.low > each.zero) == (each.kind == "yes")


@pytest.mark.parametrize("held", [{}, {"rows": None}, {"rows": "x"}, {"rows": [1, None]}, {"rows": {"a": 1}}])
def test_no_rows_where_there_are_none(held: dict) -> None:
    assert control_table(held).rows == ()


def test_named_rows_odd_cells_and_crowds() -> None:
    table = control_table({"rows": {"a": {"ap50": True, "of": [1.5, 2], "gain_ci": "x", "deep": {"x": 1}}}})
    (row,) = table.rows
    assert row.name == "a" and dict(zip(table.columns, row.cells, strict=True))["of"] == Cell("1.5, 2")
    assert "deep" not in table.columns
    assert (
        len(control_table({"rows": [{"name": str(n), "x": "y" * 10**4} for n in range(999)]}).rows)
        == MOST_ROWS
    )
