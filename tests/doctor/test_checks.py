"""`valor doctor`: what it finds and what it says to do."""

import json
import socket
from types import SimpleNamespace

import pytest
from shipped import TRAINED, ship_trained, write_origin

from valor_ray import cli
from valor_ray.config import models as config
from valor_ray.config.tree import Config, described_keys
from valor_ray.doctor import checks as doctor


def found(name: str, *overrides: str, profile: str = "local") -> doctor.Check:
    return next(check for check in doctor.examine(Config.load(profile, overrides)) if check.name == name)


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    for part in ("policy", "detector", "depth"):
        folder = tmp_path / getattr(Config.load(), part).model.removeprefix("tabletop:")
        folder.mkdir()
        (folder / "weights").write_bytes(b"w" * 1000)
    monkeypatch.setattr(config, "CHECKPOINTS", tmp_path)
    return tmp_path


def test_json_is_one_object_and_exit_code_follows_the_needed_checks(checkpoints, capsys) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = cli.main(["doctor", "--json", "--set", f"server.port={port}"])
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["ok"] else 1)
    assert {"python", "packages", "memory", "sandbox", "port", "policy model"} <= {
        c["name"] for c in report["checks"]
    }
    assert all(set(check) == {"name", "ok", "detail", "fix", "needed"} for check in report["checks"])
    assert all(check["fix"] for check in report["checks"] if not check["ok"])


def test_settings_are_listed_with_the_profiles_values_and_descriptions(capsys) -> None:
    words = ["doctor", "--settings", "judge.", "--set", "judge.base_url=https://me:secret@host/v1"]
    assert cli.main([*words, "--json"]) == 0
    found = {setting["key"]: setting for setting in json.loads(capsys.readouterr().out)["settings"]}
    assert all(key.startswith("judge.") and setting["description"] for key, setting in found.items())
    assert found["judge.base_url"]["value"] == "https://host/v1"  # without what somebody has put into it
    assert found["judge.api_key_env"]["value"] is None and found["judge.timeout_s"]["value"] == 20
    assert cli.main(["doctor", "--settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(described_keys()))
    assert any(line.split()[:2] == ["judge.api_key_env", "null"] for line in lines)


def test_settings_that_do_not_exist_name_the_nearest(capsys) -> None:
    assert cli.main(["doctor", "--settings", "judge.modle"]) == 2
    assert "judge.model" in capsys.readouterr().err


def test_missing_model_is_needed_and_says_which(checkpoints, capsys) -> None:
    (checkpoints / "depth" / "weights").unlink()
    (checkpoints / "depth").rmdir()
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  depth model" in said
    assert "tabletop:depth" in said


def test_empty_model_folder_is_not_well(checkpoints) -> None:
    (checkpoints / "trained-policy" / "weights").unlink()
    assert not found("policy model").ok


def test_trained_weights_say_where_they_come_from_and_others_than_shipped_are_found(
    tmp_path, monkeypatch
) -> None:
    shipped = ship_trained(tmp_path / "shipped", monkeypatch)
    check = found("policy model", *TRAINED)
    assert check.ok and check.detail.endswith("trained from tabletop:policy")
    write_origin(shipped / "trained-policy", "tabletop:policy", sha256="0" * 64)
    check = found("policy model", *TRAINED)
    assert not check.ok and "is not the file that origin.json" in check.detail and "git status" in check.fix


def test_taken_port_says_how_to_choose_another() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        check = found("port", f"server.port={holder.getsockname()[1]}")
    assert not check.ok
    assert "--port" in check.fix


def test_lock_mismatch_and_missing_package_are_named(tmp_path, monkeypatch) -> None:
    lock = tmp_path / "cpu.lock"
    lock.write_text("# comment\nnumpy==0.0.1\nno-such-package==1.0\npytest==" + pytest.__version__ + "\n")
    monkeypatch.setattr(doctor, "LOCK", lock)
    check = found("packages")
    assert not check.ok
    assert "(lock: 0.0.1)" in check.detail
    assert "no-such-package missing" in check.detail
    assert "pytest" not in check.detail
    assert check.fix == "Run make setup."


def test_hosted_judge_without_its_key_is_found(monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    for part, variable in (("judge", "GEMINI_API_KEY"), ("vlm", "OPENAI_API_KEY")):
        check = found(part, profile="gpu")
        assert not check.ok and variable in check.fix and f"{part}.api_key_env" in check.fix
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert found("vlm", profile="gpu").ok and not found("judge", profile="gpu").ok


def test_one_endpoint_for_both_sections_is_checked_once() -> None:
    names = [check.name for check in doctor.examine(Config.load())]
    assert names.count("judge") == 1 and "vlm" not in names


def test_gpu_settings_are_compared_with_the_lock_of_gpus(tmp_path, monkeypatch) -> None:
    lock = tmp_path / "gpu.lock"
    lock.write_text("# pip install a==1\nno-such-package==1.0\n")
    monkeypatch.setattr(doctor, "GPU_LOCK", lock)
    check = found("packages", profile="gpu")
    assert check.detail == "no-such-package missing (lock: 1.0)" and str(lock) in check.fix
    assert "no-such-package" not in found("packages").detail


def test_gpu_settings_want_shared_memory(monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    check = found("shared memory", profile="gpu")
    assert not check.ok and "8192 MiB" in check.fix and found("shared memory", "ray.object_store_mib=100").ok


def test_sandbox_check_runs_a_program_behind_seccomp() -> None:
    check = found("sandbox")
    assert check.ok, check.detail
    assert "seccomp" in check.detail
