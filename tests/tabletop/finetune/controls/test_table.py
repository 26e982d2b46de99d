"""What a row of the control table says of the verifier."""

import pytest

from valor_ray.tabletop.finetune.controls.runs import Trained
from valor_ray.tabletop.finetune.controls.table import table_record, words


@pytest.mark.parametrize(
    ("name", "over", "interval", "said"),
    [
        ("self_training", -8, (-10, -6), ""),
        ("self_training", -3, (-5, -1), "by less than the goal of 5"),
        ("replay_only", -8, (-10, -6), "by less than the goal of 10"),
        ("random_verifier", -1, (-2, -0.5), ""),
        ("random_verifier", -1, (-2.5, 0.5), "has not shown its worth"),
        ("self_training", 1, (-1, 3), "has not shown its worth"),
        ("self_training", 3, (1, 5), "does not earn its place"),
        ("true_boxes", 5, (3, 7), ""),
        ("true_boxes", 1, (-1, 3), "Not surely better than verified boxes"),
        ("without_coarse", -4, (-6, -2), ""),
        ("without_crop", -1, (-3, 1), "The crop check shows no sure worth"),
        ("without_duplicates", 2, (1, 3), "The duplicate check does harm"),
        ("without_replay", 0, (-1, 1), "Replay shows no sure worth"),
        ("replay_of_boxes", 2, (1, 3), "Rehearsal by distillation does harm"),
        ("two_rounds", 3, (1, 5), ""),
        ("two_rounds", 1, (-1, 3), "no sure gain over the first"),
    ],
)
def test_words_follow_the_interval(name: str, over: float, interval: tuple[float, float], said: str) -> None:
    line = words(name, over, interval)
    assert said in line if said else line == ""


@pytest.mark.parametrize(
    ("passed", "said"), [(True, "Replay does harm here."), (False, "only in weights that would not")]
)
def test_weights_that_the_gate_refuses_speak_against_nothing(passed: bool, said: str) -> None:
    """Forgetting all that is not asked gains on what is."""
    ways = [trained("verified", True), trained("without_replay", passed)]
    sets = {name: {"ap50": 50.0, "map": 30.0} for name in ("together", "lamp")}
    gain = {name: {"ap50": 2.0, "ap50_ci": [1.0, 3.0]} for name in sets}
    names = ["start", "verified", "without_replay"]
    held_out = {
        "scenes": 3,
        "models": {name: {"sets": sets} for name in names},
        "gains": [{"model": a, "over": b, "sets": gain} for a in names for b in ("start", "verified")],
    }
    row = table_record(ways, held_out, ["lamp"], True, 9)["rows"][-1]
    assert said in row["note"] and ("No share" in row["note"]) is not passed


def trained(name: str, passed: bool) -> Trained:
    return Trained(name, "/w", 9, 3, 4, 1.0, 1.0 if passed else None, passed, {})
