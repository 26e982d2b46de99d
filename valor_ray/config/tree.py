"""The one settings tree: profile (YAML) -> `--set a.b=c` overrides -> checked, frozen values.

This is also the only module that reads environment variables (API key, token, RAY_ADDRESS), so that a
secret cannot get into a program, a log or a run folder by accident.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from valor_ray.config.files import merge, parse_override, read_profile
from valor_ray.errors import ConfigError

CHECKPOINTS = Path(__file__).parents[1] / "tabletop" / "checkpoints"
SHIPPED_PREFIX = "tabletop:"
ENGINE_OWNER = (
    "VALOR_ENGINE_OWNER"  # variable by which a vLLM worker learns whose engine it belongs to (a pid)
)


class Section(BaseModel):
    """A part of the tree: immutable, and closed to keys it does not define."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class PolicyConfig(Section):
    """The LLM that writes plan and program, behind vLLM."""

    model: str = Field(description="`tabletop:policy`, a hub id or a folder in Hugging Face format")
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
    enforce_eager: bool = Field(False, description="skip compilation: starts sooner, samples slower")
    replicas: int = Field(1, ge=1, description="Serve replicas, one engine each")
    num_gpus: float = Field(0, ge=0, description="GPUs per replica")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of an engine; null = as many as the machine or Ray gives it"
    )
    max_ongoing: int = Field(32, ge=1, description="questions a replica works on at a time")
    hang_s: float = Field(
        300, gt=0, description="an engine with work and no progress for so long is replaced, seconds"
    )


class DetectorConfig(Section):
    """GroundingDINO."""

    model: str = Field(description="`tabletop:detector`, a hub id, a folder, or an original-format .pth file")
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
    num_gpus: float = Field(0, ge=0, description="GPUs per replica")
    cache_entries: int = Field(1024, ge=0, description="(picture, phrases) results kept per replica")


class DepthConfig(Section):
    """MoGe-2."""

    model: str = Field(description="`tabletop:depth`, a hub id, or a checkpoint file")
    image_side: int | None = Field(
        None, ge=32, description="shortest side, px; null = the picture's own size"
    )
    max_batch: int = Field(4, ge=1, description="pictures in one forward pass")
    batch_wait_s: float = Field(0.01, ge=0, description="longest wait for a batch to fill, seconds")
    replicas: int = Field(1, ge=1, description="Serve replicas")
    num_gpus: float = Field(0, ge=0, description="GPUs per replica")
    cache_entries: int = Field(64, ge=0, description="depth maps kept per replica (4 bytes a pixel each)")


class EndpointConfig(Section):
    """One account at an OpenAI-compatible endpoint."""

    base_url: str | None = Field(None, description="e.g. https://host/v1; null = start the offline judge")
    model: str = Field(description="model name sent to the endpoint")
    api_key_env: str | None = Field(
        "OPENAI_API_KEY", description="variable with the API key; null = no key needed"
    )
    timeout_s: float = Field(60, gt=0, description="longest time of one try, seconds")
    requests_per_minute: int | None = Field(
        None, ge=1, description="the account's limit, for the whole cluster; null = none"
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="the account's limit, for the whole cluster; null = none"
    )
    max_in_flight: int = Field(512, ge=1, description="most calls at a time from one gateway replica")
    price_in: float = Field(0, ge=0, description="US dollars per million prompt tokens, for the accounts")
    price_out: float = Field(0, ge=0, description="US dollars per million completion tokens")

    def api_key(self) -> str:
        """The key for the endpoint. Raises ConfigError when `api_key_env` names a variable that is not set."""
        if self.api_key_env is None:
            return "none"
        return _secret(self.api_key_env, "judge.api_key_env", "your endpoint's API key")


