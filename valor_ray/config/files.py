"""Profiles as files, and `--set a.b=c`: unchecked settings, each with where it was set, for `config.Config.load`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from valor_ray.config.access import without_secrets
from valor_ray.errors import ConfigError

PROFILES = Path(__file__).parents[1] / "profiles"


def profile_names() -> list[str]:
    """The profiles that ship with the package."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def read_profile(profile: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a profile (a name, or a YAML file) over its base, and for each dotted key where it was set.

    Raises ConfigError.
    """
    origin: dict[str, str] = {}
    values: dict[str, Any] = {}
    if profile in profile_names():
        _merge_shipped(profile, values, origin)
        return values, origin
    path = Path(profile).expanduser()
    if not path.is_file():
        near = difflib.get_close_matches(profile, profile_names(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"Unknown profile {profile!r}.{hint} Valid: {', '.join(profile_names())}, or the path of a YAML file."
        )
    own = _read_yaml(path)
    base = own.pop("base", "local")
    if base not in profile_names():
        raise ConfigError(f"{path}: base: {base!r} is not a profile. Valid: {', '.join(profile_names())}.")
    _merge_shipped(base, values, origin)
    merge(values, own, str(path), origin)
    return values, origin


def _merge_shipped(name: str, values: dict[str, Any], origin: dict[str, str]) -> None:
    """A profile of the package, over the one that it names as its base."""
    own = _read_yaml(PROFILES / f"{name}.yaml")
    if (base := own.pop("base", None)) is not None:
        _merge_shipped(base, values, origin)
    merge(values, own, f"profile {name}", origin)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the profile {path}: {without_secrets(str(error))}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"The profile {path} must hold sections such as `policy:`, not a {type(content).__name__}."
        )
    return content


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=c` as nested settings. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ConfigError(
            f"--set {without_secrets(text)}: write it as section.key=value, for example --set policy.temperature=0."
        )
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        why = (
            getattr(error, "problem", None) or "it is no text"
        )  # the error itself repeats a part of the value
        raise ConfigError(
            f"--set {without_secrets(text)}: the value is not valid YAML ({why}). Quote it."
        ) from None
    for part in reversed(key.split(".")):
        nested = {part.strip(): nested}
    return dict(nested)


def merge(
    into: dict[str, Any], new: Mapping[Any, Any], source: str, origin: dict[str, str], prefix: str = ""
) -> None:
    """Put the settings `new` over `into`; `origin` learns that each of their dotted keys was set by `source`."""
    for key, value in new.items():
        dotted = f"{prefix}{key}"
        present = into.get(key)
        if isinstance(value, Mapping) and isinstance(present, dict):
            merge(present, value, source, origin, f"{dotted}.")
            continue
        into[key] = {}
        if isinstance(value, Mapping):
            merge(into[key], value, source, origin, f"{dotted}.")
        else:
            into[key] = value
            origin[dotted] = source
