"""The one settings tree: profile (YAML) -> `--set a.b=c` overrides -> checked, frozen values.

This package is also the only place that reads environment variables (API key, token, RAY_ADDRESS), so that a
secret cannot get into a program, a log or a run folder by accident.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Self, get_args

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import ErrorDetails

from valor_ray.config.access import without_secrets
from valor_ray.config.files import merge, parse_override, read_profile
from valor_ray.config.finetune import FinetuneConfig
from valor_ray.config.grounding import GroundingConfig
from valor_ray.config.judging import JudgeConfig, Part, RewardConfig, as_judge
from valor_ray.config.models import DepthConfig, DetectorConfig, PolicyConfig
from valor_ray.config.section import Section
from valor_ray.config.service import AnswerConfig, ImageConfig, RayConfig, SandboxConfig, ServerConfig
from valor_ray.config.training import GrpoConfig, StoppingConfig
from valor_ray.errors import ConfigError


class Config(Section):
    """The whole tree."""

    policy: PolicyConfig
    detector: DetectorConfig
    depth: DepthConfig
    judge: JudgeConfig  # text heads and scene questions
    vlm: JudgeConfig  # what is asked about pictures; what is not set is as of judge (`judging.as_judge`)
    sandbox: SandboxConfig = SandboxConfig()
    reward: RewardConfig = RewardConfig()
    grpo: GrpoConfig = GrpoConfig()
    stopping: StoppingConfig = StoppingConfig()
    grounding: GroundingConfig = GroundingConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    images: ImageConfig = ImageConfig()
    answer: AnswerConfig = AnswerConfig()
    server: ServerConfig = ServerConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="before")
    @classmethod
    def _vlm_as_judge(cls, values: Any) -> Any:
        """Fills the section vlm; what is no section at all is left to the other checks."""
        if not isinstance(values, Mapping) or "judge" not in values:
            return values
        judge, own = values["judge"], values.get("vlm")
        if own is None:
            return {**values, "vlm": judge}
        if isinstance(judge, BaseModel):
            judge = judge.model_dump()
        if isinstance(judge, Mapping) and isinstance(own, Mapping):
            return {**values, "vlm": as_judge(judge, own)}
        return values

    @property
    def vlm_part(self) -> Part:
        """What messages and gateways call the endpoint that sees pictures: judge, where one serves both."""
        return "judge" if self.vlm == self.judge else "vlm"

    @property
    def wants_gpus(self) -> bool:
        """Whether any part of serving or training has GPUs."""
        parts = (self.policy, self.detector, self.depth, self.grpo, self.finetune)
        return any(part.num_gpus > 0 for part in parts)

    @property
    def kept_every(self) -> tuple[int, ...]:
        """Checkpoints of multiples of these steps stay: they are evaluated, or may be chosen."""
        chosen = self.stopping.every if self.stopping.questions else None
        return tuple(every for every in (self.grpo.eval_every, chosen) if every is not None)

    @classmethod
    def load(cls, profile: str = "local", overrides: Sequence[str] = ()) -> Self:
        """Read a profile (`local`, `gpu` or a YAML file) and apply `a.b=c` overrides, in order.

        A file holds only what differs from its `base:` profile (`local` unless it says otherwise).
        Raises ConfigError naming the key, where it was set, and the nearest valid key.
        """
        values, origin = read_profile(profile)
        for override in overrides:
            merge(values, parse_override(override), f"--set {without_secrets(override)}", origin)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, origin)) from error


def described_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key that can be set, with its description."""
    for name, field in section.model_fields.items():
        if (inner := _section(field.annotation)) is None:
            yield prefix + name, field.description or ""
            continue
        if field.description:
            yield prefix + name, field.description
        yield from described_keys(inner, f"{prefix}{name}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, also where it may be null; None: it holds none."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _explain(error: ValidationError, origin: Mapping[str, str]) -> str:
    """One line per problem: key, what is wrong, where it was set, what to write instead."""
    lines = []
    for problem in error.errors():
        dotted = ".".join(str(part) for part in problem["loc"])
        below = [key for key in origin if key.startswith(f"{dotted}.")]
        source = _set_by(problem, origin) or (origin[below[0]] if below else "")
        if not source and problem["loc"][:1] == ("vlm",) and _of_judge(problem, error):
            continue  # said already, of the section that it comes from
        where = f" ({source})" if source else ""
        if problem["type"] == "extra_forbidden":
            unknown = below[0] if below else dotted
            lines.append(f"Unknown setting {unknown!r}{where}. Nearest valid: {nearest_key(unknown)}.")
        elif problem["type"] == "missing":
            lines.append(
                f"Setting {dotted!r} is missing. Add it to the profile or give --set {dotted}=VALUE."
            )
        else:
            kept = {"extra", "headers"} & set(problem["loc"]) or "base_url" in repr(problem["input"])
            hidden = bool(kept)  # it may be a secret in the wrong place
            wrong, given = problem["msg"].removeprefix("Value error, "), repr(problem["input"])
            got = "" if hidden or given in wrong else f", got {without_secrets(given)}"
            lines.append(f"Setting {dotted!r}{where}: {wrong}{got}.")
    return "\n".join(lines)


def _set_by(problem: ErrorDetails, origin: Mapping[str, str]) -> str:
    """Where the key was set, or the list that it is a part of; "" when it was set nowhere."""
    words = [str(part) for part in problem["loc"]]
    keys = (".".join(words[:length]) for length in range(len(words), min(len(words), 2) - 1, -1))
    return next((origin[key] for key in keys if key in origin), "")


def _of_judge(problem: ErrorDetails, error: ValidationError) -> bool:
    """Whether the section judge has the same problem."""
    loc = ("judge", *problem["loc"][1:])
    return any(other["loc"] == loc and other["type"] == problem["type"] for other in error.errors())


def nearest_key(dotted: str) -> str:
    """The valid dotted key that looks most like `dotted`; the last word counts as much as the whole."""
    last = dotted.rpartition(".")[2]

    def likeness(valid: str) -> float:
        whole = difflib.SequenceMatcher(None, dotted, valid).ratio()
        return whole + difflib.SequenceMatcher(None, last, valid.rpartition(".")[2]).ratio()

    return max((key for key, _ in described_keys()), key=likeness)
