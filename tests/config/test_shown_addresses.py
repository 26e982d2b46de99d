"""A password or key in an endpoint's address goes to that endpoint, and nowhere else: no page, log, record or error."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from house import sources

from deployments.app import app
from deployments.parts.judge import JudgeDeployment
from valor_ray.config.access import shown_address, without_secrets
from valor_ray.config.tree import Config
from valor_ray.doctor import checks
from valor_ray.errors import ConfigError
from valor_ray.grounding.mine.folder import MineFolder
from valor_ray.grounding.mine.local import _LocalMining
from valor_ray.improve.journal import Journal
from valor_ray.improve.stages import Job, Models
from valor_ray.reasoning.scoring.local import LocalScoreHost

SECRET = "hunter2"
URL = f"https://me:{SECRET}@host/v1?key={SECRET}"
SHOWN = "https://host/v1"
# Who reads an address as it is, where nothing but a test for None would do: (module, function): why. `address` is for
# all that people see.
READERS = {
    ("valor_ray.config.judging", "address"): "makes what is shown of it",
    ("valor_ray.config.judging", "access"): "takes the login out of it",
    ("valor_ray.judges.gateway.call.transport", "__init__"): "asks there",
    ("valor_ray.wiring", "judging"): "the offline judge's own",
    ("deployments.actors.judge_ledger", "offline_judge"): "the offline judge's own",
    ("deployments.parts.judge", "_connect"): "to see that the offline judge has another",
}


def addresses_read(source: str) -> Iterator[str]:
    """The functions in which `.base_url` is read, to be used and not to be compared or tested."""
    tree = ast.parse(source)
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Attribute) and node.attr == "base_url" and isinstance(node.ctx, ast.Load)
        ):
            continue
        inner: ast.AST = node
        tested = False
        while inner in above and not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            outer = above[inner]
            tests = [getattr(outer, "test", None), *getattr(outer, "ifs", ())]
            tested = tested or isinstance(outer, ast.Compare) or inner in tests
            tested = tested or (isinstance(outer, ast.UnaryOp) and isinstance(outer.op, ast.Not))
            inner = outer
        if not tested:
            yield getattr(inner, "name", "")


def test_nobody_reads_an_address_who_could_show_it() -> None:
    readers = {
        (module, function)
        for module, source in sources().items()
        if ".base_url" in source and not module.startswith("valor_ray.perf.")  # servers of its own
        for function in addresses_read(source)
    }
    assert readers == set(READERS)


@pytest.mark.parametrize(
    "shows", ["f'{judge.base_url} is down'", "log(judge.base_url)", "{'at': judge.base_url or 'offline'}"]
)
def test_showing_an_address_is_caught(shows: str) -> None:
    assert list(addresses_read(f"def told(judge):\n    return {shows}\n")) == ["told"]
    assert list(addresses_read("def f(j):\n    if j.base_url: return j.base_url is None")) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, SHOWN),
        (f"https://{SECRET}@host:8080/v1#{SECRET}", "https://host:8080/v1"),
        (f"me:{SECRET}@host/v1", "me:host/v1"),  # https:// was left out
        (f"//me:{SECRET}@host/v1", "//host/v1"),
        (f"https://me:{SECRET}@[host/v1", "…"),
        ("", ""),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert shown_address(url) == shown


def test_addresses_in_a_setting_are_shown_without_their_secrets() -> None:
    assert without_secrets(f"judge.base_url={URL}") == f"judge.base_url={SHOWN}"
    assert SECRET not in without_secrets(f"judge={{base_url: {URL}, others: [{{base_url: '{URL}'}}]}}")
    assert without_secrets("detector.model=owner/name") == "detector.model=owner/name"


def test_the_state_of_a_judge_that_anybody_may_ask_for_holds_no_secret() -> None:
    async def state(url: str | None) -> dict[str, Any]:
        part = object.__new__(JudgeDeployment.func_or_class)
        part._config = Config.load("local", [] if url is None else [f"judge.base_url={url}"]).judge
        part._folder, part._judge = "", None

        async def status(folder: str) -> dict[str, Any]:
            return {"answers": 0}

        part._ledger = SimpleNamespace(status=SimpleNamespace(remote=status))
        return await part.status()

    assert asyncio.run(state(URL))["endpoint"] == SHOWN
    assert asyncio.run(state(None))["endpoint"] == "offline judge"


def test_a_run_without_ray_says_who_does_not_answer_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = Config.load("local", [f"judge.base_url={URL}"])
    down = SimpleNamespace(up=False, config=config.judge)
    monkeypatch.setattr("valor_ray.judges.gateway.connect.gateways_of", lambda judges: [down])
    scoring, mining = LocalScoreHost(), _LocalMining(config, tmp_path, None, print)
    scoring._judges = mining._judges = object()
    assert scoring.trouble() == f"{SHOWN} does not answer; waiting" == mining.trouble()


def test_the_doctor_names_an_endpoint_without_its_secret() -> None:
    settings = [f"judge.base_url={URL}", f"judge.others=[{{base_url: '{URL}', model: m, api_key_env: null}}]"]
    check = checks._endpoint(Config.load("local", settings).judge, "judge")
    assert check.detail.count(SHOWN) == 2 and SECRET not in f"{check.detail} {check.fix}"


@pytest.mark.parametrize(
    "setting",
    [
        f"judge={URL}",
        f"policy.endpoint={URL}",
        f"judge.base_url=[{URL}]",
        f"judge.base_url=['{URL}']",
        f"judge.others=['{URL}']",
        f"policy.endpoint={{base_url: '{URL}', model: m, answer_format: prompt}}",
    ],
)
def test_a_setting_that_is_wrong_is_named_without_the_secret_in_it(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0]) as caught:
        Config.load("local", [setting])
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_arguments_of_serves_yaml_that_are_wrong_are_named_without_what_they_hold() -> None:
    with pytest.raises(ConfigError, match=r"(?s)args of the Serve YAML.*overrides") as caught:
        app({"overrides": f"judge.base_url={URL}"})
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_what_a_job_was_asked_for_is_kept_without_the_secret(tmp_path: Path) -> None:
    word = f"judge.base_url={URL}"
    job = Job(tmp_path, Models("p", "d"), 1, (), None, None, None, "local", (word, "grpo.seed=1"))
    journal = Journal(tmp_path)
    journal.write_plan(job, Config.load("local", [word]), [], {})
    assert json.loads(journal.plan.read_text())["overrides"] == [f"judge.base_url={SHOWN}", "grpo.seed=1"]


def test_a_mining_run_goes_on_with_the_address_it_was_started_with_and_shows_none(tmp_path: Path) -> None:
    def config(other: str) -> Config:
        address = f"https://me:{SECRET}@{other}/v1"
        return Config.load(
            "local",
            [f"vlm.base_url={URL}", f"vlm.others=[{{base_url: '{address}', model: m}}]", "vlm.model=m"],
        )

    folder = MineFolder(tmp_path)
    folder.write_config(config("host"))
    folder.images.write_text("{}\n")
    folder.check_config(config("host"))
    with pytest.raises(ConfigError, match=r"vlm\.others.*https://elsewhere/v1") as caught:
        folder.check_config(config("elsewhere"))
    assert SECRET not in str(caught.value)
