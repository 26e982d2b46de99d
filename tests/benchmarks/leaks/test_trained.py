"""A policy or detector of a run is not measured on what that run was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_sets import drawn
from tiny_set import tiny_set

from valor_ray.benchmarks.leaks.trained import untrained
from valor_ray.benchmarks.truth import Loaded, Truth
from valor_ray.cli import main
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.queries.embedded import put
from valor_ray.records import Query


def picture(folder: Path, number: int) -> str:
    return put(drawn(number), folder / "pictures")


@pytest.fixture
def asked(tmp_path: Path) -> Loaded:
    """Two questions in the same words about other pictures, and a third."""
    queries = [
        Query("b-0", "How many cups?", picture(tmp_path, 1)),
        Query("b-1", "How many cups?", picture(tmp_path, 2)),
        Query("b-2", "Is it red?", "https://host/VG_100K/7.jpg"),
    ]
    return Loaded(queries, {query.query_id: Truth(1, "count") for query in queries}, notes=["odd"])


def policy_run(folder: Path, *rows: dict[str, str], model: str = "tabletop:policy") -> str:
    """A run of `valor train reasoning`; its weights."""
    weights = folder / "weights/step-000080"
    weights.mkdir(parents=True)
    (folder / "run.json").write_text('{"kind": "reasoning"}')
    (folder / "config.yaml").write_text(f"policy: {{model: {model}}}\n")
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(weights)


def config(**settings: str) -> Config:
    return Config.load("local", [f"{name.replace('_', '.')}={value}" for name, value in settings.items()])


def trained_on(number: int) -> dict[str, str]:
    """As training keeps a query whose row held its picture."""
    return {"query_id": "b-1", "question": "how many CUPS", "image": put(drawn(number), None)}


def kept(asked: Loaded, *, leave_out: bool = False, **settings: str) -> list[str]:
    return [query.query_id for query in untrained(asked, config(**settings), leave_out=leave_out).queries]


def test_trained_questions_are_refused_named_and_left_out_when_that_is_asked(
    tmp_path: Path, asked: Loaded
) -> None:
    weights = policy_run(tmp_path / "run", trained_on(1))
    with pytest.raises(
        ConfigError, match=r"3 questions, among them 1 question that the policy of .*run .*\(b-0\).*other 2"
    ):
        kept(asked, policy_model=weights)
    left = untrained(asked, config(policy_model=weights), leave_out=True)
    assert [query.query_id for query in left.queries] == list(left.truths) == ["b-1", "b-2"]
    assert left.notes[0] == "odd" and left.notes[1].startswith("left out: 1 question that the policy of")


def test_same_words_about_another_picture_are_another_question(tmp_path: Path, asked: Loaded) -> None:
    assert len(kept(asked, policy_model=policy_run(tmp_path / "run", trained_on(3)))) == 3


def test_queries_without_pictures_are_known_by_their_words(tmp_path: Path, asked: Loaded) -> None:
    row = {"query_id": "x", "question": "How many cups?", "image": ""}
    assert kept(asked, policy_model=policy_run(tmp_path / "run", row), leave_out=True) == ["b-2"]


def test_a_run_of_a_version_that_kept_no_pictures_refuses_nothing(tmp_path: Path, asked: Loaded) -> None:
    row = {"query_id": "b-0", "question": "How many cups?"}
    assert len(kept(asked, policy_model=policy_run(tmp_path / "run", row))) == 3


def test_a_link_and_the_run_that_a_run_began_with_are_followed(tmp_path: Path, asked: Loaded) -> None:
    first = policy_run(tmp_path / "first", trained_on(1))
    second = policy_run(tmp_path / "second", trained_on(2), model=first)
    (tmp_path / "policy").symlink_to(second)
    assert kept(asked, policy_model=str(tmp_path / "policy"), leave_out=True) == ["b-2"]


def test_models_that_are_of_no_run_are_measured_on_everything(tmp_path: Path, asked: Loaded) -> None:
    (tmp_path / "model").mkdir()
    for model in ("tabletop:policy", "Qwen/Qwen3-8B", str(tmp_path / "model")):
        assert len(kept(asked, policy_model=model)) == 3


def detector_run(folder: Path, dataset: Path) -> Path:
    (folder / "weights/step-1").mkdir(parents=True)
    (folder / "run.json").write_text('{"kind": "grounding"}')
    (folder / "plan.json").write_text(json.dumps({"dataset": str(dataset)}))
    return folder


def test_questions_about_pictures_of_a_mined_set_are_no_measure_of_its_detector(
    tmp_path: Path, asked: Loaded
) -> None:
    dataset = tiny_set(tmp_path / "mined")
    (dataset / "pictures/2.png").write_bytes(drawn(2))
    run = detector_run(tmp_path / "eyes", dataset)
    for setting, value in (("detector_model", run / "weights/step-1"), ("detector_follow", run)):
        assert kept(asked, leave_out=True, **{setting: str(value)}) == ["b-0", "b-2"]
    with pytest.raises(ConfigError, match=r"the detector of .*eyes was trained on \(b-1\)"):
        kept(asked, detector_follow=str(run))


def test_where_nothing_is_left_that_is_said(tmp_path: Path, asked: Loaded) -> None:
    rows = [{"query_id": "x", "question": query.question, "image": ""} for query in asked.queries]
    with pytest.raises(ConfigError, match="all 3 questions are such as it was trained on"):
        kept(asked, policy_model=policy_run(tmp_path / "run", *rows), leave_out=True)


def test_valor_eval_refuses_and_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name, fields in (
        ("queries", {"image": "a.png", "question": "How many cups?"}),
        ("truth", {"answer": 1}),
    ):
        rows = [{"query_id": f"q{n}", "family": "count"} | fields for n in (0, 1)]
        if name == "queries":
            rows[1]["question"] = "How many plates?"
        (own / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (own / "a.png").write_bytes(drawn(1))
    weights = policy_run(tmp_path / "run", {**trained_on(1), "question": "How many plates?"})
    words = ["eval", "own", "--data", str(own), "--out", str(tmp_path / "out"), "--dry-run", "--json"]
    words += ["--set", f"policy.model={weights}"]
    assert main(words) == 2
    assert "among them 1 question" in capsys.readouterr().err
    assert main([*words, "--leave-out-trained"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["questions"] == 1 and planned["families"] == {"count": 1}
    assert not (tmp_path / "out").exists()
