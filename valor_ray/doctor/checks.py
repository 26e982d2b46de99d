"""Is this machine ready? Each check looks at one thing and says what to do when it is not well."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from valor_ray.config.judging import WRITER, JudgeConfig, Part, WriterConfig
from valor_ray.config.models import SHIPPED_PREFIX, resolve_model
from valor_ray.config.tree import Config, described_keys, nearest_key
from valor_ray.doctor.listening import why_not
from valor_ray.errors import ConfigError, ProgramError
from valor_ray.models.shipped import check_origin
from valor_ray.runs.folder import meaning, public_settings

LOCK = Path(__file__).parents[2] / "requirements" / "cpu.lock"
GPU_LOCK = LOCK.with_name("gpu.lock")
GIB = 2**30
MEMORY_GIB = 6.0  # free, for the app of the local profile
DISK_GIB = 2.0  # Ray's session folder and logs
GPU_SHM_MIB = 8192  # in /dev/shm beside GPUs: Ray's objects, what NCCL shares
_PIN = re.compile(r"[\w.-]+==[\w.]+")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str
    fix: str = ""  # what to do; empty when ok
    needed: bool = True  # False: things work without it


def examine(config: Config) -> Iterator[Check]:
    """All checks for these settings, one by one as they are done."""
    yield _python()
    yield _packages(config)
    yield _torchvision()
    yield _cores()
    yield _memory()
    yield _disk()
    yield _shared_memory(config)
    yield _port(config)
    if config.policy.endpoint is None:
        yield _model("policy", config.policy.model)
    else:
        yield _writer(config.policy.endpoint)
    for part in ("detector", "depth"):
        yield _model(part, getattr(config, part).model)
    yield _endpoint(config.judge, "judge")
    if config.vlm_part == "vlm":
        yield _endpoint(config.vlm, "vlm")
    yield _browser()
    yield _sandbox(config)  # last: it takes a second


def settings(config: Config, prefix: str = "") -> list[dict[str, Any]]:
    """{key, value, description} of each setting whose key begins with `prefix`. Raises ConfigError for none."""
    values = public_settings(config.model_dump(mode="json"))
    chosen = []
    for key, description in described_keys():
        if key.startswith(prefix):
            chosen.append({"key": key, "value": meaning(values, [key])[key], "description": description})
    if not chosen:
        raise ConfigError(f"--settings {prefix}: no setting begins so. Nearest: {nearest_key(prefix)}.")
    return chosen


def _python() -> Check:
    ok = sys.version_info[:2] == (3, 11)
    return Check(
        "python", ok, sys.version.split()[0], "" if ok else "Install Python 3.11, then run make setup."
    )


def _packages(config: Config) -> Check:
    lock = GPU_LOCK if config.wants_gpus else LOCK
    if not lock.is_file():
        return Check("packages", True, "no lock beside the package: versions not compared", needed=False)
    pins = [line.split("==") for line in lock.read_text().splitlines() if _PIN.fullmatch(line)]
    wrong = []
    for name, version in pins:
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed = "missing"
        if installed != version:
            wrong.append(f"{name} {installed} (lock: {version})")
    if not wrong:
        return Check("packages", True, f"{len(pins)} as in {lock.parent.name}/{lock.name}")
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    fix = f"pip install --no-deps -r {lock}" if config.wants_gpus else "Run make setup."
    return Check("packages", False, f"{', '.join(wrong[:5])}{more}", fix)


def _torchvision() -> Check:
    try:
        vision, torch = metadata.version("torchvision"), metadata.version("torch")
    except metadata.PackageNotFoundError:
        return Check("torchvision", True, "not installed, as it should be", needed=False)
    ok = vision.partition("+")[2] == torch.partition("+")[2]
    detail = f"torchvision {vision} beside torch {torch}"
    return Check(
        "torchvision", ok, detail, "" if ok else f"Run {sys.executable} -m pip uninstall torchvision."
    )


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    fix = "" if cores >= 2 else "Use two cores or more: with one, answers take several times longer."
    return Check("cores", cores >= 2, f"{cores} usable", fix, needed=False)


def _memory() -> Check:
    free = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        free = min(free, int(text) - int(limit.with_name("memory.current").read_text()))
    ok = free >= MEMORY_GIB * GIB
    fix = "" if ok else f"Free some: the app needs about {MEMORY_GIB:g} GiB."
    return Check("memory", ok, f"{free / GIB:.1f} GiB free", fix)


def _disk() -> Check:
    free = {folder: shutil.disk_usage(folder).free / GIB for folder in (Path.cwd(), Path("/tmp"))}
    ok = min(free.values()) >= DISK_GIB
    fix = "" if ok else f"Free at least {DISK_GIB:g} GiB there."
    return Check("disk", ok, ", ".join(f"{folder}: {gib:.0f} GiB free" for folder, gib in free.items()), fix)


def _shared_memory(config: Config) -> Check:
    wanted = config.ray.object_store_mib or (GPU_SHM_MIB if config.wants_gpus else 0)
    free = shutil.disk_usage("/dev/shm").free // 2**20
    fix = (
        "" if free >= wanted else f"Give /dev/shm {wanted} MiB (docker run --shm-size), or Ray uses the disk."
    )
    return Check("shared memory", free >= wanted, f"{free} MiB free in /dev/shm", fix, needed=False)


def _sandbox(config: Config) -> Check:
    """Runs a real program behind the real walls."""
    from valor_ray.program.sandbox import Sandbox

    async def probe() -> str:
        sandbox = Sandbox(config.sandbox)
        try:
            await sandbox.start()
            paths = (
                "warm workers for gated programs, forks for others" if config.sandbox.fast else "forks only"
            )
            return f"{sandbox.walls} on {sandbox.layers['machine']}; {paths}"
        finally:
            await sandbox.close()

    try:
        return Check("sandbox", True, f"a program ran behind {asyncio.run(probe())}")
    except ProgramError as error:
        fix = "Use Linux (x86_64 or aarch64) with seccomp; in a container, let it call seccomp and prctl."
        return Check("sandbox", False, str(error), fix)


def _port(config: Config) -> Check:
    host, port = config.server.host, config.server.port
    if reason := why_not(host, port):
        fix = "Stop what uses it, or choose another: valor serve --port N."
        return Check("port", False, f"{host}:{port}: {reason}", fix)
    return Check("port", True, f"{host}:{port} is free")


def _model(part: str, setting: str) -> Check:
    name = f"{part} model"
    try:
        model, origin = Path(resolve_model(setting)), check_origin(setting)
    except ConfigError as error:
        shipped = setting.startswith(SHIPPED_PREFIX)
        fix = (
            "Get the whole repository again (git status shows what is missing or changed)."
            if shipped
            else "Give a path that exists."
        )
        return Check(name, False, str(error), fix)
    if not model.exists():
        return Check(name, True, f"{setting} comes from the model hub at the first start", needed=False)
    files = [model] if model.is_file() else [file for file in model.rglob("*") if file.is_file()]
    hidden = [str(file) for file in files if not os.access(file, os.R_OK)]
    size = sum(file.stat().st_size for file in files) / 1e6
    if hidden or not size:
        return Check(
            name, False, f"{model}: {', '.join(hidden) or 'empty'}", "Make the files readable (chmod +r)."
        )
    trained = "" if origin is None else f", trained from {origin.base}"
    return Check(name, True, f"{setting}: {len(files)} files, {size:.1f} MB{trained}")


def _endpoint(config: JudgeConfig, part: Part) -> Check:
    """Keys and headers only: `doctor.judge` calls."""
    hosted = [f"{one.model} at {one.address}" for one in config.endpoints(part).values() if one.base_url]
    if not hosted:
        return Check(part, True, "offline judge, started with the app")
    try:
        config.check_keys(part)
    except ConfigError as error:
        return Check(part, False, "; ".join(hosted), str(error))
    return Check(part, True, f"{'; '.join(hosted)}, its key is set")


def _writer(endpoint: WriterConfig) -> Check:
    """As `_endpoint`: `doctor.writer` calls."""
    told = f"{endpoint.model} at {endpoint.address}"
    try:
        endpoint.access(WRITER)
    except ConfigError as error:
        return Check("writer", False, told, str(error))
    return Check("writer", True, f"{told} writes the programs, its key is set")


def _browser() -> Check:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    fix = "" if browser else "Only the page's test needs one: apt-get install chromium."
    return Check("browser", browser is not None, browser or "no chromium", fix, needed=False)
