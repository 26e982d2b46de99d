"""Shipped weights that training gave: from which they were trained, and how. Training itself starts from those."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from valor_ray.config.models import SHIPPED_PREFIX, resolve_model
from valor_ray.errors import ConfigError

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

ORIGIN, WEIGHTS = "origin.json", "model.safetensors"  # in a folder of such weights; bases have no origin.json
_TRAINABLE = ("policy", "detector")
_AGAIN = "Get the whole repository again (git status shows changed files)."


class Origin(BaseModel):
    """origin.json: where trained weights come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(pattern=f"^{SHIPPED_PREFIX}.+")  # shipped weights, that nobody has trained further
    base_sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of its model.safetensors
    sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of model.safetensors
    commit: str = Field(pattern="^[0-9a-f]{7,40}$")  # of the code that trained
    command: str = Field(min_length=1)
    seed: int
    steps: int = Field(ge=1)  # updates behind these weights


def origin_of(model: str) -> Origin | None:
    """Where a `model` setting's weights come from; None for bases, and for what does not ship.

    Raises ConfigError: not there, a broken origin.json, or one whose base was trained itself.
    """
    if not model.startswith(SHIPPED_PREFIX):
        return None
    path = Path(resolve_model(model)) / ORIGIN
    if not path.is_file():
        return None
    origin = _read(path)
    if (Path(resolve_model(origin.base)) / ORIGIN).is_file():
        raise ConfigError(
            f"{path}: base {origin.base} was trained itself. Name what that was trained from: training starts there."
        )
    return origin


def _read(path: Path) -> Origin:
    try:
        return Origin.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}. {_AGAIN}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'all of it'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigError(f"{path} does not say where the weights come from ({wrong}). {_AGAIN}") from error


def check_origin(model: str) -> Origin | None:
    """As `origin_of`; raises ConfigError also where weights or base are not the files that origin.json is about."""
    origin = origin_of(model)
    if origin is not None:
        for name, said in ((model, origin.sha256), (origin.base, origin.base_sha256)):
            path = Path(resolve_model(name)) / WEIGHTS
            if not path.is_file():
                raise ConfigError(f"{path} is missing. {_AGAIN}")
            if (found := sha256_of(path)) != said:
                raise ConfigError(
                    f"{path} (sha256 {found[:12]}) is not the file that {ORIGIN} of {model} is about ({said[:12]}). "
                    f"{_AGAIN}"
                )
    return origin


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def told(model: str) -> str:
    """A `model` setting for the user: with what it was trained from, where it ships and was. Raises ConfigError."""
    origin = origin_of(model)
    return model if origin is None else f"{model} (trained from {origin.base})"


def on_bases(config: Config) -> tuple[Config, str]:
    """The settings with the bases in place of shipped trained weights, and a line about that; "" where there are none.

    For whatever trains, or measures training. Any other model stays what it is. Raises ConfigError.
    """
    changed, bases, trained = {}, [], []
    for part in _TRAINABLE:
        section = getattr(config, part)
        if (origin := origin_of(section.model)) is None:
            continue
        changed[part] = section.model_copy(update={"model": origin.base})
        if part != "policy" or config.policy.endpoint is None:  # behind an endpoint another model writes
            bases.append(origin.base)
            trained.append(section.model)
    of = f"the base{'s' if len(bases) > 1 else ''} of {' and '.join(trained)}"
    line = f"training starts from {' and '.join(bases)}, {of}" if bases else ""
    return config.model_copy(update=changed), line
