"""The lock, pyproject and the documents say the same thing as the code."""

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from valor_ray import cli
from valor_ray.commands.options import JUDGE_FILE
from valor_ray.config.tree import Config

ROOT = Path(__file__).parents[1]
LOCK = dict(
    line.split("==") for line in (ROOT / "requirements/cpu.lock").read_text().splitlines() if "==" in line
)
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


def commands(document: str) -> list[list[str]]:
    """The lines of its sh blocks, as words, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    return [
        words
        for block in blocks
        for line in block.splitlines()
        if (words := shlex.split(line, comments=True))
    ]


def test_lock_is_complete_and_leaves_out_what_breaks_beside_a_cpu_torch() -> None:
    lines = (ROOT / "requirements/cpu.lock").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)
    assert not {"torchvision", "torchaudio", "torchcodec", "triton", "nvidia-cublas"} & set(LOCK)


def test_pins_of_pyproject_are_those_of_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = [line for line in [*project["dependencies"], *extras["local"]] if "==" in line]
    assert pinned
    for line in pinned:
        name, version = re.sub(r"\[.*?\]", "", line).split("==")
        assert LOCK[name] == version
    assert all(
        re.split(r"[\[=<>]", name)[0].lower() in {key.lower() for key in LOCK} for name in extras["dev"]
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_valor_commands_in_the_documents_are_accepted(document: str) -> None:
    shown = [words[1:] for words in commands(document) if words[0].endswith("/valor")]
    assert shown
    for words in shown:
        cli.build_parser([words[0]]).parse_args(words)


def test_jobs_in_the_documents_take_the_options_shown() -> None:
    shown = [words[2:] for words in commands("README.md") if words[1:2] == ["-m"]]
    assert {words[0] for words in shown} == {
        "jobs.sample_replies",
        "jobs.write_queries",
        "jobs.propose_boxes",
    }
    for module, *words in shown:
        command = f"valor_ray.commands.train.{module.removeprefix('jobs.')}"
        importlib.import_module(command).build_parser().parse_args(words)


def test_judge_file_of_readme_and_help_loads_over_both_profiles(tmp_path: Path) -> None:
    (readme,) = re.findall(r"```yaml\n(# judge\.yaml.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for text in (readme, JUDGE_FILE.partition("\n")[2], f"base: gpu\n{readme}"):
        (tmp_path / "judge.yaml").write_text(text)
        config = Config.load(str(tmp_path / "judge.yaml"))
        for endpoint, model in ((config.judge, "my-llm"), (config.vlm, "my-vlm")):
            told = (endpoint.base_url, endpoint.model, endpoint.api_key_env)
            assert told == ("https://host/v1", model, "JUDGE_API_KEY")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_in_the_documents_exist(document: str) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[1] for words in commands(document) if words[0] == "make"} <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_the_documents_exist(document: str) -> None:
    named = re.findall(
        r"\]\(([^):#]+)\)|`((?:valor_ray|docs|tests|jobs|deployments)/[\w./]+)`",
        (ROOT / document).read_text(),
    )
    for link, quoted in named:
        if "NAME" not in quoted:
            assert (ROOT / (link or quoted)).exists(), link or quoted


def test_environment_variables_are_read_in_config_only() -> None:
    reading = re.compile(r"environ\.get|environ\[[^\]]+\](?!\s*=[^=])|getenv|in os\.environ")
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("valor_ray", "deployments", "jobs")
        for path in (ROOT / folder).rglob("*.py")
        if reading.search(path.read_text())
    }
    assert readers == {f"valor_ray/config/{name}.py" for name in ("models", "section", "service", "training")}


def unordered(node: ast.AST) -> bool:
    """A set, or what set operators make of one."""
    if isinstance(node, ast.BinOp):
        return unordered(node.left) or unordered(node.right)
    made = (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("set", "frozenset")
    )
    return made or isinstance(node, (ast.Set, ast.SetComp))


def test_no_test_takes_its_cases_from_a_set() -> None:
    """Two processes would find them in different orders, and the whole run would stop before it begins."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "parametrize"
        and any(unordered(argument) for argument in node.args)
    ]
    assert found == []
