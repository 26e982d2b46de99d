"""Is this machine ready for settings with GPUs: to serve the models, to hold a learner, as a node of a cluster?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from valor_ray.config.models import resolve_model
from valor_ray.config.service import staging_folder, visible_gpus
from valor_ray.config.tree import Config
from valor_ray.doctor.checks import GIB, Check
from valor_ray.errors import ConfigError
from valor_ray.runs.store.place import local_folder

DRIVER = 580  # the first for CUDA 13, which torch's wheels of requirements/gpu.lock are built for
HUB_GIB = 30  # the profile gpu's models, and room
# Of a policy of 8B: a checkpoint of 92 GiB is copied in memory while it is written; disk as `train --dry-run` says it.
LEARNER_RAM_GIB, LEARNER_DISK_GIB = 160, 540
RAM_GIB, STAGING_GIB = 32, 40  # to serve, and to learn adapters
_BUSY_GIB = 2.0  # held by somebody else
_HUB_S = 5.0  # for one answer
_FIELDS = "name,memory.total,memory.used,driver_version"


@dataclass(frozen=True)
class Gpu:
    name: str
    gib: float
    used_gib: float
    driver: str  # version


def examine_gpu(config: Config, run: str | None = None) -> Iterator[Check]:
    """Checks of GPUs and of what models of their size need, one by one; nothing without GPUs in the settings.

    Called by `valor doctor` after `checks.examine`. run: a folder or URL where a training run is to be. Waits for one
    answer of the model hub, five seconds at most; nothing is fetched and no GPU is used.
    """
    if run is not None:
        yield _run(run)
    if not config.wants_gpus:
        return
    found = gpus()
    yield _count(config, found)
    yield _learner(config, found)
    if found:
        yield _driver(found)
        yield _busy(found)
    yield _torch()
    whole = config.grpo.num_gpus > 0 and config.grpo.lora_rank is None
    yield _ram(LEARNER_RAM_GIB if whole else RAM_GIB)
    yield _folder(
        "staging disk", Path(staging_folder()), LEARNER_DISK_GIB if whole else STAGING_GIB, "VALOR_STAGING"
    )
    yield from _hub(config)


def gpus() -> list[Gpu]:
    """Those of this machine that CUDA_VISIBLE_DEVICES shows, as the driver's own tool names them."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    asked = [command, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    found = []
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        name, total, used, driver = (word.strip() for word in line.rsplit(",", 3))
        found.append(Gpu(name, float(total) / 1024, float(used) / 1024, driver))
    shown = visible_gpus()
    return found if shown is None else found[:shown]


def _count(config: Config, found: list[Gpu]) -> Check:
    wanted = sum(part.num_gpus * part.replicas for part in (config.policy, config.detector, config.depth))
    named = ", ".join(sorted({f"{gpu.name} {gpu.gib:.0f} GiB" for gpu in found}))
    fix = (
        ""
        if len(found) >= wanted
        else "Take a profile for what is here (gpu-1x24, gpu-1x80, gpu-2; local needs none), or lower "
        "policy.replicas and the num_gpus of policy, detector, depth. In a container: give it the GPUs (docker run "
        "--gpus all; nvidia.com/gpu in a pod)."
    )
    return Check("gpus", not fix, f"{len(found)} of {wanted:g}" + (f": {named}" if named else ""), fix)


def _learner(config: Config, found: list[Gpu]) -> Check:
    """A note, as a cluster's other nodes may have what this one lacks."""
    grpo, policy = config.grpo, config.policy
    wanted = grpo.workers * grpo.num_gpus + policy.replicas * policy.num_gpus
    detail = f"training wants {wanted:g} GPUs, {grpo.workers * grpo.num_gpus:g} of them for the learner"
    if len(found) < wanted:
        fix = (
            "Train on a cluster (docs/cluster.md), or lower grpo.workers, policy.replicas and their num_gpus."
        )
        return Check("learner gpus", False, f"{detail}; this machine has {len(found)}", fix, needed=False)
    least = min((gpu.gib for gpu in found), default=0.0)
    if grpo.gpu_gib is not None and least < grpo.gpu_gib:
        fix = f"Set grpo.gpu_gib={int(least)} and see what `valor train reasoning --dry-run` says would fit."
        detail = f"{detail}, of {grpo.gpu_gib:g} GiB each; the smallest here has {least:.0f}"
        return Check("learner gpus", False, detail, fix, needed=False)
    return Check("learner gpus", True, detail, needed=False)


