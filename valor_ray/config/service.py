"""Settings of what runs around the models: sandbox, pictures, HTTP server, Ray."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from valor_ray.config.section import Section, secret


def staging_folder() -> str:
    """Where a machine keeps its copy of a run that is at a URL: VALOR_STAGING, else a folder for temporary files.

    On a cluster the same path on every machine, each with a disk of its own behind it.
    """
    return os.environ.get("VALOR_STAGING") or os.path.join(tempfile.gettempdir(), f"valor_ray-{os.getuid()}")


def picture_folder() -> str:
    """Where a machine keeps pictures of benchmarks: VALOR_PICTURES, else a folder of the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("VALOR_PICTURES") or os.path.join(cache, "valor_ray", "pictures")


def visible_gpus() -> int | None:
    """How many GPUs CUDA_VISIBLE_DEVICES leaves to this process; None: all that there are."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return None
    return len([name for name in shown.split(",") if name.strip() and name.strip() != "-1"])


class SandboxConfig(Section):
    """Limits of one program."""

    wall_seconds: float = Field(30, gt=0, description="from start to answer, without waiting for tools")
    tool_seconds: float = Field(
        600,
        gt=0,
        description="waiting for tools, all calls of a program together; longer than the judge takes for one",
    )
    cpu_seconds: float = Field(10, gt=0, description="of the program itself")
    memory_mib: int = Field(512, ge=64, description="what a program may allocate")
    output_kib: int = Field(64, ge=1, description="printed text; a program that prints more is ended")
    max_calls: int = Field(200, ge=1, description="tool calls")
    max_code_kib: int = Field(64, ge=1, description="longest program that is run at all")
    fast: bool = Field(
        True, description="run programs that pass the strict gate in warm workers; false = always fork"
    )
    bubblewrap: bool = Field(True, description="one more wall around the sandbox, where bwrap is installed")
    workers: int | None = Field(None, ge=1, description="warm workers per sandbox; null = one per CPU")
    recycle_after: int = Field(50, ge=1, description="programs after which a warm worker is replaced")


class ImageConfig(Section):
    """Which pictures are accepted."""

    max_bytes: int = Field(20 * 2**20, ge=1, description="encoded size")
    max_pixels: int = Field(
        40_000_000,
        ge=1,
        description="width x height; a larger picture is halved until it fits, boxes included",
    )
    max_source_pixels: int = Field(
        110_000_000,
        ge=1,
        description="width x height of a file that is accepted at all, checked before decoding",
    )
    decode_seconds: float = Field(1.75, gt=0, description="CPU that decoding one picture may take")
    decode_memory_mib: int = Field(1024, ge=64, description="memory that decoding one picture may take")
    decoders: int = Field(4, ge=1, description="processes for pictures that are costly to decode, at a time")
    url_schemes: tuple[Literal["http", "https"], ...] = Field(
        (), description="schemes of picture URLs the server fetches for a caller; empty = none"
    )


def _origin(text: str) -> str:
    """As browsers send it in Origin. Raises ValueError."""
    if text == "*" or re.fullmatch(r"https?://[^/?#\s@*]+", text):
        return text
    raise ValueError(f"{text!r} is no origin: write https://host:port without a path, or *")


class AnswerConfig(Section):
    """How a question is answered, where the caller does not say."""

    samples: int = Field(
        1, ge=1, description="replies to a question, of whose answers one is taken; paper: 1"
    )
    select: Literal["vote", "judge", "scenes"] = Field(
        "vote",
        description="how it is taken: vote = what most programs answer; judge = the reply that the text heads like "
        "best; scenes = a program that answers as a judge does in made-up scenes",
    )
    max_samples: int = Field(16, ge=1, description="most replies that a caller may ask for")
    repairs: int = Field(
        0,
        ge=0,
        description="times that a reply whose program failed goes back to its writer with the error; each is a further "
        "call of the policy; paper: 0",
    )
    max_repairs: int = Field(4, ge=0, description="most repairs that a caller may ask for")


class ServerConfig(Section):
    """The HTTP front door."""

    host: str = Field("127.0.0.1", description="address to bind; 0.0.0.0 = reachable from other machines")
    port: int = Field(8000, ge=1, le=65535, description="TCP port")
    token_env: str | None = Field(
        None, description="variable with the bearer token callers must send; null = open"
    )
    max_question_chars: int = Field(2000, ge=1, description="longest question")
    body_idle_s: float = Field(15, gt=0, description="seconds without a byte of a body before it is refused")
    body_s: float = Field(120, gt=0, description="seconds in which a whole body must arrive")
    wait_s: float = Field(
        120,
        ge=0,
        description="seconds for which a request waits when a part's replica is gone, until its successor answers",
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (), description="origins whose pages may ask from a browser (https://host:port, or *); empty = none"
    )

    def token(self) -> str | None:
        """The bearer token, or None when the server is open. Raises ConfigError when its variable is not set."""
        if self.token_env is None:
            return None
        return secret(self.token_env, "server.token_env", "the token callers must send")


class RayConfig(Section):
    """The Ray that `valor` starts."""

    num_cpus: int | None = Field(
        None,
        ge=1,
        description="logical CPUs, may exceed the physical ones; null = as many as the machine has",
    )
    object_store_mib: int | None = Field(
        None, ge=80, description="shared memory for objects; null = Ray's default"
    )

    def address(self) -> str | None:
        """The cluster that RAY_ADDRESS names, as for every Ray program; None: start a Ray of our own."""
        return os.environ.get("RAY_ADDRESS") or None
