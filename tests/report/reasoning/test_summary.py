"""The numbers of a training run, from folders small enough to do the sums by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from valor_ray.report.reasoning.records import read_train
from valor_ray.report.reasoning.rollouts import SHOWN, browse
from valor_ray.report.reasoning.summary import summarise


def summary(folder: Path) -> dict:
    return summarise(read_train(folder), browse(folder))


def lines(path: Path, rows: list[dict], torn: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


def evaluated(folder: Path, marks: dict[int, dict[str, str]]) -> None:
    """marks: step -> family -> one letter a question, R for right."""
    records = []
    for step, families in marks.items():
        rows = [
            {"query_id": f"{family}-{n}", "family": family, "right": mark == "R"}
            for family, word in families.items()
            for n, mark in enumerate(word)
        ]
        lines(
            folder / "evaluation" / f"step-{step:06d}" / "answers.jsonl",
            rows,
            torn='{"query_id": "a-0", "fam',
        )
        right = sum(row["right"] for row in rows)
        records.append(
            {
                "step": step,
                "n": len(rows),
                "accuracy": right / len(rows),
                "well_formed": 0.9 + step / 100,
                "by_family": {family: {"n": len(w), "right": w.count("R")} for family, w in families.items()},
                "seconds": 30,
            }
        )
    lines(folder / "evaluation.jsonl", records)


def test_an_empty_folder_has_nulls_everywhere(tmp_path: Path) -> None:
    report = summary(tmp_path)
    assert report["steps"] == 0 and report["by_family"] == {} and report["rollouts"]["all"] == 0
    for name in (
        "reward_start",
        "accuracy_end",
        "gain",
        "gain_ci",
        "well_formed",
        "judge_calls",
        "minutes",
        "max_lag",
    ):
        assert report[name] is None, name
    assert report["judge_truth"]["points"] == [] and report["judge_truth"]["parted"] is None
    json.dumps(report, allow_nan=False)


def test_metrics_are_summed_and_both_ends_are_means_of_five_steps(tmp_path: Path) -> None:
    steps = [
        {"step": n, "reward": n / 10, "all_heads": 0.5, "well_formed": 0.8, "dropped_missing": 1, "dropped_stale": 0,
         "equal_groups": 2, "refilled": 1, "logprob_gap": 1e-5 * n,
         "logprob_gap_mean": 1e-6 * n, "lag_max": n % 3, "judge_calls": 10,
         "judge_cost_usd": 0.25, "seconds": {"wait": 1, "learn": 4, "publish": 1, "sample": 99, "judge": 99}}
        for n in range(1, 11)
    ]  # fmt: skip
    before_the_resume = [steps[7] | {"reward": 100.0, "judge_calls": 1000}]
    lines(tmp_path / "metrics.jsonl", steps[:7] + before_the_resume + steps[7:], torn='{"step": 11, "rew')
    report = summary(tmp_path)
    assert report["steps"] == 10
    assert (report["reward_start"], report["reward_end"]) == pytest.approx((0.3, 0.8))
    assert (report["all_heads_start"], report["all_heads_end"]) == (0.5, 0.5)
    assert (report["dropped_missing"], report["equal_groups"], report["refilled"]) == (10, 20, 10)
    assert (report["judge_calls"], report["judge_cost_usd"], report["max_lag"]) == (100, 2.5, 2)
    assert report["max_logprob_gap_mean"] == pytest.approx(1e-5)
    assert report["max_logprob_gap"] == pytest.approx(1e-4) and report["minutes"] == 1.0
    assert report["well_formed"] == 0.8  # no evaluation


def test_null_and_infinite_values_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "reward": null, "logprob_gap": NaN}\n[]\n3\n\n{"step": "x"}\n'
        '{"step": 2, "reward": 0.5, "logprob_gap": Infinity, "lag_max": "x"}\n{"step": 3, "reward": 0.7}\n'
    )
    report = summary(tmp_path)
    assert (report["steps"], report["max_logprob_gap"], report["max_lag"]) == (3, None, None)
    assert (report["reward_start"], report["reward_end"]) == (None, 0.7)


@pytest.mark.parametrize(
    ("steps", "start", "end"), [(1, None, None), (2, 1, 2), (5, 1.5, 4.5), (9, 2.5, 7.5), (12, 3, 10)]
)
def test_no_step_of_a_short_run_counts_at_both_ends(
    tmp_path: Path, steps: int, start: float | None, end: float | None
) -> None:
    lines(tmp_path / "metrics.jsonl", [{"step": n, "reward": n} for n in range(1, steps + 1)])
    lines(tmp_path / "evaluation.jsonl", [{"step": n, "accuracy": 0.5} for n in (0, steps)])
    report = summary(tmp_path)
    assert (report["reward_start"], report["reward_end"]) == (start, end)
    assert [point["reward"] for point in report["judge_truth"]["points"]] == [start, end]


@pytest.mark.parametrize(
    ("grpo", "queries", "planned"),
    [
        ("{steps: 7}", 0, 7),
        ("{steps: null, epochs: 3, prompts: 4, top_p: 1.0}", 10, 7),  # top_p: of an earlier version
        ("{epochs: 3, prompts: 4}", 0, None),
        ("{steps: many}", 10, None),
        ("3", 0, None),
    ],
)
def test_planned_steps_follow_from_settings_and_queries(
    tmp_path: Path, grpo: str, queries: int, planned: int | None
) -> None:
    (tmp_path / "config.yaml").write_text(f"grpo: {grpo}\n")
    lines(tmp_path / "queries.jsonl", [{"query_id": f"q{n}", "question": "?"} for n in range(queries)])
    assert summary(tmp_path)["planned_steps"] == planned


def test_gains_are_paired_by_question_and_a_family_that_surely_fell_is_named(tmp_path: Path) -> None:
    first = {"count": "R" * 8 + "w" * 2, "size": "w" * 10, "one": "R"}
    last = {"count": "w" * 8 + "w" * 2, "size": "R" * 9 + "w", "one": "R"}
    evaluated(tmp_path, {0: first, 10: first, 20: last})
    report = summary(tmp_path)
    assert (report["accuracy_start"], report["accuracy_end"]) == pytest.approx((9 / 21, 10 / 21))
    assert report["gain"] == pytest.approx(1 / 21, abs=1e-4)
    low, high = report["gain_ci"]
    assert low < 0 < high
    assert report["well_formed"] == pytest.approx(1.1) and report["minutes"] == 1.5
    count, size, one = (report["by_family"][name] for name in ("count", "size", "one"))
    assert (count["n"], count["start"], count["end"], count["gain"]) == (10, 0.8, 0.0, -0.8)
    assert count["gain_ci"][1] < 0 and count["significantly_worse"] is True
    assert size["gain"] == 0.9 and size["significantly_worse"] is False
    assert one["gain_ci"] == [-1.0, 1.0] and one["significantly_worse"] is False


def test_a_family_is_worse_only_when_holms_correction_for_all_families_leaves_it_so(tmp_path: Path) -> None:
    """6 of 6 changed for the worse: p 0.031 alone, with a second family beside it twice as much."""
    fell = "R" * 6 + "w" * 4
    evaluated(tmp_path / "alone", {0: {"count": fell}, 5: {"count": "w" * 10}})
    alone = summary(tmp_path / "alone")["by_family"]["count"]
    assert (alone["p"], alone["p_holm"], alone["significantly_worse"]) == (0.0312, 0.0312, True)
    evaluated(tmp_path / "two", {0: {"count": fell, "size": "Rw"}, 5: {"count": "w" * 10, "size": "wR"}})
    count = summary(tmp_path / "two")["by_family"]["count"]
    assert count["gain_ci"][1] < 0 and (count["p_holm"], count["significantly_worse"]) == (0.0624, False)


def test_before_the_second_evaluation_there_is_a_start_and_no_gain(tmp_path: Path) -> None:
    evaluated(tmp_path, {0: {"count": "RRww"}})
    report = summary(tmp_path)
    assert (report["accuracy_start"], report["accuracy_end"], report["gain"]) == (0.5, None, None)
    assert report["by_family"]["count"] == {
        "n": 4, "start": 0.5, "end": None, "gain": None, "gain_ci": None, "p": None,
        "p_holm": None, "significantly_worse": None,
    }  # fmt: skip


def test_without_the_answers_there_is_a_gain_and_no_interval(tmp_path: Path) -> None:
    lines(tmp_path / "evaluation.jsonl", [{"step": 0, "accuracy": 0.4}, {"step": 5, "accuracy": 0.5}])
    report = summary(tmp_path)
    assert (report["gain"], report["gain_ci"], report["by_family"]) == (0.1, None, {})


@pytest.mark.parametrize(("last", "parted"), [("w" * 20, True), ("R" * 20, False)])
def test_judges_and_truth_part_when_the_reward_rises_and_the_accuracy_surely_falls(
    tmp_path: Path, last: str, parted: bool
) -> None:
    evaluated(tmp_path, {0: {"count": "Rw" * 10}, 10: {"count": last}})
    lines(tmp_path / "metrics.jsonl", [{"step": n, "reward": n / 10, "all_heads": 0.1} for n in range(1, 11)])
    views = summary(tmp_path)["judge_truth"]
    assert [point["reward"] for point in views["points"]] == [0.3, 0.8]  # the nearest five steps
    assert (views["reward_gain"], views["all_heads_gain"]) == (0.5, 0.0)
    assert views["parted"] is parted


def test_judges_and_truth_may_part_after_the_best_step_of_a_long_run(tmp_path: Path) -> None:
    evaluated(
        tmp_path, {0: {"count": "w" * 20}, 5: {"count": "R" * 18 + "ww"}, 10: {"count": "R" * 6 + "w" * 14}}
    )
    lines(tmp_path / "metrics.jsonl", [{"step": n, "reward": n / 10, "all_heads": 0.1} for n in range(1, 11)])
    report = summary(tmp_path)
    assert report["gain"] > 0 and report["judge_truth"]["parted"] is True
    assert (report["judge_truth"]["best_step"], report["judge_truth"]["best_accuracy"]) == (5, 0.9)
    assert report["judge_truth"]["since_best_ci"][1] < 0


def rollout(n: int, **more) -> dict:
    return {
        "rollout_id": f"r{n}",
        "step": n,
        "question": "?",
        "reply": f"{n}",
        "fate": "used",
        "value": 0.5,
    } | more


def test_rollouts_are_counted_and_the_page_gets_the_telling_ones(tmp_path: Path) -> None:
    rows = [rollout(n, value=n / 100, token_ids=[1] * n) for n in range(100)]
    rows += [rollout(200, fate="missing", value=None), rollout(201, fate="equal")]
    rows += [rollout(300 + n, reply="the same", value=1.0) for n in range(50)]
    lines(tmp_path / "rollouts.jsonl", rows, torn='{"rollout_id": "torn')
    browsed = browse(tmp_path)
    assert browsed.counts == {"all": 152, "used": 150, "equal": 1, "missing": 1}
    names = {part: [row["rollout_id"] for row in rows] for part, rows in browsed.parts.items()}
    assert names["Best"][:3] == ["r300", "r99", "r98"]  # equal replies to a question are shown once
    assert names["Worst"][:2] == ["r0", "r1"]
    assert names["Missing"] == ["r200"] and names["Equal groups"] == ["r201"]
    assert names["Newest"][0] == "r349" and names["Oldest"][0] == "r0"
    assert all(len(rows) <= SHOWN for rows in browsed.parts.values())
    assert browsed.parts["Oldest"][7]["tokens"] == 7 and "token_ids" not in browsed.parts["Oldest"][7]


def test_canaries_with_a_wrong_verdict_come_first(tmp_path: Path) -> None:
    row = {"canary": "good-1", "question": "?", "reply": "!", "format": True, "logic": True, "value": 1.0}
    lines(
        tmp_path / "audit.jsonl",
        [row | {"step": 1, "logic": False}, row | {"step": 2}, {"canary": "gone"}, {}],
    )
    browsed = browse(tmp_path)
    assert [shown["step"] for shown in browsed.parts["Canaries"]][:1] == [1]
    assert browsed.audit["heads"]["logic"]["agreed"] == 1 and browsed.audit["heads"]["logic"]["asked"] == 2


def test_memory_does_not_grow_with_the_rollouts(tmp_path: Path) -> None:
    with (tmp_path / "rollouts.jsonl").open("w") as file:
        for n in range(8_000):
            file.write(json.dumps(rollout(n, logprobs=[-0.5] * 800)) + "\n")
    assert (tmp_path / "rollouts.jsonl").stat().st_size > 30e6
    script = (
        "import sys, resource, pathlib\nfrom valor_ray.report.reasoning.rollouts import browse\n"
        "browse(pathlib.Path(sys.argv[1]))\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    kib = {
        folder: int(
            subprocess.run([sys.executable, "-c", script, folder], capture_output=True, check=True).stdout
        )
        for folder in (str(tmp_path), str(tmp_path / "none"))
    }
    assert kib[str(tmp_path)] - kib[str(tmp_path / "none")] < 12_000
