"""The training report: replies stay text, every section is there, and a run that has just begun has a page too."""

import json
import random
import re
from pathlib import Path

import pytest
import yaml
from pages import tags

from valor_ray.judges.audit import canaries
from valor_ray.measure.intervals import wilson
from valor_ray.records import Head
from valor_ray.report.kit.curves import NOTHING
from valor_ray.report.reasoning.page import write_train_page, write_train_page_again
from valor_ray.report.reasoning.rollouts import SHOWN

EVIL = "</pre></article></script><script>alert(1)</script><img src=x onerror=alert(1)>$cards \" ' & \ud800"
FAMILIES = ("count", "distance", "size", "relation", "exists", "colour")
PLAN = "1. Detect every red ball.\n2. Count the boxes; no box gives 0."
CODE = 'balls = gd_detect(img_pth, "red ball")\nfinal_answer = len(balls)'


def lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rollout(rng: random.Random, step: int, group: int, sample: int, text: str = "") -> dict:
    skill = min(0.95, 0.45 + 0.012 * step)
    verdicts: dict = {head.value: rng.random() < skill for head in Head}
    verdicts["format"] = rng.random() < 0.85 + 0.004 * step
    weights = {"logic": 0.3, "syntax": 0.1, "attribute": 0.2, "spatial": 0.2, "adherence": 0.2}
    if not verdicts["format"]:
        verdicts = dict.fromkeys(verdicts) | {"format": False}
    value = sum(share * (verdicts[head] or 0) for head, share in weights.items()) * verdicts["format"]
    fate = "equal" if group == 3 else "used"
    if verdicts["format"] and rng.random() < 0.02:
        verdicts["logic"], value, fate = None, None, "missing"
    reply = (
        f"<plan>\n{PLAN} #{step}.{sample}\n</plan>\n<answer>\n{CODE}\n</answer>"
        if verdicts["format"]
        else "three balls"
    )
    tokens = list(range(60 + rng.randrange(90)))
    behind = max(0, step - rng.randrange(2))
    return {
        "rollout_id": f"s{step:06d}-0-{group:02d}-{sample}", "step": step, "shard": 0, "group": group, "sample": sample,
        "query_id": f"q{group}", "question": text or f"How many red balls are left of the box? ({group})",
        "reply": text + reply, "prompt_ids": [1, 2], "token_ids": tokens, "logprobs": [-0.5] * len(tokens),
        "versions": [[f"step-{behind:06d}", len(tokens)]], "finish_reason": "stop", "fate": fate,
        "advantage": rng.gauss(0, 1) if fate == "used" else None, "value": value, **verdicts,
        "reasons": {head: text + "The plan counts what was asked for." for head, yes in verdicts.items()
                    if yes is not None or verdicts["format"]},
        "by": {}, "calls": 4, "cache_hits": 0, "prompt_tokens": 900, "completion_tokens": 80, "cost_usd": 0.0004,
        "latency_s": {}, "seconds": 1.2, "of": 64,
    }  # fmt: skip


def metrics(rng: random.Random, step: int) -> dict:
    grown = 1 - 0.95**step
    noise = lambda size: rng.gauss(0, size)  # noqa: E731
    return {
        "step": step, "reward": 0.55 + 0.25 * grown + noise(0.02), "all_heads": 0.2 + 0.35 * grown + noise(0.03),
        "well_formed": min(1.0, 0.88 + 0.1 * grown), "cut": 0.02,
        "loss": noise(0.02), "grad_norm": 0.6 + abs(noise(0.2)),
        "heads": {head.value: min(1.0, 0.6 + 0.05 * n + 0.2 * grown + noise(0.02)) for n, head in enumerate(Head)},
        "kl": 0.03 * grown + abs(noise(0.002)), "entropy": 0.8 - 0.2 * grown, "clip_share": abs(noise(0.02)),
        "ratio_mean": 1 + noise(0.01), "ratio_max": 1.5 + abs(noise(0.4)), "lag_mean": rng.random(), "lag_max": 1,
        "logprob_gap": 10 ** (-4.5 + noise(0.3)),
        "logprob_gap_mean": 1e-6, "logprob_gap_p99": 1e-5, "groups": 8, "equal_groups": rng.randrange(3),
        "refilled": rng.randrange(3), "dropped_missing": rng.randrange(2), "dropped_stale": int(step % 9 == 5),
        "scenes_left_out": 0.1, "scenes_missing": 0.05 * rng.random(), "judge_calls_per_reply": 0.5,
        "reply_tokens": 120 - 20 * grown + noise(3), "judge_calls": 220 + rng.randrange(60),
        "cache_hits": rng.randrange(40), "judge_cost_usd": 0.02 + rng.random() / 100,
        "seconds": {"wait": 2 + abs(noise(2)), "learn": 9 + noise(0.5), "publish": 0.6, "sample": 6 + noise(1),
                    "judge": 4 + abs(noise(2))},
        "time": 1.77e9 + 14 * step,
    }  # fmt: skip


