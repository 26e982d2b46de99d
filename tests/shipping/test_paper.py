"""examples/paper: every command of the recipe on small sets with the true schemas, as far as it needs no model."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark_sets import PUBLIC
from paper_data import paper_data
from tiny_set import tiny_set

from valor_ray import cli
from valor_ray.commands.tools import gather_queries
from valor_ray.commands.train import write_queries
from valor_ray.config.tree import Config
from valor_ray.queries.read import read_queries

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples/paper"
PROFILES = ("reasoning", "mining", "grounding", "evaluation")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the repository's root with data/ and a mined set, and the queries of steps 3 and 5."""
    root = tmp_path_factory.mktemp("recipe")
    paper_data(root / "data")
    tiny_set(root / "runs/paper/mining", pictures=24)
    (root / "runs/paper/policy").mkdir()
    (root / "examples").symlink_to(ROOT / "examples")
    return root


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("VALOR_PICTURES", str(place / "kept"))
    for name in ("RAY_ADDRESS", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def commands() -> list[list[str]]:
    """The recipe's command lines, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", (RECIPE / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def of(*words: str) -> Iterator[list[str]]:
    """Those that begin with these words, without the program's path."""
    for command in commands():
        named = [Path(command[0]).name, *command[1:]]
        if named[: len(words)] == list(words):
            yield named[1:]


def gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lists, as steps 3 and 5 have them made."""
    for words in of("python", "-m", "jobs.gather_queries"):
        monkeypatch.setattr("sys.argv", words[1:])
        assert gather_queries.main() == 0


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_settings_over_eight_gpus(name: str) -> None:
    config = Config.load(str(RECIPE / f"{name}.yaml"))
    assert config.wants_gpus and config.policy.model == "Qwen/Qwen3-8B"


def test_settings_that_are_called_the_papers_are_the_papers() -> None:
    reasoning = Config.load(str(RECIPE / "reasoning.yaml"))
    grpo, reward = reasoning.grpo, reasoning.reward
    assert (grpo.prompts, grpo.samples, grpo.epochs, grpo.learning_rate, grpo.kl) == (64, 5, 4, 1e-6, 0.01)
    assert (grpo.temperature, grpo.max_tokens, grpo.clip, grpo.max_lag) == (1.0, 2000, 0.2, 0)
    heads = (reward.logic, reward.syntax, reward.attribute, reward.spatial, reward.adherence, reward.scenes)
    assert heads == (0.3, 0.1, 0.2, 0.2, 0.2, 0) and reasoning.judge.model == "gemini-2.5-flash"
    mining = Config.load(str(RECIPE / "mining.yaml"))
    assert (mining.grounding.box_threshold, mining.grounding.crop_padding, mining.grounding.crop_side) == (
        0.1,
        0.1,
        640,
    )
    tune = Config.load(str(RECIPE / "grounding.yaml")).finetune
    assert (tune.learning_rate, tune.final_learning_rate, tune.weight_decay) == (1e-5, 1e-6, 1e-4)
    assert (tune.epochs, tune.batch, tune.max_grad_norm, tune.freeze) == (10, 2, 0.1, ("text", "backbone"))
    asked = Config.load(str(RECIPE / "evaluation.yaml"))
    assert (asked.policy.temperature, asked.policy.top_p, asked.policy.top_k, asked.policy.min_p) == (
        0.7,
        0.8,
        20,
        0,
    )
    assert (asked.detector.box_threshold, asked.detector.text_threshold) == (0.35, 0.25)
    assert (asked.judge.model, asked.vlm.model, mining.vlm.model) == ("gpt-5-mini",) * 3


def test_every_command_is_one_and_names_what_is_there() -> None:
    for words in of("valor"):
        cli.build_parser([words[0]]).parse_args(words)
    (written,) = of("python", "-m", "jobs.write_queries")
    args = write_queries.build_parser().parse_args(written[2:])
    assert Config.load(args.profile).vlm.base_url and str(args.out) == "data/photos/queries.jsonl"
    text = (RECIPE / "README.md").read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (RECIPE / link).exists(), link
    assert {Path(word).stem for word in re.findall(r"examples/paper/\w+\.yaml", text)} == set(PROFILES)
    fetched = {Path(words[-1]).name for words in of("hf", "download")}
    assert fetched == {*PUBLIC, "gqa"}


def test_queries_of_both_loops_are_gathered_and_both_loops_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gathered(monkeypatch)
    reasoning = [query.query_id for query in read_queries("data/reasoning/queries.jsonl")]
    assert reasoning == [*(f"omni3d-{n:04d}" for n in (100, 101, 103, 105)), "a.jpg", "c.jpg"]
    mining = [query.query_id for query in read_queries("data/mining/queries.jsonl")]
    assert mining == [
        *(f"omni3d-{n:04d}" for n in (100, 101, 103, 105)), "vsr-train-0001", "vsr-train-0002",
        *(f"gqa-train-0{n}" for n in (1, 2, 3, 4)), "tallyqa-train-32", "tallyqa-train-33",
    ]  # fmt: skip
    loops = {words[0] + words[1]: words for words in of("valor") if "--dry-run" in words}
    few = ["--set", "grpo.prompts=2"]  # of six queries
    planned = said([*loops["trainreasoning"], *few], capsys)
    assert planned["queries"] == 6 and planned["steps"] == 12
    planned = said(loops["mine--run"], capsys)
    assert planned["pictures_to_mine"] == 11
    planned = said(loops["traingrounding"], capsys)
    assert planned["gate_pictures"] == 3 and planned["pictures_per_step"] == 16
    assert not any((Path("runs/paper") / name).exists() for name in ("reasoning", "grounding"))


def test_the_eight_evaluations_are_read_from_the_recipes_own_script(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = {}
    for script in of("evaluate.sh"):
        done = subprocess.run(
            ["bash", "examples/paper/evaluate.sh", *script, "--dry-run"],
            env={**os.environ, "VALOR": "echo"}, cwd=place, capture_output=True, text=True, check=True,
        )  # fmt: skip
        asked = [shlex.split(line) for line in done.stdout.splitlines()]
        assert [words[1] for words in asked] == list(PUBLIC)
        for words in asked:
            args = cli.build_parser(["eval"]).parse_args(words)
            assert (args.limit, args.dry_run) == (100 if words[1] == "omni3d" else None, True)
            assert str(args.out).startswith("runs/paper/")
        base = [words for words in asked if "--set" not in words]
        for words in base:
            questions[words[1]] = said(words, capsys)["questions"]
    assert questions == {
        "omni3d": 100, "robospatial": 3, "blink": 3, "vsr": 3, "realworldqa": 3, "gqa": 3, "tallyqa": 3,
        "countbenchqa": 3,
    }  # fmt: skip
    assert not Path("runs/paper/base").exists()
