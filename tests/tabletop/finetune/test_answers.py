"""Answers of fixed programs through several detectors: real sandbox, verifier and models, a few questions."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from bases import BASES
from safetensors.torch import load_file, save_file

from valor_ray.config.models import DetectorConfig, resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.tabletop.finetune import answers as subject
from valor_ray.tabletop.finetune.answers import GOLD, GREEDY, MALFORMED, RIGHT, answers
from valor_ray.tabletop.finetune.programs import questions

COUNT = 10
CONFIG = Config.load("local", [*BASES, "sandbox.wall_seconds=60"])

POLICY = {name: getattr(CONFIG.policy, name) for name in ("model", "prompt", "max_tokens", "thinking")}


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> DetectorConfig:
    """A detector that sees nothing."""
    folder = tmp_path_factory.mktemp("models") / "blind"
    shutil.copytree(resolve_model(CONFIG.detector.model), folder)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    for name, value in weights.items():
        if "decoder" in name and value.ndim > 1:
            weights[name] = 20 * value.std() * torch.randn_like(value)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return CONFIG.detector.model_copy(update={"model": str(folder), "box_threshold": 0.999})


def write_replies(path: Path, replies: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        {"query_id": each.query_id, "question": each.question, "reply": reply, "policy": POLICY}
        for each, reply in zip(questions(COUNT), replies, strict=True)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.timeout(300)
def test_programs_are_run_once_with_each_detector_and_compared(
    tmp_path: Path, blind: DetectorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ["no program"] + [
        f"<plan>\nx\n</plan>\n<answer>\n{code}\n</answer>" for code in ("1/0", *["x"] * 8)
    ]
    write_replies(tmp_path / "greedy.jsonl", broken)
    models = {"start": CONFIG.detector, "blind": blind}
    made = answers(models, CONFIG, tmp_path, COUNT, quiet)
    assert (made["n"], made["pictures"], set(made["programs"])) == (COUNT, COUNT / 2, {GOLD, GREEDY})
    gold, greedy = made["programs"][GOLD], made["programs"][GREEDY]
    assert gold["models"]["start"]["right"] > gold["models"]["blind"]["right"]
    change = gold["changes"]["blind"]
    assert change["gain"] == change["end"] - change["start"] < 0
    assert change["gain_ci"][0] <= change["gain"] <= change["gain_ci"][1]
    assert change["broken"] > change["fixed"] and 0 < change["p"] <= 1
    assert sum(part["n"] for part in change["by_family"].values()) == COUNT
    assert greedy["models"]["start"]["ends"] == {MALFORMED: 1, "program: error": 9}
    assert RIGHT in gold["models"]["start"]["ends"]

    monkeypatch.setattr(subject, "_ends", None)  # nothing is run again
    assert answers(models, CONFIG, tmp_path, COUNT, quiet) == made


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ("depth.image_side=96", True),
        ("vlm.noise=0.2", True),
        ("vlm.max_side=64", True),
        ("detector.box_threshold=0.9", False),  # of the settings, not of the model that answers
        ("depth.max_batch=1", False),
        ("vlm.timeout_s=5", False),
    ],
)
def test_answers_with_other_eyes_beside_the_detector_are_others(setting: str, again: bool) -> None:
    other = Config.load("local", [*BASES, "sandbox.wall_seconds=60", setting])
    keys = {subject._key(CONFIG.detector, each) for each in (CONFIG, other)}
    assert len(keys) == (2 if again else 1)


def test_a_start_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No model 'start'"):
        answers({"end": CONFIG.detector}, CONFIG, tmp_path, COUNT, quiet)
