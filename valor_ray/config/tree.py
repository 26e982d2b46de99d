"""The one settings tree: profile (YAML) -> `--set a.b=c` overrides -> checked, frozen values.

This package is also the only place that reads environment variables (API key, token, RAY_ADDRESS), so that a
secret cannot get into a program, a log or a run folder by accident.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ValidationError

from valor_ray.config.files import merge, parse_override, read_profile
from valor_ray.config.grounding import GroundingConfig
from valor_ray.config.judging import JudgeConfig, RewardConfig
from valor_ray.config.models import DepthConfig, DetectorConfig, PolicyConfig
from valor_ray.config.section import Section
from valor_ray.config.service import ImageConfig, RayConfig, SandboxConfig, ServerConfig
from valor_ray.config.training import GrpoConfig
from valor_ray.errors import ConfigError


class Config(Section):
    """The whole tree."""

    policy: PolicyConfig
    detector: DetectorConfig
    depth: DepthConfig
    judge: JudgeConfig
    sandbox: SandboxConfig = SandboxConfig()
    reward: RewardConfig = RewardConfig()
    grpo: GrpoConfig = GrpoConfig()
    grounding: GroundingConfig = GroundingConfig()
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


def described_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted key that can be set, with its description."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from described_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""


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
