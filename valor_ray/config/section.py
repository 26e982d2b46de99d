"""What every section of the settings is made of, and how a secret comes in."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict

from valor_ray.errors import ConfigError


class Section(BaseModel):
    """A part of the tree: immutable, and closed to keys it does not define."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


def secret(variable: str, key: str, what: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"The environment variable {variable} (named by {key}) is not set. Export {variable}=<{what}>, "
            f"or name another variable with --set {key}=NAME, or none with --set {key}=null."
        )
    return value
