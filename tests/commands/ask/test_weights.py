"""`valor serve` and `valor ask` name the weights that serve."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from shipped import TRAINED, ship_trained

from valor_ray.commands.ask import ask, serve
from valor_ray.config.tree import Config


@pytest.mark.parametrize(
    ("settings", "policy", "detector"),
    [
        (
            TRAINED,
            "tabletop:trained-policy (trained from tabletop:policy)",
            "tabletop:trained-detector (trained from tabletop:detector)",
        ),
        (
            (
                "policy.model=runs/first/chosen",
                "detector.model=tabletop:detector",
                "detector.follow=/runs/eyes",
            ),
            "runs/first/chosen",
            "tabletop:detector, until /runs/eyes has published",
        ),
        (
            (*TRAINED, "policy.endpoint.base_url=http://host/v1", "policy.endpoint.model=gpt"),
            "gpt",
            "tabletop:trained-detector (trained from tabletop:detector)",
        ),
    ],
)
def test_serve_names_them_and_what_they_were_trained_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], policy: str, detector: str
) -> None:
    ship_trained(tmp_path / "shipped", monkeypatch)
    assert serve._weights(Config.load("local", settings)) == {"policy": policy, "detector": detector}


@pytest.mark.parametrize("as_json", [False, True])
def test_ask_names_them_beside_the_seconds_and_never_on_stdout(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reply: dict[str, Any] = {"answer": 3, "plan": "", "code": "", "trace": [], "error": None, "seconds": 0.5}
    monkeypatch.setattr(ask, "ask", lambda *_args, **_more: reply)
    monkeypatch.setattr(ask, "versions", lambda url, _s: {"policy": "tabletop:policy", "detector": "step-9"})
    words = Namespace(
        image=Path("a.png"), question="How many?", url="http://app", token_env=None, samples=None, select=None,
        repairs=0, seed=None, json=as_json,
    )  # fmt: skip
    assert ask.run(words) == 0
    out, err = capsys.readouterr()
    assert "tabletop:policy" not in out and out.strip()[-1] in "3}"
    assert ("(0.5 s, policy tabletop:policy, detector step-9)" in err) != as_json
