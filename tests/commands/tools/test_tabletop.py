"""`valor tabletop render --seed`: any whole number from 0 on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from valor_ray.cli import main


def render(out: Path, seed: int) -> int:
    return main(["tabletop", "render", "--out", str(out), "--scenes", "1", "--seed", str(seed), "--json"])


def test_seed_of_any_size_renders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(tmp_path / "small", 50) == render(tmp_path / "large", 2**40) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scenes"] == 1
    small, large = ((tmp_path / name / "queries.jsonl").read_text() for name in ("small", "large"))
    assert small and large and small != large


def test_negative_seed_exits_2_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(tmp_path / "out", -1) == 2
    assert "seed -1 is below 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
