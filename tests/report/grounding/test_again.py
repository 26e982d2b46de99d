"""The page of a mining run made again: what its files hold is a message, never a traceback."""

import json
from pathlib import Path

import pytest
from mined import box, mined

from valor_ray.errors import ConfigError
from valor_ray.report.grounding.again import write_mining_page


def test_pictures_with_and_without_all_verdicts_are_shown(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"minutes": 3.0}))
    whole, lacking = mined(tmp_path / "a.png", box("kkk")), mined(tmp_path / "b.png", box("km"))
    (tmp_path / "images.jsonl").write_text(json.dumps(whole.to_record()) + '\n{"torn')
    (tmp_path / "missing.jsonl").write_text(json.dumps({**lacking.to_record(), "starts": 1}) + "\n")
    assert write_mining_page(tmp_path) == {"minutes": 3.0}
    text = (tmp_path / "report.html").read_text()
    assert text.count("<article") == 2 and "verdict missing 1" in text


def test_a_run_that_has_not_ended_is_told_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"valor mine --run {tmp_path}` goes on"):
        write_mining_page(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("report.json", "[]"),
        ("report.json", "{"),
        ("images.jsonl", '{"image": "a"}\n'),
        ("images.jsonl", '{"image": "a", "boxes": [{"bbox": 3}]}\n'),
        (
            "report.json",
            '{"audit": {"kinds": {"good": {"asked": 1, "agreed": 1, "missing": 0, "ci": "x"}}}}',
        ),
        ("report.json", '{"audit": {"kinds": {"good": {}}}}'),
        ("report.json", '{"evaluation": {"recall_lost": 1, "recall_lost_ci": ["a", "b"]}}'),
    ],
)
def test_files_of_another_shape_are_a_message_that_names_the_command(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=f"valor mine --run {tmp_path}"):
        write_mining_page(tmp_path)
