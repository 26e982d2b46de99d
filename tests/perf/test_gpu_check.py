"""The check runs where a bare machine can run it, gives its figures, and one part's failure hides no other part."""

import json
import math
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from valor_ray.perf import gpu_check

ROOT = Path(__file__).parents[2]
THERE = ("torch", "transformers", "accelerate", "peft")  # with what they need
CARRIED = (
    "trl pandas python-dateutil six pydantic pydantic-core annotated-types typing-inspection pillow"
).split()
MOST_MB = 35


def needed(names: tuple[str, ...]) -> set[str]:
    """Distributions that these and what they require are made of."""
    seen: set[str] = set()
    ahead = list(names)
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name in seen:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:  # of another system
            continue
        seen.add(name)
        wanted = map(Requirement, requires)
        ahead += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return seen


def bare_site(folder: Path) -> Path:
    """A site-packages with nothing but what the check may ask of a machine."""
    folder.mkdir()
    for name in {*needed(THERE), *CARRIED}:
        about = distribution(name)
        for top in {Path(file).parts[0] for file in about.files or []} - {"..", "__pycache__"}:
            source = Path(str(about.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds those packages, the standard library and our own code alone."""
    site = bare_site(tmp_path_factory.mktemp("bare") / "site")
    return {"PYTHONPATH": f"{site}:{ROOT}", "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "2"}


def run_bare(bare: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """-S: without the site-packages of this Python."""
    return subprocess.run([sys.executable, "-S", *words], env=bare, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("name", ["ray", "vllm", "datasets", "pyarrow", "scipy", "moge", "openai"])
def test_the_bare_machine_lacks_what_the_check_must_not_need(bare: dict[str, str], name: str) -> None:
    assert "ModuleNotFoundError" in run_bare(bare, "-c", f"import {name}").stderr


@pytest.mark.slow  # two minutes on two cores
@pytest.mark.timeout(600)
def test_the_check_runs_on_a_bare_machine_and_gives_its_figures(bare: dict[str, str]) -> None:
    words = ["-m", "valor_ray.perf.gpu_check", "--device", "cpu", "--tiny", "--json"]
    done = run_bare(bare, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)  # one object, and nothing else
    assert result["failed"] == [] and result["card"]["name"] == "cpu" and result["versions"]["trl"]
    policy = result["policy"]
    assert policy["lent"] == ["datasets", "pyarrow"]
    assert policy["rows"] == {"recorded": 8, "paper_length": 4}
    assert set(policy["runs"]) == {"float32", "bfloat16", "bfloat16_lora"}
    for run in policy["runs"].values():
        assert run["steps"] == 2 and run["tokens_per_s"] > 0 and run["publish_s"] > 0
        assert math.isfinite(run["loss"]) and run["grad_norm"] > 0 and run["entropy"] > 0
    assert policy["runs"]["float32"]["loss"] == pytest.approx(policy["runs"]["bfloat16"]["loss"], abs=0.05)
    check_gaps(policy["gaps"])
    assert result["detector"]["pictures_per_s"] > 0
    assert result["finetune"]["skipped"] == "not installed: scipy"
    assert result["depth"]["skipped"] == "not installed: moge, utils3d, scipy, cv2"


def check_gaps(gaps: dict[str, Any]) -> None:
    assert set(gaps) == {"float32_again", "float32_padded", "bfloat16", "bfloat16_lora"}
    for figures in (figures for by_rows in gaps.values() for figures in by_rows.values()):
        assert 0 <= figures["mean"] <= figures["p99"] <= figures["max"] < 1
    assert gaps["float32_again"]["recorded"]["max"] == 0
    for rows in ("recorded", "paper_length"):
        assert gaps["float32_padded"][rows]["max"] < 1e-4 < gaps["bfloat16"][rows]["mean"]


def test_the_docstring_lists_the_wheels_and_they_are_small_enough() -> None:
    text = (gpu_check.__doc__ or "").partition("(MB,")[2].partition("in all")[0].split(":", 1)[1]
    wheels = dict(re.findall(r"([a-z][a-z0-9-]*)(?:==[\d.]+)? (\d+\.\d)", text))
    assert sorted(wheels) == sorted(CARRIED)
    total = round(sum(map(float, wheels.values())), 1)
    assert f"{total} MB" in text and total < MOST_MB


def test_without_a_gpu_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched(monkeypatch)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_check.main([]) == 2
    told = capsys.readouterr()
    assert told.out == "" and "nvidia-smi" in told.err and "--device cpu --tiny" in told.err


def test_a_part_that_fails_hides_no_other_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched(monkeypatch)

    def part(name: str) -> Any:
        def work(*args: Any) -> dict[str, Any]:
            if name == "detector":
                raise RuntimeError("CUDA out of memory")
            return (
                {"runs": {"bfloat16": {"error": "too slow"}}} if name == "policy" else {"pictures_per_s": 1}
            )

        return work

    monkeypatch.setattr(gpu_check, "_part", part)
    assert gpu_check.main(["--device", "cpu", "--json"]) == 1
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["failed"] == ["policy.runs.bfloat16", "detector"]
    assert result["detector"]["error"] == "RuntimeError: CUDA out of memory"
    assert result["depth"]["pictures_per_s"] == 1 and "Traceback" in told.err


def test_help_says_what_is_covered_and_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.main(["--help"])
    text = capsys.readouterr().out
    assert "Not covered: FSDP" in text and "trl==1.16.0" in text and "--tiny" in text


def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check sets for its own process stays as it is in this one."""
    for name in ("HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, os.environ.get(name, "0"))
