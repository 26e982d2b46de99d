"""The judge gateway and the sandbox pool on a real Ray: shared ledger, dead replicas, metrics, nothing of the key."""

import asyncio
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from aiohttp import web
from ray import serve
from ray.serve.handle import DeploymentHandle
from rough_endpoint import endpoint, said

from deployments.actors.judge_ledger import NAME, RemoteLedger, open_judge_ledger
from deployments.actors.named import NAMESPACE
from deployments.actors.sandbox_pool import RemoteSceneRuns, RemoteSyntax, open_pool
from deployments.app import gateway_name
from deployments.parts.judge_watch import judge_trouble
from deployments.ports import RemoteJudge, RemoteVqa
from deployments.serving import deploy_gateway, judging
from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.plan_heads import read_verdict, verdict_requests
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.records import JudgeReply, SceneObject, SymbolicScene

EXPORTED = (
    *(f"valor_judge_{name}" for name in ("answers", "latency_seconds", "tries", "state")),
    *(f'head="{head}"' for head in ("logic", "attribute", "spatial", "adherence")),
    'outcome="answered"',
    'verdict="yes"',
    'part="judge"',
)
KEY = "sk-planted-key-in-the-environment"


@pytest.fixture(scope="module")
def mock() -> Iterator[MockJudge]:
    with MockJudge(median_s=0.2, sigma=0.2) as judge:
        yield judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def handle(mock: MockJudge, folder: Path) -> Iterator[DeploymentHandle]:
    os.environ["VALOR_TEST_JUDGE_KEY"] = KEY
    settings = [f"judge.base_url={mock.base_url}", "judge.api_key_env=VALOR_TEST_JUDGE_KEY"]
    settings += ["judge.replicas=2", "judge.hedge=false", "judge.first_in_flight=8", "judge.max_in_flight=8"]
    try:
        with judging(Config.load("local", settings), folder) as gateway:
            yield gateway
    finally:
        del os.environ["VALOR_TEST_JUDGE_KEY"]


async def judged(handle: DeploymentHandle, names: list[str]) -> list[list[JudgeReply]]:
    chat = RemoteJudge(handle)
    requests = [
        list(verdict_requests(f"Is the {n} left?", f"1. Find {n}.", f"x = {n!r}").values()) for n in names
    ]
    return await asyncio.gather(*(chat.ask(group) for group in requests))


@pytest.mark.timeout(400)
def test_equal_requests_are_paid_once_whichever_replica_gets_them(
    handle: DeploymentHandle, mock: MockJudge
) -> None:
    before = mock.stats()["calls"]
    groups = asyncio.run(judged(handle, ["cup"] * 12))
    assert all(read_verdict(reply).value is True for group in groups for reply in group)
    assert mock.stats()["calls"] - before == 4
    asyncio.run(judged(handle, ["cup"] * 3))
    assert mock.stats()["calls"] - before == 4


def test_a_killed_replica_loses_nothing_and_repeats_nothing_stored(
    handle: DeploymentHandle, mock: MockJudge, folder: Path
) -> None:
    async def run() -> tuple[list[list[JudgeReply]], int]:
        task = asyncio.create_task(judged(handle, [f"thing {n}" for n in range(60)]))
        while (await status(handle))["answers"] - stored < 40:
            await asyncio.sleep(0.05)
        replicas = [p for p in psutil.process_iter() if is_judge(p)]
        assert len(replicas) == 2
        os.kill(replicas[0].pid, signal.SIGKILL)
        return await task, replicas[0].pid

    async def status(handle: DeploymentHandle) -> dict:
        return await open_judge_ledger().status.remote(str(folder))

    stored = asyncio.run(status(handle))["answers"]
    before = mock.stats()["calls"]
    groups, _ = asyncio.run(run())
    assert all(read_verdict(reply).value is True for group in groups for reply in group)
    calls = mock.stats()["calls"] - before
    assert asyncio.run(status(handle))["answers"] - stored == 240
    assert 240 <= calls <= 240 + 16  # what the dead one had in flight, or had just got and not stored


def is_judge(process: psutil.Process) -> bool:
    try:
        ours = process.environ().get("VALOR_TEST_SESSION") == os.environ["VALOR_TEST_SESSION"]
        return ours and any("ServeReplica:valor-judge" in word for word in process.cmdline())
    except psutil.Error:
        return False


def test_a_ledger_that_dies_comes_back_with_its_answers(
    handle: DeploymentHandle, mock: MockJudge, folder: Path
) -> None:
    asyncio.run(judged(handle, ["before"]))
    before = mock.stats()["calls"]
    ray.kill(ray.get_actor(NAME, NAMESPACE), no_restart=False)
    groups = asyncio.run(judged(handle, ["before", "after"]))
    assert all(read_verdict(reply).value is True for group in groups for reply in group)
    assert mock.stats()["calls"] - before == 4


