"""`valor plan`: its shape, its table, its refusals."""

from __future__ import annotations

import json

import pytest

from valor_ray.cli import main


@pytest.mark.parametrize("gpus", ["8", "64", "512"])
def test_plan_gives_split_seconds_utilisation_and_assumptions(
    gpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--gpus", gpus, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert {"split", "seconds_per_step", "utilisation", "assumptions", "bound_by", "settings"} <= set(planned)
    assert planned["gpus"] == int(gpus) and planned["seconds_per_step"] > 0


def test_the_table_names_the_settings_and_where_each_figure_is_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "--gpus", "8"]) == 0
    shown = capsys.readouterr().out
    assert "--set grpo.workers=" in shown and "<- best" in shown
    assert "measured: 1.2 GB in 1.4 s" in shown and "assumed: a hosted judge's answer" in shown


def test_settings_change_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = []
    for transfer in ("null", "nccl"):
        main(["plan", "--gpus", "8", "--set", f"policy.weight_transfer={transfer}", "--json"])
        seconds.append(json.loads(capsys.readouterr().out)["seconds_per_step"])
    assert seconds[1] < seconds[0]


def test_too_few_gpus_are_wrong_settings_and_the_message_says_how_many_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "--gpus", "2"]) == 2
    assert "The fewest that do: 5" in capsys.readouterr().err
