"""What `valor doctor` says about GPUs and what models of their size need. The driver's tool is a script here."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from valor_ray import cli
from valor_ray.config.tree import Config
from valor_ray.doctor import gpu as doctor
from valor_ray.doctor.checks import Check

H100 = "NVIDIA H100 80GB HBM3, 81559, {used}, {driver}"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, no model of the hub, no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setenv("VALOR_STAGING", str(tmp_path / "staging"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def said(name: str, *overrides: str, run: str | None = None, profile: str = "gpu") -> Check:
    checks = {check.name: check for check in doctor.examine_gpu(Config.load(profile, overrides), run)}
    assert all(check.ok != bool(check.fix) for check in checks.values())
    return checks[name]


def cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, used: int = 4, driver: str = "580.65.06"
) -> None:
    tool = tmp_path / "nvidia-smi"
    lines = "".join(f"echo '{H100.format(used=used, driver=driver)}'\n" for _ in range(count))
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n{lines}')
    tool.chmod(0o755)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: str(tool))


def test_settings_without_gpus_are_asked_nothing() -> None:
    assert list(doctor.examine_gpu(Config.load("local"))) == []


def test_a_machine_without_gpus_says_what_else_to_do() -> None:
    check = said("gpus")
    assert not check.ok and check.needed and check.detail == "0 of 4.75" and "gpu-1x24" in check.fix
    learner = said("learner gpus")
    assert not learner.ok and not learner.needed and "cluster" in learner.fix
    wanted = said("gpus", "policy.num_gpus=2", "policy.replicas=3")
    assert wanted.detail == "0 of 6.75"


def test_eight_cards_serve_and_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(tmp_path, monkeypatch, 8)
    check = said("gpus")
    assert check.ok and check.detail == "8 of 4.75: NVIDIA H100 80GB HBM3 80 GiB"
    assert all(said(name).ok for name in ("learner gpus", "driver", "gpus free"))
    assert "memory.total" in (tmp_path / "asked").read_text()


def test_hidden_cards_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(tmp_path, monkeypatch, 8)
    for shown, count in (("0", 1), ("2,3", 2), ("", 0), ("-1", 0)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        assert said("gpus").detail.startswith(f"{count} of"), shown


def test_cards_too_small_for_the_learner_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(tmp_path, monkeypatch, 8)
    check = said("learner gpus", "grpo.gpu_gib=90")
    assert not check.ok and not check.needed and "grpo.gpu_gib=79" in check.fix


def test_profiles_for_fewer_cards_want_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(tmp_path, monkeypatch, 1)
    for profile in ("gpu-1x24", "gpu-1x80"):
        assert said("gpus", profile=profile).ok
    assert said("learner gpus", profile="gpu-1x80").ok and not said("learner gpus", profile="gpu-2").ok
    assert "lower" in said("gpus").fix


def test_an_old_driver_and_cards_in_use_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(tmp_path, monkeypatch, 2, used=30_000, driver="570.133.20")
    driver, busy = said("driver"), said("gpus free")
    assert not driver.ok and driver.needed and "580" in driver.fix
    assert not busy.ok and not busy.needed and "0: 29 GiB, 1: 29 GiB" in busy.detail


def test_a_tool_that_fails_finds_no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed, is the driver running?'\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: str(tool))
    assert said("gpus").detail == "0 of 4.75"


def test_a_torch_for_cpus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, ok in (("2.13.0+cpu", False), ("2.13.0", True)):
        monkeypatch.setattr(doctor.metadata, "version", lambda name, version=version: version)
        check = said("torch")
        assert check.ok is ok and (ok or "gpu.lock" in check.fix)


def test_memory_and_disk_are_notes_with_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * 2**30))
    assert "160 GiB" in said("ram").fix and said("ram", profile="gpu-1x80").ok
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 2**30))
    disk = said("staging disk")
    assert not disk.ok and not disk.needed and "540 GiB" in disk.fix and "VALOR_STAGING" in disk.fix
    assert said("staging disk", profile="gpu-2").ok and said("hub cache").ok


def test_a_folder_of_somebody_else_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    cache = said("hub cache")
    assert not cache.ok and cache.needed and str(tmp_path) in cache.detail and "chown" in cache.fix


@contextmanager
def hub(seconds: float = 0) -> Iterator[tuple[str, list[str]]]:
    """A server's address, and the methods that it was asked."""
    asked: list[str] = []
    held = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.command)
            held.wait(seconds)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            held.set()
            server.shutdown()


def test_the_hub_is_asked_once_where_something_is_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with hub() as (url, asked):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        check = said("hub")
    assert check.ok and "Qwen/Qwen3-8B" in check.detail and asked == ["HEAD"]
    monkeypatch.setattr(doctor, "_HUB_S", 0.3)
    with hub(seconds=5) as (url, _):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        silent = said("hub")
    assert not silent.ok and "Timeout" in silent.detail and "hf download Qwen/Qwen3-8B" in silent.fix


def test_offline_what_the_cache_lacks_is_named_and_the_hub_is_not_asked(tmp_path: Path) -> None:
    assert "HF_HUB_OFFLINE" in said("hub").detail and said("hub").needed
    config = Config.load("gpu")
    for part in (config.policy, config.detector, config.depth):
        file = tmp_path / "hub" / f"models--{part.model.replace('/', '--')}" / "snapshots" / "abc" / "weights"
        file.parent.mkdir(parents=True)
        file.touch()
    assert said("hub").ok and "in the cache" in said("hub").detail
    assert said("hub", "policy.model=Qwen/Qwen3-8B@main").ok


def test_models_of_this_machine_need_no_hub() -> None:
    names = ["policy", "detector", "depth"]
    config = Config.load("gpu", [f"{name}.model=tabletop:{name}" for name in names])
    assert not {"hub", "hub cache"} & {check.name for check in doctor.examine_gpu(config)}


@pytest.mark.parametrize(
    ("place", "ok", "word"),
    [
        ("runs/first", True, "a folder"),
        ("s3://bucket/runs/first", True, "valor-runs-at/s3/bucket"),
        ("nothing://bucket/runs", False, "nothing"),
        ("s3://", False, "s3://bucket/runs/first"),
    ],
)
def test_the_place_of_a_run_is_looked_at_whatever_the_profile(place: str, ok: bool, word: str) -> None:
    check = said("run", run=place, profile="local")
    assert check.ok is ok and word in check.detail + check.fix


def test_the_command_lists_them_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--profile", "gpu", "--json", "--run", "s3://bucket/runs/first"]) == 1
    report = json.loads(capsys.readouterr().out)
    names = [check["name"] for check in report["checks"]]
    assert {"run", "gpus", "learner gpus", "torch", "ram", "staging disk", "hub cache", "hub"} <= set(names)
    assert not report["ok"] and all(check["fix"] for check in report["checks"] if not check["ok"])
    assert not any("None" in check["detail"] for check in report["checks"])