def _driver(found: list[Gpu]) -> Check:
    version = found[0].driver
    major = re.match(r"\d+", version)
    ok = major is not None and int(major.group()) >= DRIVER
    fix = "" if ok else f"Install a driver of version {DRIVER} or newer: torch is built for CUDA 13."
    return Check("driver", ok, version, fix)


def _busy(found: list[Gpu]) -> Check:
    held = [f"{n}: {gpu.used_gib:.0f} GiB" for n, gpu in enumerate(found) if gpu.used_gib > _BUSY_GIB]
    if not held:
        return Check("gpus free", True, "nobody else uses them", needed=False)
    fix = "Stop who uses them (nvidia-smi names the processes), or hide those GPUs with CUDA_VISIBLE_DEVICES."
    return Check("gpus free", False, f"in use, GPU {', '.join(held)}", fix, needed=False)


def _torch() -> Check:
    version = metadata.version("torch")
    ok = not version.endswith("+cpu")
    fix = "" if ok else "Install the profile's packages: pip install --no-deps -r requirements/gpu.lock."
    return Check("torch", ok, f"{version}{'' if ok else ', built for CPUs'}", fix)


def _ram(wanted: int) -> Check:
    free = psutil.virtual_memory().available / GIB
    fix = (
        ""
        if free >= wanted
        else f"Have {wanted} GiB free on a machine that loads or trains models of 8B: engines read weights through "
        "memory, and a learner's checkpoint is copied there before it is written."
    )
    return Check("ram", not fix, f"{free:.0f} GiB free", fix, needed=False)


def _folder(name: str, folder: Path, wanted_gib: int, variable: str) -> Check:
    """Room and right to write where a folder is, or would be made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    detail = f"{folder}: {free:.0f} GiB free"
    if not os.access(there, os.W_OK | os.X_OK):
        fix = (
            f"Make it this user's (chown; a volume takes the owner of the image's folder), or set {variable}."
        )
        return Check(name, False, f"{folder}: {there} cannot be written to", fix)
    fix = "" if free >= wanted_gib else f"Free {wanted_gib} GiB there, or set {variable} to a larger disk."
    return Check(name, not fix, detail, fix, needed=False)


def _hub(config: Config) -> Iterator[Check]:
    """Where hub models are kept, and whether those that are not there yet can be had."""
    from huggingface_hub import constants

    models = {_hub_name(getattr(config, part).model) for part in ("policy", "detector", "depth")} - {""}
    if not models:
        return
    cache = Path(constants.HF_HUB_CACHE)
    missing = sorted(model for model in models if not _kept(cache, model))
    yield _folder("hub cache", cache, HUB_GIB if missing else 0, "HF_HOME")
    if not missing:
        yield Check("hub", True, f"not asked: {', '.join(sorted(models))} are in the cache")
        return
    fetch = " && ".join(f"hf download {model}" for model in missing)
    if constants.HF_HUB_OFFLINE:
        detail = f"HF_HUB_OFFLINE is set and the cache has no {', '.join(missing)}"
        yield Check("hub", False, detail, f"Where there is a network: {fetch}; or name folders as models.")
        return
    problem = _unreachable(constants.ENDPOINT)
    fix = f"Check network and proxy, or fetch them elsewhere into {cache}: {fetch}" if problem else ""
    yield Check(
        "hub", not problem, problem or f"{constants.ENDPOINT} answers; {', '.join(missing)} to fetch", fix
    )


def _hub_name(model: str) -> str:
    """owner/name of a model of the hub; "" for what is on this machine, and for what `checks` finds wrong."""
    try:
        place = resolve_model(model)
    except ConfigError:
        return ""
    return "" if Path(place).exists() else place.partition("@")[0]


def _kept(cache: Path, model: str) -> bool:
    return any((cache / f"models--{model.replace('/', '--')}").glob("snapshots/*/*"))


def _unreachable(url: str) -> str:
    """Why the hub gives no answer; "" when it does."""
    import httpx

    try:
        httpx.head(url, timeout=_HUB_S)
    except httpx.HTTPError as error:
        return f"{url}: {type(error).__name__}: {error}"
    return ""


def _run(place: str) -> Check:
    """Whether anything here handles such URLs; the store itself is asked when a run begins."""
    if "://" not in place:
        return Check("run", True, f"{place}: a folder; on a cluster, one that all nodes see under this path")
    try:
        folder = local_folder(place)
    except ConfigError as error:
        return Check("run", False, place, str(error))
    return Check("run", True, f"{place}: copied at {folder}; the store was not asked")