class JudgeConfig(EndpointConfig):
    """The model that looks at pictures and checks work, behind any OpenAI-compatible endpoint, and its gateway."""

    others: tuple[EndpointConfig, ...] = Field(
        (), description="further judges that share the work with the first, or vote with it"
    )
    combine: Literal["share", "vote"] = Field(
        "share",
        description="share: each call goes to one judge; vote: each call goes to all, the majority counts",
    )
    retries: int = Field(
        4,
        ge=0,
        description="further tries after a 5xx, a time-out or a lost connection; a 429 is waited out",
    )
    patience_s: float = Field(
        3600,
        ge=0,
        description="how long scoring waits for a judge that is down before a verdict is missing, seconds",
    )
    first_in_flight: int = Field(64, ge=1, description="calls at a time with which a gateway replica starts")
    hedge: bool = Field(True, description="send a straggler a second time and take the first answer")
    replicas: int = Field(1, ge=1, description="gateway replicas (Serve)")
    cache_dir: str | None = Field(
        None, description="folder where answers are kept for ever; null = in the run's own folder"
    )
    noise: float = Field(0, ge=0, le=1, description="offline judge: share of verdicts that are turned round")
    delay_s: float = Field(
        0, ge=0, description="offline judge: wait before each answer, as a hosted judge's would be, seconds"
    )
    jpeg_quality: int = Field(92, ge=1, le=100, description="of the pictures sent")
    max_side: int = Field(1024, ge=64, description="pictures are scaled down to this long side, px")

    def check_keys(self) -> None:
        """Raises ConfigError when the API key of a judge that is not the offline one is not set."""
        for endpoint in (self, *self.others):
            if endpoint.base_url is not None:
                endpoint.api_key()


class RewardConfig(Section):
    """The paper's reward: format x (weighted sum of the other five heads)."""

    format: bool = Field(
        True, description="a reply without plan and answer has reward 0; false: it has none (for ablations)"
    )
    logic: float = Field(0.3, ge=0, le=1, description="weight; paper: 0.3")
    syntax: float = Field(0.1, ge=0, le=1, description="weight; paper: 0.1")
    attribute: float = Field(0.2, ge=0, le=1, description="weight; paper: 0.2")
    spatial: float = Field(0.2, ge=0, le=1, description="weight; paper: 0.2")
    adherence: float = Field(0.2, ge=0, le=1, description="weight; paper: 0.2")
    audit_every: int = Field(
        100, ge=0, description="one canary with a known verdict per so many replies; 0 = none"
    )
    audit_alarm: float = Field(
        0.7, ge=0, le=1, description="warn when the agreement with the canaries is surely below this"
    )

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Self:
        total = self.logic + self.syntax + self.attribute + self.spatial + self.adherence
        if abs(total - 1) > 1e-6:
            raise ValueError(
                f"the weights logic, syntax, attribute, spatial and adherence must sum to 1, not {total:g}"
            )
        return self


