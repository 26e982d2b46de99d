"""Tables, sweep, answers and curves: each figure stands where its file has it, with its interval or without one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from finetuned import make_finetuned, write_json, write_lines
from PIL import Image

from valor_ray.config.tree import Config
from valor_ray.grounding.learner.rehearsal.replay_set import make_replay
from valor_ray.report.finetuning.answers import answer_rows, answers_tile
from valor_ray.report.finetuning.headline import tiles
from valor_ray.report.finetuning.mined_set import mined_set
from valor_ray.report.finetuning.page import write_page
from valor_ray.report.finetuning.panels import panels, running_mean
from valor_ray.report.finetuning.records import FinetuneRecords, read_finetuning
from valor_ray.report.finetuning.sweep import candidates, least_of
from valor_ray.report.finetuning.tables import part_tables


@pytest.fixture
def run(tmp_path: Path) -> FinetuneRecords:
    report = make_finetuned(tmp_path, steps=45, pictures=1)
    return read_finetuning(tmp_path, report)


def again(run: FinetuneRecords) -> FinetuneRecords:
    return read_finetuning(run.folder, run.report)


def test_looks_come_first_then_labels_those_that_gained_most_first(run: FinetuneRecords) -> None:
    looks, labels, shapes, _colours = part_tables(run.evaluation)
    assert [row.name for row in looks.rows][:3] == [
        "held-out looks together",
        "looks seen before, together",
        "lamp",
    ]
    assert [row.name for row in looks.rows][3:] == ["quilt", "tiles", "wood"]
    whole, seen, lamp, *_ = looks.rows
    assert (whole.ap50.before, whole.ap50.after, whole.ap50.change) == ("57.1", "71.7", "+14.6")
    low, high = map(float, whole.ap50.interval.split(" … "))
    assert 11 < low < 14 < 15 < high < 18 and whole.whisker.low is not None
    assert (lamp.ap50.before, lamp.ap50.change, lamp.objects) == (
        "61.8",
        "+12.9",
        "1,280",
    ) and lamp.ap50.interval
    assert seen.ap50.kind == "none" and whole.map.kind == "yes"
    gains = [float(row.ap50.change) for row in labels.rows]
    assert len(gains) == 32 and gains == sorted(gains, reverse=True)
    assert labels.rows[-1].name == "white cone" and labels.rows[-1].ap50.kind == "no"
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


def test_a_further_round_is_judged_from_the_first_rounds_start(run: FinetuneRecords) -> None:
    """As the gate does: 0.9 points below this run's start, but 2.1 below the first start of all."""
    general = {"start": {"map": 70.0, "pictures": 200}, "baseline_map": 71.2, "end": None, "1": {"map": 69.1}}
    rows = [{"alpha": alpha, "ap50": 60 + alpha, "map": 40} for alpha in (0, 1)]
    write_json(
        run.folder / "selection.json",
        {"alpha": None, "passed": False, "general": general, "held_back": rows},
    )
    judged = again(run)
    start, end = candidates(judged)
    assert (start.lost, end.lost) == (pytest.approx(1.2), pytest.approx(2.1))
    assert end.refused and not start.refused
    assert least_of(judged) == pytest.approx(70.2)
    write_page(run.folder, run.report)
    page = (run.folder / "report.html").read_text()
    assert "the gate: at least 70.2" in page and ">2.1</td>" in page
    report = {"general_map_start": 70.0, "general_map_end": 69.1}
    tile = list(tiles(read_finetuning(run.folder, report)))[1]
    assert (tile.said, tile.badge, tile.kind) == ("70.0 → 69.1", "-0.9", "no")
    assert "beyond the 1.0 points that it may lose from 71.2 of the first round's start" in tile.note


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


def test_the_tile_says_where_the_answers_are_of_weights_with_other_steps(run: FinetuneRecords) -> None:
    (tile,) = answers_tile(run)
    assert "steps" not in tile.note
    held = dict(run.controls)
    rows = [row | ({"steps": 12} if row["control"] == "verified" else {}) for row in held["rows"]]
    write_json(run.folder / "controls.json", held | {"rows": rows})
    (tile,) = answers_tile(again(run))
    assert "by the weights of 12 steps that the controls have, not of this run's 45" in tile.note


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


def test_replayed_boxes_are_counted_as_the_learner_writes_them(run: FinetuneRecords) -> None:
    pictures = run.folder / "pictures"
    pictures.mkdir()
    for n in range(2):
        Image.fromarray(np.full((48, 64, 3), 90 * n, np.uint8)).save(pictures / f"{n}.png")
    shutil.rmtree(run.folder / "replay")
    (run.folder / "replay").mkdir()
    assert mined_set(run).replay == ()
    config = Config.load("local", ["detector.image_side=64"])
    make_replay(config, pictures, ["red ball"], run.folder / "replay" / "set", lambda line: None)
    rows = dict(mined_set(run).replay)
    assert rows["pictures replayed from"] == "2" and rows["the start detector's own boxes there"].isdecimal()


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