def test_ledgers_of_different_folders_share_the_budget_and_nothing_else(
    handle: DeploymentHandle, tmp_path: Path
) -> None:
    async def use() -> None:
        one, two = (RemoteLedger(open_judge_ledger(), str(tmp_path / name)) for name in ("one", "two"))
        assert list(await one.claim(["k"], "a")) == [None]
        assert list(await two.claim(["k"], "b")) == [None]
        limits = (600, None)
        leases = [await ledger.lease("an account", limits, 16, 100) for ledger in (one, two) * 30]
        assert sum(lease.granted for lease in leases) <= 600

    asyncio.run(use())


def test_sandbox_pool_checks_programs_and_comes_back_when_it_is_killed(handle: DeploymentHandle) -> None:
    async def check(codes: list[str]) -> list[bool | None]:
        syntax = RemoteSyntax(open_pool(Config.load().sandbox))
        return [verdict.value for verdict in await asyncio.gather(*(syntax(code) for code in codes))]

    codes = ["final_answer = 1", "final_answer = gd_detect(img_pth, 'cup')[0]", "import os"]
    assert asyncio.run(check(codes)) == [True, False, False]
    ray.kill(open_pool(Config.load().sandbox), no_restart=False)
    assert asyncio.run(check(codes)) == [True, False, False]


def test_sandbox_pool_runs_programs_in_scenes(handle: DeploymentHandle) -> None:
    def scene(boxes: int) -> SymbolicScene:
        places = [(float(10 * i), 0.0, 10.0 * i + 5, 5.0) for i in range(boxes)]
        return SymbolicScene(
            (99, 99), tuple(SceneObject("box", {}, place, 1.0 + place[0], 1, 1) for place in places)
        )

    async def answers(codes: list[str]) -> list[list[object]]:
        runs = RemoteSceneRuns(open_pool(Config.load().sandbox))
        scenes = [scene(1), scene(3)]
        given = await asyncio.gather(*(runs(code, "How many boxes?", scenes, {}) for code in codes))
        return [[run.answer if run.status == "answered" else run.status for run in each] for each in given]

    codes = ["final_answer = len(gd_detect(img_pth, 'box'))", "import os", "final_answer = 2"]
    assert asyncio.run(answers(codes)) == [[1, 3], ["failed", "failed"], [2, 2]]


@pytest.mark.timeout(300)
def test_metrics_of_every_head_are_exported_and_the_key_is_nowhere(
    handle: DeploymentHandle, folder: Path
) -> None:
    asyncio.run(judged(handle, ["metric"]))
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    text = asyncio.run(exported(url))
    assert [word for word in EXPORTED if word not in text] == [] and KEY not in text
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    told = [path for place in (session / "logs", folder) for path in place.rglob("*") if path.is_file()]
    assert len(told) > 5 and not [path for path in told if KEY.encode() in path.read_bytes()]


@pytest.mark.timeout(300)
def test_an_endpoint_for_pictures_has_its_own_gateway_account_answers_and_metrics(
    handle: DeploymentHandle, mock: MockJudge, tmp_path: Path
) -> None:
    """Text heads go on to the judge's endpoint, VQA to the other, whose key neither the judge's side nor logs see."""

    async def red(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        keys.append(request.headers["Authorization"])
        return said('{"answer": "Red."}')

    keys: list[str] = []
    picture = from_array(np.zeros((32, 32, 3), np.uint8))
    with endpoint(red) as eyes:
        config = Config.load("local", [f"vlm.base_url={eyes.url}", "vlm.model=eyes", "vlm.api_key_env=null"])
        assert config.vlm_part == "vlm"
        vlm = deploy_gateway(config.vlm, tmp_path / "vlm_cache", "vlm")
        before = mock.stats()["calls"]
        assert [asyncio.run(RemoteVqa(vlm, "vlm").vqa(picture, "What colour?")) for _ in range(2)] == [
            "red"
        ] * 2
        assert mock.stats()["calls"] == before
        asyncio.run(judged(handle, ["an endpoint of its own"]))
        assert mock.stats()["calls"] == before + 4
        (body,) = eyes.bodies
    assert body["model"] == "eyes" and body["response_format"]["json_schema"]["name"] == "vqa"
    assert keys == ["Bearer none"]
    status = vlm.status.remote().result()
    assert (status["endpoint"], status["model"], status["answers"]) == (eyes.url, "eyes", 1)
    assert handle.status.remote().result()["endpoint"] == mock.base_url
    assert (tmp_path / "vlm_cache" / "answers.sqlite").exists()
    assert judge_trouble(vlm, "vlm") == ""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    text = asyncio.run(exported(url, ('part="vlm"', 'head="vqa"')))
    told = [
        line
        for line in text.splitlines()
        if line.startswith("ray_valor_judge_answers") and 'head="vqa"' in line
    ]
    assert told and all('part="vlm"' in line for line in told)
    serve.delete(gateway_name(str(tmp_path / "vlm_cache"), "vlm"))


async def exported(url: str, wanted: tuple[str, ...] = EXPORTED) -> str:
    """The metrics once the wanted ones are among them: Ray collects each process's every few seconds."""
    text = ""
    for _ in range(400):
        try:
            with urllib.request.urlopen(url) as answer:
                text = answer.read().decode()
        except OSError:
            text = ""
        if all(word in text for word in wanted):
            break
        await asyncio.sleep(0.5)
    return text
