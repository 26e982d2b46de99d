"""What every section of the settings is made of, and how a secret comes in."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from valor_ray.config.on_disk import on_disk
from valor_ray.errors import ConfigError

DiskPath = Annotated[str, AfterValidator(on_disk)]


class Section(BaseModel):
    """A part of the tree: immutable, and closed to keys it does not define."""

    # input: an address may hold a password; `Config.load` says what was given, without it
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


def secret(variable: str, key: str, what: str) -> str:
    """The value of an environment variable that the setting `key` names. Raises ConfigError when it is not set."""
    value = os.environ.get(variable, "").strip()
    if value:
        return value
    other = f"name another variable with --set {key}=NAME, or none with --set {key}=null."
    if "[" in key:  # a member of a list, which --set cannot reach
        other = "name another variable there, null for none."
    raise ConfigError(
        f"The environment variable {variable} (named by {key}) is not set. Export {variable}=<{what}>, or {other}"
    )
