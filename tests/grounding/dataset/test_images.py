"""Records of one picture become one."""

from __future__ import annotations

from valor_ray.grounding.dataset.images import MergedImages, merge


def test_phrases_are_united_by_normal_form_under_the_first_spelling(mined):
    merged = merge(
        [mined("a", asked=("TV", "coffee-table")), mined("a", asked=("tv", "Coffee Table", "cup", "..."))]
    )
    assert merged.phrases == ("TV", "coffee-table", "cup")


def test_boxes_of_different_phrases_are_put_together_best_first(mined, box):
    first = mined("a", box("cup", score=0.4), calls=2, slips={"omitted": 1})
    second = mined("a", box("plate", score=0.9), calls=3, slips={"omitted": 2, "shifted": 1})
    merged = merge([first, second])
    assert [each.label for each in merged.boxes] == ["plate", "cup"]
    assert (merged.calls, merged.slips) == (5, {"omitted": 3, "shifted": 1})


def test_a_phrase_mined_again_has_the_boxes_of_the_latest_whole_record(mined, box):
    old = mined("a", box("cup", (0, 0, 20, 20)))
    new = mined("a", box("cup", (1, 1, 21, 21)), box("cup", (60, 60, 80, 80), "n"))
    stale = mined("a", box("cup", (0, 0, 20, 20), "?"))
    assert merge([old, new, stale]).boxes == new.boxes
    assert merge([new, old]).boxes == old.boxes


def test_a_later_record_without_candidates_wins_too(mined, box):
    assert merge([mined("a", box("cup")), mined("a", asked=("cup",))]).boxes == ()


def test_verdicts_of_earlier_records_are_kept_while_none_is_whole(mined, box):
    known, unknown = (0, 0, 20, 20), (60, 60, 80, 80)
    first = mined("a", box("cup", known, "yyy"), box("cup", unknown, "?"))
    second = mined("a", box("cup", known, "?"), box("cup", unknown, "?"))
    merged = merge([first, second])
    assert {each.bbox: each.kept for each in merged.boxes} == {known: True, unknown: None}


def test_identical_boxes_come_once(mined, box):
    assert len(merge([mined("a", box("cup"), box("Cup"))]).boxes) == 1


def test_boxes_over_the_edge_are_clipped_and_those_outside_left_out(mined, box):
    over = box("cup", (-5, 90, 30.5, 120))
    outside = box("cup", (-9, 0, 0, 10))
    assert [each.bbox for each in merge([mined("a", over, outside)]).boxes] == [(0, 90, 30.5, 100)]


def test_pictures_come_in_the_order_of_their_first_record_any_number_of_times(mined, box, tmp_path):
    records = [mined("a", box("cup")), mined("b"), mined("a", box("plate")), mined("c")]
    with MergedImages(iter(records), tmp_path) as merged:
        assert len(merged) == 3
        for _turn in range(2):
            assert [(each.image, len(each.boxes)) for each in merged] == [("a", 2), ("b", 0), ("c", 0)]
    assert list(tmp_path.iterdir()) == []
