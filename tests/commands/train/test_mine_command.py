"""`valor mine`: what goes to stdout, exit codes, rendered scenes, the plan; with the shipped detector and judge."""

import json
from base64 import b64encode
from pathlib import Path

import mining
import pytest
from rough_endpoint import endpoint, said
from s3 import bucket, s3_server  # noqa: F401

from valor_ray.cli import main
from valor_ray.commands.train import mine as mine_command
from valor_ray.config.tree import Config
from valor_ray.records import Query

KEYS = ["images", "candidates", "kept", "precision_by_stage", "recall_lost", "calls", "minutes"]
SMALL = ("--set", "grounding.query_limit=4", "--set", "grounding.audit_every=1")


class GoodPolicy(mining.Policy):
    """In place of vLLM, which takes long to start: asks for objects, whatever the question is."""

    def __init__(self, config: object) -> None:
        super().__init__()

    async def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def generate(self, question: str, **more):
        return await super().generate("objects, red ball", **more)


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valor_ray.models.vllm.policy.VllmPolicy", GoodPolicy)


def words(folder: Path, *more: str) -> list[str]:
    return ["mine", "--run", str(folder), "--json", *more]


def test_scenes_are_rendered_mined_measured_and_shown(tmp_path: Path, policy: None, capsys) -> None:
    run = tmp_path / "run"
    assert main(words(run, "--in-process", *SMALL)) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == KEYS
    assert result["images"] == 2 and result["candidates"] > 0 and result["calls"] > 0
    assert set(result["precision_by_stage"]) == {"candidates", "coarse", "crops", "duplicates"}
    looks = {path.name.split("-")[0] for path in (run / "data/images").iterdir()}
    assert looks == {"lamp", "quilt"} and (run / "evaluation/objects.jsonl").exists()
    assert "objects" not in (run / "data/queries.jsonl").read_text().split('"image"')[0]

    assert main(words(run, "--in-process", *SMALL)) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["calls"] == 0 and again["kept"] == result["kept"]
    assert again["precision_by_stage"] == result["precision_by_stage"]

    (run / "report.html").unlink()
    assert main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == result["kept"]
    assert (run / "report.html").stat().st_size > 10_000

    assert main([*words(run, "--in-process"), "--set", "grounding.query_limit=6"]) == 2
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "2 scenes of grounding.seed 0, not 3 of 0" in said and "grounding.query_limit=4" in said
    assert main([*words(run, "--in-process", *SMALL), "--set", "grounding.seed=5"]) == 2
    assert "--set grounding.seed=0" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_photographs_have_no_precision_and_a_failed_one_exits_1(tmp_path: Path, policy: None, capsys) -> None:
    queries = mining.pictures(tmp_path, 2)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    queries.append(Query("bad", "ball", str(tmp_path / "bad.png")))
    source = tmp_path / "queries.jsonl"
    rows = [
        {"query_id": q.query_id, "question": q.question, "image": q.image, "answer": "7"} for q in queries
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "run"
    assert main(words(run, "--in-process", "--queries", str(source))) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["images"], result["precision_by_stage"], result["recall_lost"]) == (2, None, None)
    assert (
        captured.err.count("rule-based and knows tabletop scenes only") == 1
        and "labels by their names: answer" in captured.err
    )
    assert "7" not in [row.get("answer") for row in map(json.loads, (run / "phrases.jsonl").open())]


WRITER = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "price_in": 1, "price_out": 10}


def with_writer(**changes: object) -> list[str]:
    settings = {**WRITER, "api_key_env": None, **changes}
    return [
        word
        for key, value in settings.items()
        for word in ("--set", f"policy.endpoint.{key}={json.dumps(value)}")
    ]


def test_a_writer_behind_an_endpoint_mines_and_is_paid_once(tmp_path: Path, capsys) -> None:
    program = mining.reply('gd_detect(img_pth, "objects, red ball")')

    async def write(n, body, request):
        return said(program if body["seed"] % 2 else None, refusal=None if body["seed"] % 2 else "No.")

    run = tmp_path / "run"
    with endpoint(write) as rough:
        given = [*words(run, "--in-process", *SMALL), *with_writer(base_url=rough.url)]
        assert main(given) in (0, 1)
        calls = rough.calls
        (run / "phrases.jsonl").unlink()
        capsys.readouterr()
        assert main(given) in (0, 1)
        assert rough.calls == calls == 4
    statuses = {row["status"] for row in map(json.loads, (run / "phrases.jsonl").open())}
    assert statuses <= {"ok", "refused"} and (run / "writer_cache").is_dir()
    assert main([*words(run, "--in-process", *SMALL), *with_writer(model="other")]) == 2
    assert (
        "policy.endpoint.model m -> other"
        in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]["message"]
    )


