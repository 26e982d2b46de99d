"""Starting and ending the app: what is wrong is said early, and nothing is left running."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
import train_runs as runs
from ray.exceptions import RayTaskError

from deployments import serving as serving_module
from deployments.serving import serving
from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.doctor.listening import free_port
from valor_ray.errors import ConfigError, ServiceError, ValorError


def reason(*overrides: str) -> ValorError:
    with pytest.raises(ValorError) as caught, serving(Config.load("local", overrides)):
        pass
    return caught.value


def test_missing_model_is_said_before_anything_starts() -> None:
    assert isinstance(reason("detector.model=./no/such/model"), ConfigError)
    assert "no-such" in str(reason("policy.model=tabletop:no-such"))


def test_missing_token_and_key_are_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VALOR_TEST_TOKEN", raising=False)
    assert "VALOR_TEST_TOKEN" in str(reason("server.token_env=VALOR_TEST_TOKEN"))
    judge = ("judge.base_url=http://127.0.0.1:1/v1", "judge.api_key_env=VALOR_TEST_TOKEN")
    assert "(named by judge.api_key_env)" in str(reason(*judge))
    vlm = ("vlm.base_url=http://127.0.0.1:1/v1", "vlm.model=m", "vlm.api_key_env=VALOR_TEST_TOKEN")
    assert "VALOR_TEST_TOKEN (named by vlm.api_key_env)" in str(reason(*vlm))
    writer = [setting.replace("vlm.", "policy.endpoint.") for setting in vlm]
    assert "VALOR_TEST_TOKEN (named by policy.endpoint.api_key_env)" in str(reason(*writer))


def test_port_in_use_is_said_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = reason(f"server.port={taken.getsockname()[1]}")
    assert isinstance(error, ServiceError) and "--port" in str(error)


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Apps that are taken away from a cluster that we only use; nothing is deployed there."""
    gone: list[str] = []
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(serving_module, "running_ray", lambda config, progress: nullcontext())
    monkeypatch.setattr(serving_module.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(serving_module.serve, "delete", gone.append)
    monkeypatch.setattr(serving_module, "close_publications", gone.append)
    monkeypatch.setattr(serving_module, "check_serve", lambda server, app: None)
    monkeypatch.setattr(serving_module, "check_placed", lambda config, progress, rule: None)
    monkeypatch.setattr(serving_module, "_deploy", lambda config, progress, policy_run: "http://app")
    return gone


@pytest.mark.parametrize("check", ["check_serve", "check_placed"])
def test_what_is_refused_on_a_cluster_takes_away_nothing_of_others(
    deleted: list[str], monkeypatch: pytest.MonkeyPatch, check: str, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("The app valor already runs.")

    monkeypatch.setattr(serving_module, check, refuse)
    assert "already runs" in str(reason(f"detector.follow={tmp_path}"))
    assert deleted == []


def test_what_was_deployed_on_a_cluster_is_taken_away_again(deleted: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # of this machine: the cluster's ports are others
        config = Config.load("local", [f"server.port={taken.getsockname()[1]}"])
        with serving(config) as url:
            assert (url, deleted) == ("http://app", [])
    assert deleted == ["valor"]


def test_a_part_that_does_not_start_on_a_cluster_is_taken_away_too(
    deleted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise ServiceError("detector did not start.")

    monkeypatch.setattr(serving_module, "_deploy", fail)
    assert "did not start" in str(reason())
    assert deleted == ["valor"]


def test_host_that_is_not_ours_is_said_before_anything_starts() -> None:
    assert "203.0.113.1" in str(reason("server.host=203.0.113.1"))


def start(log: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "valor_ray", "serve", "--port", str(free_port()), *arguments]
    with log.open("w") as stream:
        return subprocess.Popen(command, stderr=stream, stdout=stream)


def wait_for(server: subprocess.Popen, log: Path, words: str) -> set[psutil.Process]:
    """The processes of the server when its log shows the words."""
    runs.wait_until(server, log.read_text, lambda: words in log.read_text(), 240)
    return set(psutil.Process(server.pid).children(recursive=True))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_starts_it_leaves_no_process(tmp_path: Path, stop: signal.Signals) -> None:
    server = start(log := tmp_path / "log.txt")
    started = wait_for(server, log, " … ")  # loading judge, … 5 s: whichever parts are still awaited
    assert started
    server.send_signal(stop)
    assert server.wait(timeout=200) == 130, log.read_text()
    assert runs.outlived(started) == [] and "Traceback" not in log.read_text()


@pytest.mark.timeout(600)
def test_part_that_cannot_start_ends_the_app_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "detector"
    shutil.copytree(resolve_model("tabletop:detector"), broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    server = start(log := tmp_path / "log.txt", "--set", f"detector.model={broken}")
    assert server.wait(timeout=500) == 1
    said = log.read_text()
    assert "detector did not start" in said and "CheckpointError" in said and str(broken) in said
    assert "Traceback" not in said


def test_a_ray_that_a_busy_machine_is_slow_to_start_is_tried_again_and_each_try_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = iter([Exception("timed out"), Exception("timed out"), None, *[Exception("no memory")] * 4])

    left = list[subprocess.Popen]()

    def init(**options: object) -> None:
        assert all(
            each.poll() is not None for each in left
        )  # of a try that failed nothing runs beside the next
        left.append(subprocess.Popen(["sleep", "600"]))
        if (error := next(outcomes)) is not None:
            raise error
        left.pop().kill()

    monkeypatch.setattr(serving_module.ray, "init", init)
    said = list[str]()
    serving_module._start_ray(Config.load("local"), None, said.append)
    assert len(said) == 2 and all("timed out" in line and "trying again" in line for line in said)
    with pytest.raises(ServiceError, match=r"tried 4 times: no memory"):
        serving_module._start_ray(Config.load("local"), None, said.append)


def test_port_that_is_taken_while_ray_starts_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(**options: object) -> None:
        raise RayTaskError(
            "ready", "a traceback", RuntimeError("Failed to bind to address '127.0.0.1:8000'.")
        )

    monkeypatch.setattr(serving_module.serve, "start", taken)
    with pytest.raises(ServiceError, match=r"does not listen on .*--port"):
        serving_module._deploy(Config.load("local", []), lambda line: None)
