"""Tables, sweep, answers and curves: each figure stands where its file has it, with its interval or without one."""

import json
from pathlib import Path

import pytest
from finetuned import make_finetuned, write_json, write_lines

from valor_ray.report.finetuning.answers import answer_rows, answers_tile
from valor_ray.report.finetuning.mined_set import mined_set
from valor_ray.report.finetuning.panels import panels, running_mean
from valor_ray.report.finetuning.records import FinetuneRecords, read_finetuning
from valor_ray.report.finetuning.sweep import candidates
from valor_ray.report.finetuning.tables import part_tables


@pytest.fixture
def run(tmp_path: Path) -> FinetuneRecords:
    report = make_finetuned(tmp_path, steps=45, pictures=1)
    return read_finetuning(tmp_path, report)


def again(run: FinetuneRecords) -> FinetuneRecords:
    return read_finetuning(run.folder, run.report)


def test_looks_come_first_then_labels_those_that_gained_most_first(run: FinetuneRecords) -> None:
    looks, labels, shapes = part_tables(run.evaluation)
    assert [row.name for row in looks.rows][:3] == [
        "held-out looks together",
        "looks seen before, together",
        "lamp",
    ]
    assert looks.rows[0].ap50.change == "+14.6" and looks.rows[0].ap50.interval == "+12.4 … +16.8"
    assert looks.rows[1].ap50.kind == "none" and looks.rows[0].map.kind == "yes"
    gains = [float(row.ap50.change) for row in labels.rows]
    assert len(gains) == 32 and gains == sorted(gains, reverse=True)
    assert labels.rows[-1].name == "white mug" and labels.rows[-1].ap50.kind == "no"
    assert labels.open and not shapes.open


def test_a_change_without_a_measured_gain_is_a_difference_without_an_interval(run: FinetuneRecords) -> None:
    shapes = list(part_tables(run.evaluation))[2]
    for row in shapes.rows:
        assert float(row.ap50.change) == pytest.approx(
            float(row.ap50.after) - float(row.ap50.before), abs=0.11
        )
        assert row.ap50.interval == row.ap50.kind == "" and row.whisker.low is None


def test_weights_that_did_not_pass_leave_the_column_after_empty(run: FinetuneRecords) -> None:
    start = {"models": {"start": run.evaluation["models"]["start"]}}
    looks, *_ = part_tables(start)
    assert (looks.rows[0].ap50.before, looks.rows[0].ap50.after, looks.rows[0].ap50.change) == (
        "57.1",
        "–",
        "–",
    )


def test_the_sweep_has_what_the_gate_measured_where_it_measured(run: FinetuneRecords) -> None:
    swept = {each.alpha: each for each in candidates(run)}
    assert list(swept) == [0, 0.25, 0.5, 0.75, 1.0]
    assert [each.alpha for each in swept.values() if each.chosen] == [0.75]
    assert swept[0.5].general is None and swept[0.75].lost == pytest.approx(0.2)
    assert swept[1.0].refused and not swept[0.75].refused


def test_general_map_may_stand_in_the_rows(run: FinetuneRecords) -> None:
    rows = [{"alpha": 0, "ap50": 60, "general_map": 71}, {"alpha": 0.5, "ap50": 64, "general_map": 65}]
    write_json(run.folder / "selection.json", {"alpha": None, "held_back": rows, "passed": False})
    swept = candidates(again(run))
    assert [(each.general, each.refused, each.chosen) for each in swept] == [
        (71, False, False),
        (65, True, False),
    ]


def test_answers_of_evaluation_go_before_those_of_controls(run: FinetuneRecords) -> None:
    rows = answer_rows(run)
    assert [row.name for row in rows if not row.indented] == ["the policy's programs", "right programs"]
    assert rows[0].swapped == "+31 −9" and rows[0].kind == "yes"
    change = {"n": 40, "start": 50, "end": 45, "gain": -5, "gain_ci": [-9, -1]}
    own = {"programs": {"odd": {"changes": {"end": change, "two_rounds": change}}}}
    write_json(run.folder / "evaluation.json", {"answers": own})
    assert [row.name for row in answer_rows(again(run))] == ["odd", "odd, two rounds"]
    (tile,) = answers_tile(again(run))
    assert (tile.said, tile.badge, tile.kind) == ("50.0 → 45.0", "-5.0", "no")


def test_no_answers_no_tile(run: FinetuneRecords) -> None:
    write_json(run.folder / "controls.json", {"answers": {"programs": {"gold": {"changes": None}}}})
    assert answer_rows(again(run)) == [] and list(answers_tile(again(run))) == []


def test_each_part_of_the_loss_has_a_line_and_a_colour(run: FinetuneRecords) -> None:
    rows = [{"step": step, "loss": 1.0, "parts": {f"layer{n}": 0.1 for n in range(9)}} for step in (1, 2)]
    write_lines(run.folder / "metrics.jsonl", rows)
    plots = {panel.title: panel.plot for panel in panels(again(run))}
    assert (
        'class="curve c6"' in plots["Parts of the loss"] and "layer8" in plots["Parts of the loss, further"]
    )
    assert not any("c7" in plot for plot in plots.values())


def test_a_start_that_went_on_is_marked(run: FinetuneRecords) -> None:
    rows = [{"step": step, "loss": 1.0} for step in (*range(1, 9), *range(6, 12))]
    write_lines(run.folder / "metrics.jsonl", rows)
    plot = next(panels(read_finetuning(run.folder, {}))).plot
    assert "started again at step 6" in plot and "started again at step 3" not in plot
    assert "started again at step 4" in next(panels(read_finetuning(run.folder, {"resumed_from": 3}))).plot
    assert [row["step"] for row in read_finetuning(run.folder, {}).steps] == list(range(1, 12))


def test_a_start_that_had_nothing_left_to_learn_is_not_marked(run: FinetuneRecords) -> None:
    assert run.resumes == () and read_finetuning(run.folder, {"resumed_from": 44}).resumes == (45,)
    assert read_finetuning(run.folder, {"resumed_from": 45}).resumes == ()


def test_running_means_wait_for_half_of_their_numbers_and_pass_over_gaps() -> None:
    means = running_mean([(step, None if step == 3 else float(step)) for step in range(1, 31)])
    assert [value for _, value in means[:10]] == [None] * 10
    assert means[10][1] == pytest.approx((66 - 3) / 10)
    assert means[-1] == (30, pytest.approx(sum(range(11, 31)) / 20))


def test_the_set_is_counted_where_it_lies_else_as_it_was_planned(run: FinetuneRecords) -> None:
    assert (
        dict(mined_set(run).rows)["confirmed boxes"] == "4,212"
    )  # inside the run, although plan.json names another
    (run.folder / "mined/dataset/dataset.json").unlink()
    plan = json.loads((run.folder / "plan.json").read_text()) | {
        "boxes": 77,
        "mine": None,
        "dataset": "/gone/set",
    }
    write_json(run.folder / "plan.json", plan)
    other = mined_set(again(run))
    assert dict(other.rows)["confirmed boxes"] == "77" and (other.link, other.folder) == ("", "/gone/set")
    (run.folder / "config.yaml").write_text("finetune: {absent: false, hard_negatives: false}")
    assert "absent phrases and hard negatives" in mined_set(again(run)).unused