class GrpoConfig(Section):
    """Training of the policy by GRPO on judged rewards, without labels (paper, section 3)."""

    queries: str | None = Field(
        None,
        description="queries to train on: JSONL, parquet, a folder, hf:NAME, an fsspec URL; null = tabletop scenes",
    )
    query_limit: int | None = Field(800, ge=1, description="use the first N queries; paper: about 800")
    epochs: int = Field(4, ge=1, description="passes over the queries, where `steps` is null; paper: 4")
    steps: int | None = Field(None, ge=1, description="optimizer steps; null = as many as the epochs make")
    prompts: int = Field(64, ge=1, description="queries per step; paper: 64")
    samples: int = Field(5, ge=2, description="replies per query, a group; paper: 5")
    reserve: float = Field(
        0.5,
        ge=0,
        description="further queries a step may draw for groups without use, as a share of `prompts`",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        description="of training samples; paper: 1.0. Their top-p is 1, as the importance ratio needs it",
    )
    max_tokens: int = Field(2000, ge=1, description="longest training sample, tokens; paper: 2000")
    max_lag: int = Field(
        1, ge=0, description="steps by which samples may be older than the weights they train; 0 = on-policy"
    )
    learning_rate: float = Field(1e-6, gt=0, description="AdamW, constant after warm-up; paper: 1e-6")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    kl: float = Field(
        0.01, ge=0, description="weight of the k3 divergence from the start policy; paper: 0.01"
    )
    clip: float = Field(0.2, gt=0, lt=1, description="of the importance ratio; paper: 0.2")
    workers: int = Field(1, ge=1, description="learner processes (Ray Train)")
    num_gpus: float = Field(0, ge=0, description="GPUs per learner process")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a learner process; null = torch's choice"
    )
    micro_batch: int = Field(4, ge=1, description="replies in one forward pass of a learner process")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the learner's forward pass; the weights that are trained are float32"
    )
    fsdp: bool = Field(False, description="shard weights and optimizer over the learner processes")
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    lora_rank: int | None = Field(
        None, ge=1, description="train LoRA adapters of this rank; null = all weights"
    )
    save_every: int = Field(5, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(
        2, ge=1, description="newest checkpoints kept, besides the first and the last"
    )
    eval_questions: int = Field(504, ge=0, description="held-out questions asked before and after; 0 = none")
    eval_every: int | None = Field(
        None,
        ge=1,
        description="checkpoints of every so many steps are kept, and asked too when training is over",
    )
    gap_alarm: float = Field(
        0.05, gt=0, description="warn when engine and learner differ by more, in log-probability"
    )
    max_kl: float = Field(
        10, gt=0, description="stop when the mean divergence from the start policy is above this"
    )
    seed: int = Field(0, ge=0, description="of query order and samples")
    wandb_project: str | None = Field(
        None, description="also log to this Weights & Biases project (needs wandb); null = TensorBoard only"
    )


class SandboxConfig(Section):
    """Limits of one program."""

    wall_seconds: float = Field(30, gt=0, description="from start to answer, waiting for tools included")
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
    max_pixels: int = Field(40_000_000, ge=1, description="width x height, checked before decoding")
    url_schemes: tuple[Literal["http", "https"], ...] = Field(
        (), description="schemes of picture URLs the server fetches for a caller; empty = none"
    )


class ServerConfig(Section):
    """The HTTP front door."""

    host: str = Field("127.0.0.1", description="address to bind; 0.0.0.0 = reachable from other machines")
    port: int = Field(8000, ge=1, le=65535, description="TCP port")
    token_env: str | None = Field(
        None, description="variable with the bearer token callers must send; null = open"
    )
    max_question_chars: int = Field(2000, ge=1, description="longest question")

    def token(self) -> str | None:
        """The bearer token, or None when the server is open. Raises ConfigError when its variable is not set."""
        if self.token_env is None:
            return None
        return _secret(self.token_env, "server.token_env", "the token callers must send")


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


class Config(Section):
    """The whole tree."""

    policy: PolicyConfig
    detector: DetectorConfig
    depth: DepthConfig
    judge: JudgeConfig
    sandbox: SandboxConfig = SandboxConfig()
    reward: RewardConfig = RewardConfig()
    grpo: GrpoConfig = GrpoConfig()
    images: ImageConfig = ImageConfig()
    server: ServerConfig = ServerConfig()
    ray: RayConfig = RayConfig()

    @classmethod
    def load(cls, profile: str = "local", overrides: Sequence[str] = ()) -> Self:
        """Read a profile (`local`, `gpu` or a YAML file) and apply `a.b=c` overrides, in order.

        A file holds only what differs from its `base:` profile (`local` unless it says otherwise).
        Raises ConfigError naming the key, where it was set, and the nearest valid key.
        """
        values, origin = read_profile(profile)
        for override in overrides:
            merge(values, parse_override(override), f"--set {override}", origin)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, origin)) from error


def engine_owner() -> int | None:
    """Process id of the owner of the engine that this process works for; None when nobody has said."""
    text = os.environ.get(ENGINE_OWNER, "")
    return int(text) if text.isdecimal() else None


def described_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key that can be set, with its description."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from described_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""


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


def _secret(variable: str, key: str, what: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"The environment variable {variable} (named by {key}) is not set. Export {variable}=<{what}>, "
            f"or name another variable with --set {key}=NAME, or none with --set {key}=null."
        )
    return value


def _explain(error: ValidationError, origin: Mapping[str, str]) -> str:
    """One line per problem: key, what is wrong, where it was set, what to write instead."""
    lines = []
    for problem in error.errors():
        dotted = ".".join(str(part) for part in problem["loc"])
        below = [key for key in origin if key.startswith(f"{dotted}.")]
        source = origin.get(dotted) or (origin[below[0]] if below else "")
        where = f" ({source})" if source else ""
        if problem["type"] == "extra_forbidden":
            unknown = below[0] if below else dotted
            lines.append(f"Unknown setting {unknown!r}{where}. Nearest valid: {nearest_key(unknown)}.")
        elif problem["type"] == "missing":
            lines.append(
                f"Setting {dotted!r} is missing. Add it to the profile or give --set {dotted}=VALUE."
            )
        else:
            lines.append(f"Setting {dotted!r}{where}: {problem['msg']}, got {problem['input']!r}.")
    return "\n".join(lines)


def nearest_key(dotted: str) -> str:
    """The valid dotted key that looks most like `dotted`; the last word counts as much as the whole."""
    last = dotted.rpartition(".")[2]

    def likeness(valid: str) -> float:
        whole = difflib.SequenceMatcher(None, dotted, valid).ratio()
        return whole + difflib.SequenceMatcher(None, last, valid.rpartition(".")[2]).ratio()

    return max((key for key, _ in described_keys()), key=likeness)
