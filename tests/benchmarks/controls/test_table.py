"""The control table: what rows are held against, and what is said of a run whose gain others have too."""

from __future__ import annotations

from typing import Any

import pytest

from valor_ray.benchmarks.controls.table import COLUMNS, Asked, Row, by_look, parts, table_record, words
from valor_ray.tabletop.finetune.controls.table import table_text

N = 120
ASKED = Asked(
    [n // 2 for n in range(N)],
    ["count" if n % 3 else "height" for n in range(N)],
    ["tiles" if n < 60 else "wood" for n in range(N)],
    ["seen" if n % 2 else "unseen" for n in range(N)],
)


def row(control: str, right: int, **others: Any) -> Row:
    """The first `right` questions are right."""
    return Row(control, control.replace("_", " "), [float(n < right) for n in range(N)], 0.9, **others)


ROWS = [row("base", 40), row("base_greedy", 60), row("base_vote", 66, calls=0.0), row("trained", 58)]


def test_each_row_is_paired_with_both_rows_of_the_base_and_with_the_trained_policy() -> None:
    base, greedy, vote, trained = table_record(ROWS, ASKED, "a note")["rows"]
    assert (trained["right"], trained["over_base"], trained["over_greedy"]) == (48.33, 15, -1.67)
    low, high = trained["over_base_ci"]
    assert 5 < low < 15 < high < 26
    assert "over_trained" not in trained and "over_base" not in base and "over_greedy" not in greedy
    assert vote["over_trained"] == 6.67 and vote["calls"] == 0 and "calls" not in base
    assert base["seen"] == base["unseen"] == 33.33


def test_shares_of_samples_count_by_their_mean() -> None:
    half = Row("base", "base", [0.5] * N, 1.0)
    (made,) = table_record([half], ASKED, "")["rows"]
    assert made["right"] == 50


def test_parts_and_looks() -> None:
    made = parts([row("ceiling", 60, more={"judged": 7})], ASKED)["ceiling"]
    assert made["by_look"] == {"tiles": 100, "wood": 0} and made["judged"] == 7
    assert set(made["by_family"]) == {"count", "height"}
    assert by_look(row("ceiling", 60), ASKED) == "tiles 100.0, wood 0.0"


@pytest.mark.parametrize(
    ("control", "over", "said"),
    [
        ("trained", {"over_greedy_ci": [-1, 4]}, "Not surely above the greedy base"),
        ("trained", {"over_greedy_ci": [1, 4]}, ""),
        ("random_rewards", {"over_base_ci": [1, 4], "over_trained_ci": [-9, -5]}, "Gains by rewards that mean nothing"),
        ("random_rewards", {"over_base_ci": [-1, 4], "over_trained_ci": [-9, -5]}, ""),
        ("random_rewards", {"over_base_ci": [-1, 4], "over_trained_ci": [-3, 5]}, "Not told apart from the run"),
        ("sft_full_reward", {"over_trained_ci": [1, 4]}, "Surely above the run"),
        ("sft_full_reward", {"over_trained_ci": [-1, 4]}, "Not told apart from the run"),
        ("sft_full_reward", {"over_trained_ci": [-4, -1]}, ""),
        ("base_judge", {"over_trained_ci": [1, 4]}, "Without any training"),
        ("base_judge", {"over_trained_ci": [-1, 4]}, ""),
        ("trained_vote", {"over_trained_ci": [1, 4]}, ""),
        ("ceiling", {"over_trained_ci": [1, 4]}, ""),
    ],
)  # fmt: skip
def test_what_a_row_says_of_the_run(control: str, over: dict[str, Any], said: str) -> None:
    made = words(control, over)
    assert made.startswith(said) and bool(made) == bool(said)


def test_the_table_as_text_signs_changes_and_leaves_gaps() -> None:
    text = table_text(table_record(ROWS, ASKED, "120 held-out questions."), COLUMNS)
    lines = text.splitlines()
    assert lines[0].split("  ")[-1].strip() == "judge calls"
    assert "+15.0 [" in lines[4] and "-1.7 [" in lines[4]
    assert "–" in lines[1] and lines[-1] == "120 held-out questions."
