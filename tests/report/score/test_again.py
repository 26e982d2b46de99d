"""The page of a scored file made again: what its records hold is a message, never a traceback."""

import json
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.report.score.again import write_score_page
from valor_ray.report.score.summary import Summary

EMPTY = Summary()
REPORT = {
    "replies": 1, "scored": 1, "missing": 0, "failed": 0, "calls": 4, "cache_hits": 0, "cost_usd": 0.1,
    "mean_reward": 0.5, "seconds": 2.0, "heads": EMPTY.heads_json(), "histogram": EMPTY.histogram,
    "audit": {"heads": {}, "kinds": {}, "alarm": ""},
}  # fmt: skip


def test_page_is_made_of_the_report_alone_where_there_are_no_records(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    assert write_score_page(tmp_path) == REPORT
    assert "mean reward" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "odd",
    [
        {"audit": {"heads": {}, "kinds": {"good": {}}, "alarm": ""}},
        {"audit": {}},
        {
            "audit": {
                "heads": {},
                "kinds": {"good": {"asked": 1, "agreed": 1, "missing": 0, "ci": "x"}},
                "alarm": "",
            }
        },
        {
            "heads": REPORT["heads"]
            | {"logic": {"rate": 0.5, "ci95": [0, 1], "yes": "<b>", "no": "", "missing": 0}}
        },
        {"histogram": ["<b>"]},
        {"mean_reward": "x"},
    ],
)
def test_report_json_of_another_shape_is_a_message_that_names_the_command(tmp_path: Path, odd: dict) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT | odd))
    with pytest.raises(ConfigError, match=f"valor score --replies FILE --out {tmp_path}"):
        write_score_page(tmp_path)


def test_failed_row_without_its_reply_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "failed.jsonl").write_text('{"reply_id": "a", "value": null, "error": "x"}\n')
    with pytest.raises(ConfigError, match="anew"):
        write_score_page(tmp_path)
