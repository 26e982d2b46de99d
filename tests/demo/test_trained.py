"""The demo's two turns: the app starts with the bases and goes over to trained weights; both answers are shown."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from shipped import TRAINED, ship_trained

import deployments.serving
from deployments.actors import publications
from valor_ray.commands.ask import demo as command
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.demo import questions
from valor_ray.demo.trained import turns
from valor_ray.runs.publications import Carried


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return ship_trained(tmp_path / "checkpoints", monkeypatch)


class App:
    """In the place of the app: the base answers nothing rightly, trained weights everything, to questions by number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.carried: list[tuple[str, str, str]] = []  # run, version, folder
        self.asked: list[tuple[str, int, int]] = []  # question, seed, how much was published by then
        self.started: list[tuple[Config, str | None]] = []
        monkeypatch.setattr(publications, "publish", self.publish)
        monkeypatch.setattr(deployments.serving, "serving", self.serving)
        monkeypatch.setattr(questions, "ask", self.ask)
        monkeypatch.setattr(questions, "depth_maps", lambda images, url, token: {})

    @contextmanager
    def serving(self, config: Config, say: Any, *, policy_run: str | None) -> Iterator[str]:
        self.started.append((config, policy_run))
        yield "http://app"

    def publish(self, run: str, version: str, folder: Path, probe: Any, timeout_s: float) -> list[Carried]:
        self.carried.append((run, version, str(folder)))
        return [Carried("replica", version)]

    def ask(self, image: Path, text: str, *, url: str, token: str | None, seed: int) -> dict[str, Any]:
        self.asked.append((text, seed, len(self.carried)))
        truth = next(q.truth for q in questions.read_questions(image.parents[1]) if q.text == text)
        answer = truth if self.carried else "no idea"
        size = {"width": 256, "height": 256}
        return {"answer": answer, "plan": "", "code": "", "trace": [], "error": None} | size


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    return App(monkeypatch)


def shown(out: Path, overrides: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    args = Namespace(out=out, questions=3, seed=5, look="tiles", profile="local", overrides=list(overrides))
    code = command.run(args)
    return code, capsys.readouterr().out


def test_the_same_questions_go_to_bases_and_trained_weights_with_the_same_seeds(
    folder: Path, app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = shown(tmp_path / "demo", TRAINED, capsys)
    (start, policy_run), *others = app.started
    assert code == 0 and not others
    assert (start.policy.model, start.detector.model) == ("tabletop:policy", "tabletop:detector")
    assert app.carried == [
        (policy_run, "tabletop:trained-policy", resolve_model("tabletop:trained-policy")),
        (start.detector.follow, "tabletop:trained-detector", resolve_model("tabletop:trained-detector")),
    ]
    before = {(text, seed) for text, seed, carried in app.asked if not carried}
    after = {(text, seed) for text, seed, carried in app.asked if carried == 2}
    assert before == after and len(app.asked) == 6 and {seed for _, seed in before} == {5, 6, 7}
    assert "base → trained: 0 → 3 of 3 right" in out and "no figure for a report" in out
    page = (tmp_path / "demo" / "index.html").read_text()
    assert page.count('<article class="fixed">') == 3
    assert "tabletop:trained-policy (trained from tabletop:policy)" in page


def test_without_trained_weights_there_is_one_turn(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bases = ("policy.model=tabletop:policy", "detector.model=tabletop:detector")
    code, out = shown(tmp_path / "demo", bases, capsys)
    assert code == 0 and len(app.asked) == 3 and not app.carried and app.started[0][1] is None
    assert "3 questions: 0 right" in out and "→" not in out
    assert "base" not in (tmp_path / "demo" / "index.html").read_text().split("<h1>")[1].split("<nav>")[0]


def test_one_of_the_two_may_be_trained(folder: Path, tmp_path: Path) -> None:
    two = turns(Config.load("local", [TRAINED[1], "policy.model=tabletop:policy"]), tmp_path)
    assert two is not None and dict(two.trained) == {"detector": "tabletop:trained-detector"}
    assert two.policy_run is None and two.config.detector.follow == str(tmp_path / "detector")


@pytest.mark.parametrize(
    "settings",
    [
        ("policy.endpoint.base_url=http://host/v1", "policy.endpoint.model=m"),
        ("detector.follow=/runs/eyes",),
        ("policy.model=owner/name", "detector.model=owner/name"),
    ],
)
def test_what_cannot_go_over_has_one_turn(folder: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    assert turns(Config.load("local", [*TRAINED, *settings]), tmp_path) is None
