"""The score report: other people's text stays text, and the plots show what they are given."""

import json
import re
from pathlib import Path

from pages import tags

from valor_ray.records import Head
from valor_ray.report.kit import plots
from valor_ray.report.score import page as score_page
from valor_ray.report.score import plots as score_plots
from valor_ray.report.score import summary as score_summary
from valor_ray.report.score.summary import BINS, SHOWN, Summary

EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>$tiles \" ' &"
AUDIT = {"heads": {}, "kinds": {}, "alarm": ""}


def record(value: float | None = 1.0, **more) -> dict:
    heads = {head.value: True for head in Head}
    if value is None:
        heads["logic"] = None
    return {
        "reply_id": EVIL, "question": EVIL, "reply": EVIL, "value": value, **heads,
        "reasons": dict.fromkeys(heads, EVIL), "calls": 4, "cost_usd": 0.001, **more,
    }  # fmt: skip


def page(tmp_path: Path, records: list[dict], audit: dict = AUDIT) -> str:
    summary = Summary()
    for row in records:
        summary.add(row)
    report = {
        "replies": len(records), "scored": summary.scored, "missing": summary.missing, "failed": 1, "calls": 4,
        "cache_hits": 0, "cost_usd": 0.1, "mean_reward": summary.mean_reward, "seconds": 2.0,
        "heads": summary.heads_json(), "histogram": summary.histogram, "audit": audit,
    }  # fmt: skip
    return score_page.write_page(tmp_path, report, summary).read_text()


def test_replies_reasons_and_errors_cannot_write_html(tmp_path: Path) -> None:
    failed = {"reply_id": EVIL, "question": EVIL, "reply": EVIL, "value": None, "error": EVIL}
    (tmp_path / "failed.jsonl").write_text(json.dumps(failed) + "\n")
    audit = {
        "heads": {},
        "kinds": {EVIL: {"asked": 1, "agreed": 0, "missing": 0, "ci": [0, 1]}},
        "alarm": EVIL,
    }
    text = page(tmp_path, [record(), record(None)], audit)
    seen = tags(text)
    assert seen.count("script") == 1 and "img" not in seen
    assert seen.count("article") == 4  # best, worst, missing, failed
    assert "http" not in text.replace("http-equiv", "")  # one file that loads nothing


def test_a_page_without_any_reward_is_still_a_page(tmp_path: Path) -> None:
    text = page(tmp_path, [])
    assert "mean reward" in text and "no verdict" in text


def test_long_texts_are_cut(tmp_path: Path) -> None:
    assert len(page(tmp_path, [record(reply="x" * 10**6)])) < 100_000


def test_throughput_joins_the_runs_and_stays_small(tmp_path: Path) -> None:
    rows = [{"seconds": second, "rows_per_s": run} for run in (1, 2) for second in range(1, 3001)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    points = score_page.throughput(path)
    assert 200 < len(points) <= 900
    assert points == sorted(points) and points[-1][0] > 5900
    assert {rate for _, rate in points} == {1, 2}


def test_the_scaling_plot_is_there_when_the_bench_wrote_its_points(tmp_path: Path) -> None:
    assert "gateway replicas" not in page(tmp_path, [record()])
    points = [{"replicas": n, "calls_per_s": 15 * n} for n in (1, 2, 4)]
    (tmp_path / "scaling.json").write_text(json.dumps({"points": points}))
    text = page(tmp_path, [record()])
    assert "gateway replicas" in text and len(re.findall('class="dot"', text)) >= 3
    (tmp_path / "scaling.json").write_text("[]")
    assert "gateway replicas" not in page(tmp_path, [record()])


def test_the_summary_keeps_best_and_worst_and_counts_edges() -> None:
    summary = Summary()
    for n in range(200):
        summary.add(record(n / 199))
    assert sum(summary.histogram) == 200 and summary.histogram[BINS - 1] >= 20
    assert len(summary.best) == len(summary.worst) == SHOWN
    assert score_summary.best_first(summary.best)[0]["value"] == 1.0
    assert score_summary.best_first(summary.worst)[0]["value"] == 0.0


def test_exact_tenths_fall_into_their_own_bin() -> None:
    summary = Summary()
    for n in range(11):
        summary.add(record(0.1 * n))
    assert summary.histogram == [1] * 9 + [2]


def test_a_reply_without_the_format_has_no_missing_verdicts() -> None:
    summary = Summary()
    none = dict.fromkeys(head.value for head in Head if head is not Head.FORMAT)
    summary.add(record(0.0, format=False, **none))
    assert summary.heads_json()["format"] == {
        "rate": 0.0,
        "ci95": [0.0, 0.7935],
        "yes": 0,
        "no": 1,
        "missing": 0,
        "left_out": 0,
    }
    assert summary.heads_json()["logic"]["missing"] == 0


def test_plots_stay_inside_their_frame() -> None:
    text = score_plots.histogram([0, 5, 10]) + score_plots.curve([(0, 0), (10, 123456.0)], "x", "y")
    numbers = [float(n) for n in re.findall(r'(?:x|y|cx|cy)="(-?[\d.]+)"', text)]
    assert min(numbers) >= 0 and max(numbers) <= plots.WIDTH