def test_the_plan_says_what_a_writer_would_cost(tmp_path: Path, capsys) -> None:
    assert main([*words(tmp_path / "run", "--dry-run", *SMALL), *with_writer(max_cost_usd=0.001)]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["writer_calls"] == 4 and planned["writer_cost_usd_typical"] > 0
    assert "more than policy.endpoint.max_cost_usd=0.001" in planned["writer_cost_assumes"]


def test_a_writers_missing_key_is_said_before_anything_is_made(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("WRITER_KEY", raising=False)
    assert main([*words(tmp_path / "run"), *with_writer(api_key_env="WRITER_KEY")]) == 2
    assert "WRITER_KEY (named by policy.endpoint.api_key_env)" in capsys.readouterr().err


def test_the_plan_does_nothing_and_counts_what_is_left(tmp_path: Path, policy: None, capsys) -> None:
    run = tmp_path / "run"
    prices = ("--set", "vlm.price_in=1", "--set", "vlm.price_out=2")
    assert main(words(run, "--dry-run", *SMALL, *prices)) == 0
    planned = json.loads(capsys.readouterr().out)
    assert not run.exists()
    assert (planned["scenes_to_render"], planned["programs_to_write"], planned["pictures_to_mine"]) == (
        2,
        4,
        2,
    )
    assert 0 < planned["verifier_calls_typical"] <= planned["verifier_calls_most"]
    assert planned["cost_usd_typical"] > 0
    assert main(words(run, "--in-process", *SMALL)) == 0
    capsys.readouterr()
    assert main(words(run, "--dry-run", *SMALL)) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["scenes_to_render"], planned["programs_to_write"], planned["pictures_to_mine"]) == (
        0,
        0,
        0,
    )


def test_pictures_that_the_queries_hold_become_files_of_the_run(tmp_path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n and so on"
    row = {
        "query_id": "a",
        "question": "Which?",
        "image": f"data:image/png;base64,{b64encode(data).decode()}",
    }
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    config = Config.load("local", [f"grounding.queries={tmp_path}/q.jsonl"])
    (query,) = mine_command._queries(tmp_path / "run", config)
    assert Path(query.image).parent == tmp_path / "run" / "pictures"
    assert Path(query.image).read_bytes() == data
    (planned,) = mine_command._read(tmp_path / "other", config)
    assert planned.image.startswith("ni:") and not (tmp_path / "other").exists()


@pytest.mark.parametrize("option", ["--dry-run", "--in-process"])
def test_a_folder_of_another_command_exits_2(tmp_path: Path, capsys, option: str) -> None:
    (tmp_path / "run.json").write_text('{"kind": "reasoning"}\n')
    assert main(words(tmp_path, option)) == 2
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert said.endswith("is a folder of `valor train reasoning`, not of `valor mine`. Give another --run.")


def test_bad_rows_a_key_that_is_not_set_and_a_missing_source_exit_2(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    source = tmp_path / "q.jsonl"
    source.write_text('{"query_id": "a"}\n')
    assert main(words(tmp_path / "run", "--in-process", "--queries", str(source))) == 2
    assert "question" in capsys.readouterr().err
    assert main(words(tmp_path / "run", "--in-process", "--queries", str(tmp_path / "no.jsonl"))) == 2
    assert "no such file" in capsys.readouterr().err
    own = ("vlm.base_url=https://host/v1", "vlm.model=m", "vlm.api_key_env=NO_SUCH_KEY")
    key = [word for each in own for word in ("--set", each)]
    assert main(words(tmp_path / "run", "--in-process", *key)) == 2
    assert "NO_SUCH_KEY" in capsys.readouterr().err


def test_without_json_a_table_is_on_stdout(tmp_path: Path, policy: None, capsys) -> None:
    command = [word for word in words(tmp_path / "run", "--in-process", *SMALL) if word != "--json"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "precision" in out and "duplicates" in out and "report.html" in out


def test_a_run_at_a_url_goes_on_from_another_machine_and_pays_nothing_twice(
    tmp_path: Path,
    policy: None,
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, results = f"{bucket}/runs/boxes", []
    for machine in ("one", "two"):
        monkeypatch.setenv("VALOR_STAGING", str(tmp_path / machine))
        assert main(["mine", "--run", place, "--json", "--dry-run", *SMALL]) == 0
        planned = json.loads(capsys.readouterr().out)
        assert planned["pictures_to_mine"] == (2 if machine == "one" else 0)
        assert main(["mine", "--run", place, "--json", "--in-process", *SMALL]) == 0
        results.append(json.loads(capsys.readouterr().out))
    first, second = results
    assert first["calls"] > 0 and second["calls"] == 0 and second["kept"] == first["kept"] > 0
    assert second["precision_by_stage"] == first["precision_by_stage"]


def test_the_plan_says_who_sits_on_which_gpu_and_refuses_what_no_process_can_have(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    gpus = ("--set", "policy.num_gpus=1", "--set", "policy.replicas=2", "--set", "detector.num_gpus=0.25")
    assert main(words(tmp_path / "run", "--dry-run", *SMALL, *gpus)) == 0
    assert json.loads(capsys.readouterr().out)["placement"] == {
        "policy/0": {"node": "this machine", "gpus": [0], "share": 1.0},
        "policy/1": {"node": "this machine", "gpus": [1], "share": 1.0},
        "detector/0": {"node": "this machine", "gpus": [0], "share": 0.25},  # the engines have gone
    }
    for wrong, fits in (
        ("policy.num_gpus=1.5", "policy.num_gpus=1"),
        ("policy.replicas=3", "policy.replicas=2"),
    ):
        assert main(words(tmp_path / "run", "--dry-run", *SMALL, *gpus, "--set", wrong)) == 2
        assert f"--set {fits}" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(words(tmp_path / "run", "--dry-run", "--in-process", *SMALL)) == 0
    assert "placement" not in json.loads(capsys.readouterr().out)
