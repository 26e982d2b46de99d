"""Settings of the models: policy, detector and depth, and what their names mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from valor_ray.config.judging import WriterConfig
from valor_ray.config.section import DiskPath, Section
from valor_ray.errors import ConfigError

CHECKPOINTS = Path(__file__).parents[1] / "tabletop" / "checkpoints"
SHIPPED_PREFIX = "tabletop:"
ENGINE_OWNER = (
    "VALOR_ENGINE_OWNER"  # variable by which a vLLM worker learns whose engine it belongs to (a pid)
)


class PolicyConfig(Section):
    """The LLM that writes plan and program, behind vLLM or an endpoint."""

    model: str = Field(
        description="`tabletop:policy`, a hub id (owner/name, owner/name@revision) or a folder in Hugging Face format"
    )
    prompt: Literal["short", "full"] = Field(
        "full", description="system prompt, a file of valor_ray/prompts/"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="weights and activations"
    )
    max_model_len: int = Field(8192, ge=64, description="prompt + reply, tokens")
    max_tokens: int = Field(2000, ge=1, description="longest reply, tokens")
    temperature: float = Field(0.7, ge=0, description="paper: 0.7")
    top_p: float = Field(0.8, gt=0, le=1, description="paper: 0.8")
    top_k: int = Field(20, ge=-1, description="paper: 20; -1 = no limit")
    min_p: float = Field(0.0, ge=0, le=1, description="paper: 0")
    thinking: bool = Field(False, description="chat template's thinking mode; paper: off")
    kv_cache_gib: float | None = Field(
        None, gt=0, description="GiB for the KV cache; null = the engine decides"
    )
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="share of its GPU that an engine takes; null = vLLM's .92"
    )
    max_num_seqs: int | None = Field(
        None, ge=1, description="sequences that an engine works on at a time; null = vLLM's choice"
    )
    max_batched_tokens: int | None = Field(
        None, ge=64, description="tokens in one step of an engine; null = vLLM's choice"
    )
    enforce_eager: bool = Field(False, description="skip compilation: starts sooner, samples slower")
    replicas: int = Field(1, ge=1, description="Serve replicas, one engine each")
    num_gpus: float = Field(0, ge=0, description="GPUs per replica")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of an engine; null = as many as the machine or Ray gives it"
    )
    max_ongoing: int = Field(32, ge=1, description="questions a replica works on at a time")
    exact_samples: bool | None = Field(
        None,
        description="training samples are the same bit for bit whenever they are asked for: a batch has the engine to "
        "itself; false: all share it, and judging begins with the first; null = on CPU true, on GPUs false",
    )
    weight_transfer: Literal["nccl", "gloo"] | None = Field(
        None,
        description="how a learner's new weights come into running engines: nccl is vLLM's own transfer from GPU to "
        "GPU, gloo the same on CPU; null = by files of the run folder",
    )
    hang_s: float = Field(
        300, gt=0, description="an engine with work and no progress for so long is replaced, seconds"
    )

    endpoint: WriterConfig | None = Field(
        None,
        description="a hosted model that writes in place of `model`, asked as judge and vlm are; no engine and no GPU "
        "then, and nothing to train; null = vLLM with `model`",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_gpu_for_an_endpoint(cls, values: Any) -> Any:
        """The profile beneath may have given the engine some."""
        if isinstance(values, Mapping) and values.get("endpoint") is not None:
            return {**values, "num_gpus": 0}
        return values

    @property
    def writer(self) -> str:
        """The name of the model that writes."""
        return self.model if self.endpoint is None else self.endpoint.model

    @property
    def exact(self) -> bool:
        return self.num_gpus == 0 if self.exact_samples is None else self.exact_samples


class DetectorConfig(Section):
    """GroundingDINO."""

    model: str = Field(
        description="`tabletop:detector`, a hub id (also owner/name@revision), a folder, or an original .pth file"
    )
    box_threshold: float = Field(0.35, ge=0, le=1, description="lowest score of a box; paper: 0.35")
    text_threshold: float = Field(
        0.25, ge=0, le=1, description="lowest score of a phrase's words; paper: 0.25"
    )
    image_side: int | None = Field(
        None, ge=32, description="shortest side, px; null = the processor's default"
    )
    max_batch: int = Field(8, ge=1, description="pictures in one forward pass")
    batch_wait_s: float = Field(0.01, ge=0, description="longest wait for a batch to fill, seconds")
    replicas: int = Field(1, ge=1, description="Serve replicas")
    max_replicas: int | None = Field(
        None, ge=1, description="Serve adds replicas up to so many while calls wait; null = always `replicas`"
    )
    num_gpus: float = Field(0, ge=0, description="GPUs per replica")
    cache_entries: int = Field(1024, ge=0, description="(picture, phrases) results kept per replica")
    follow: DiskPath | None = Field(
        None,
        min_length=1,
        description="run folder of `valor train grounding`: replicas load what it publishes; null = `model` alone",
    )

    @field_validator("follow")
    @classmethod
    def _absolute(cls, follow: str | None) -> str | None:
        """Replicas have another working directory than the command."""
        return follow if follow is None else str(Path(follow).expanduser().resolve())


class DepthConfig(Section):
    """MoGe-2."""

    model: str = Field(
        description="`tabletop:depth`, a hub id (also owner/name@revision), or a checkpoint file"
    )
    image_side: int | None = Field(
        None, ge=32, description="shortest side, px; null = the picture's own size"
    )
    max_batch: int = Field(4, ge=1, description="pictures in one forward pass")
    batch_wait_s: float = Field(0.01, ge=0, description="longest wait for a batch to fill, seconds")
    replicas: int = Field(1, ge=1, description="Serve replicas")
    max_replicas: int | None = Field(
        None, ge=1, description="Serve adds replicas up to so many while calls wait; null = always `replicas`"
    )
    num_gpus: float = Field(0, ge=0, description="GPUs per replica")
    cache_entries: int = Field(
        64, ge=0, description="depth maps kept per replica, 256 MiB at most (4 bytes a pixel)"
    )


def resolve_model(name: str) -> str:
    """Turn a `model` setting into what loads it: a path for `tabletop:NAME` and for files, else the hub id itself.

    Raises ConfigError for a shipped checkpoint or a file that does not exist.
    """
    if name.startswith(SHIPPED_PREFIX):
        path = CHECKPOINTS / name.removeprefix(SHIPPED_PREFIX)
        if not path.exists():
            shipped = ", ".join(SHIPPED_PREFIX + p.name for p in sorted(CHECKPOINTS.glob("*/"))) or "none"
            raise ConfigError(f"No shipped checkpoint {name!r} ({path} does not exist). Shipped: {shipped}.")
        return str(path)
    path = Path(name).expanduser()
    if path.exists():
        return str(path)
    if name.startswith(("/", "./", "../", "~")) or path.suffix in {".pth", ".pt", ".safetensors"}:
        raise ConfigError(
            f"Model file or folder not found: {path}. Give a path that exists or a hub id (owner/name)."
        )
    return name


def engine_owner() -> int | None:
    """Process id of the owner of the engine that this process works for; None when nobody has said."""
    text = os.environ.get(ENGINE_OWNER, "")
    return int(text) if text.isdecimal() else None