def evaluate(folder: Path, rng: random.Random, step: int, marks: dict[str, bool]) -> dict:
    families = {query_id: FAMILIES[n % len(FAMILIES)] for n, query_id in enumerate(marks)}
    rows = [
        {"query_id": query_id, "question": "?", "family": families[query_id], "look": "", "truth": 1, "answer": 1,
         "right": right, "error": None, "unasked": False, "seconds": 0.5}
        for query_id, right in marks.items()
    ]  # fmt: skip
    lines(folder / "evaluation" / f"step-{step:06d}" / "answers.jsonl", rows)
    n, right = len(marks), sum(marks.values())
    by_family = {
        family: {
            "n": sum(of == family for of in families.values()),
            "right": sum(marks[query_id] for query_id, of in families.items() if of == family),
        }
        for family in FAMILIES
    }
    return {
        "step": step, "n": n, "accuracy": round(right / n, 4), "ci": list(wilson(right, n)),
        "well_formed": 0.9 + 0.001 * step, "by_family": by_family, "seconds": 60.0,
    }  # fmt: skip


def make_run(folder: Path, steps: int = 40, text: str = "", questions: int = 504) -> Path:
    """A run folder as docs/design/training.md has it; counting gets worse in it, all the rest better."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    grpo = {"steps": steps, "prompts": 8, "samples": 8, "gap_alarm": 0.001, "learning_rate": 2e-4}
    (folder / "config.yaml").write_text(yaml.safe_dump({"grpo": grpo, "reward": {"audit_alarm": 0.7}}))
    lines(folder / "metrics.jsonl", [metrics(rng, step) for step in range(1, steps + 1)])
    lines(
        folder / "rollouts.jsonl",
        [
            rollout(rng, step, group, sample, text)
            for step in range(1, steps + 1)
            for group in range(8)
            for sample in range(8)
        ],
    )
    marks = {f"e{n}": rng.random() < 0.5 for n in range(questions)}
    evaluations = [evaluate(folder, rng, 0, marks)]
    for step in range(20, steps + 1, 20):
        for n, query_id in enumerate(marks):
            worse = FAMILIES[n % len(FAMILIES)] == "count"
            if rng.random() < 0.15:
                marks[query_id] = not worse
        evaluations.append(evaluate(folder, rng, step, marks))
    lines(folder / "evaluation.jsonl", evaluations)
    audited = []
    for n in range(60):
        canary = canaries()[n % len(canaries())]
        given = {head.value: canary.expected.get(head, True) for head in Head}
        if n % 7 == 0:
            given["logic"] = not given["logic"]
        audited.append(
            {"reply_id": f"canary:{canary.canary_id}", "canary": canary.canary_id, "step": n, "value": 0.5, **given,
             "question": canary.question, "reply": canary.reply, "reasons": dict.fromkeys(given, text + "because")}
        )  # fmt: skip
    lines(folder / "audit.jsonl", audited)
    return folder


def test_every_section_of_a_finished_run_has_its_data(tmp_path: Path) -> None:
    page = write_train_page(make_run(tmp_path)).read_text()
    seen = tags(page)
    assert seen.count("svg") == 19 and NOTHING not in page
    assert "Significantly worse than before: count." in page
    for part in ("Best", "Worst", "Missing", "Equal groups", "Canaries", "Newest", "Oldest"):
        assert 0 < page.count(f'<article data-part="{part}"') <= SHOWN
    assert "alarm 0.001" in page and "known verdicts: " in page
    assert re.search(r"advantage [+-]\d", page) and "written by step-0000" in page
    assert "http" not in page.replace("http-equiv", "") and "url(" not in page  # one file that loads nothing
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["steps"] == 40 and report["by_family"]["count"]["significantly_worse"]


def test_controls_stand_on_the_page_and_their_words_cannot_write_html(tmp_path: Path) -> None:
    assert "valor controls --run" in write_train_page(tmp_path).read_text()
    row = {
        "name": f"base, greedy {EVIL}", "control": "base_greedy", "right": 55.16, "right_ci": [50.8, 59.4],
        "over_base": 12.5, "over_base_ci": [9.1, 15.9], "seen": 70.2, "note": EVIL,
    }  # fmt: skip
    (tmp_path / "controls.json").write_text(json.dumps({"rows": [row], "note": f"504 questions {EVIL}"}))
    page = write_train_page_again(tmp_path).read_text()
    assert "<script>alert" not in page and "<img" not in page
    for said in (
        "right, %",
        "55.2",
        "50.8 – 59.4",
        "over base",
        "+12.5",
        "+9.1 … +15.9",
        "seen wordings",
        "504 questions",
    ):
        assert said in page
    (tmp_path / "controls.json").write_text('[{"rows": 3}')
    assert "valor controls --run" in write_train_page_again(tmp_path).read_text()


def test_replies_reasons_and_names_cannot_write_html(tmp_path: Path) -> None:
    folder = make_run(tmp_path, steps=2, text=EVIL, questions=12)
    row = {"step": 4, "n": 5, "accuracy": 0.5, "ci": [0, 1], "by_family": {EVIL: {"n": 5, "right": 2}}}
    lines(folder / "evaluation.jsonl", [row])
    odd = {"rollout_id": EVIL, "question": EVIL, "reply": EVIL, "fate": EVIL, "finish_reason": EVIL, "step": EVIL,
           "versions": [[EVIL, EVIL]], "value": 0.5, "format": EVIL, "reasons": {"format": EVIL},
           "advantage": EVIL}  # fmt: skip
    with (folder / "rollouts.jsonl").open("a") as file:
        file.write(
            json.dumps(odd) + "\n" + json.dumps({"reasons": [EVIL], "versions": EVIL, "reply": [1]}) + "\n"
        )
    (folder / "config.yaml").write_text(yaml.safe_dump({"grpo": {"queries": EVIL.replace("\ud800", "")}}))
    seen = tags(write_train_page(folder).read_text())
    assert seen.count("script") == 1 and "img" not in seen


@pytest.mark.parametrize("files", [(), ("metrics.jsonl",), ("rollouts.jsonl",), ("evaluation.jsonl",)])
def test_a_run_that_has_just_begun_or_was_killed_has_a_page(tmp_path: Path, files: tuple[str, ...]) -> None:
    whole = make_run(tmp_path / "whole", steps=1, questions=6)
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", *files):
        (folder / name).write_bytes((whole / name).read_bytes())
    for name in files:
        with (folder / name).open("a") as file:
            file.write('{"step": 2, "rewa')
    page = write_train_page(folder).read_text()
    tags(page)
    assert NOTHING in page


def test_page_made_again_still_says_why_the_run_stopped(tmp_path: Path) -> None:
    folder = make_run(tmp_path, steps=3, questions=12)
    write_train_page(folder, "the loss of step 4 is nan")
    for _ in range(2):
        assert "the loss of step 4 is nan" in write_train_page_again(folder).read_text()
    assert json.loads((folder / "report.json").read_text())["stopped"] == "the loss of step 4 is nan"


def test_run_that_went_on_after_it_stopped_loses_the_reason(tmp_path: Path) -> None:
    folder = make_run(tmp_path, steps=3, questions=12)
    write_train_page(folder, "the loss of step 4 is nan")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(metrics(random.Random(0), 4)) + "\n")
    assert "is nan" not in write_train_page_again(folder).read_text()
    write_train_page(folder, "the loss of step 5 is nan")
    write_train_page(folder)  # at its end
    assert "is nan" not in write_train_page_again(folder).read_text()


@pytest.mark.parametrize("report", ["", "{", "[]", '{"stopped": 3, "steps": 9}', '{"stopped": "x"}'])
def test_page_is_made_again_whatever_report_json_holds(tmp_path: Path, report: str) -> None:
    folder = make_run(tmp_path, steps=2, questions=12)
    (folder / "report.json").write_text(report)
    write_train_page_again(folder)
    assert json.loads((folder / "report.json").read_text())["stopped"] is None


def test_null_and_odd_figures_leave_gaps(tmp_path: Path) -> None:
    row = {
        "step": 1,
        "reward": None,
        "kl": "NaN",
        "logprob_gap": 0,
        "heads": None,
        "seconds": None,
        "lag_max": [],
    }
    lines(tmp_path / "metrics.jsonl", [row, row | {"step": 2, "reward": 0.5, "logprob_gap": -1.0}])
    assert "nan" not in write_train_page(tmp_path).read_text()
