"""Models of the hub at one revision, `owner/name@revision`: then engine, learner and reference are of one commit."""

from __future__ import annotations

import re
from pathlib import Path

from valor_ray.config.models import resolve_model
from valor_ray.errors import ConfigError

_PINNED = re.compile(r"([\w.-]+/[\w.-]+)@([\w./-]+)")
_UNUSED = (
    "original/*",
    "*.gguf",
    "*.onnx",
    "*.h5",
    "*.msgpack",
)  # copies of the weights in formats of others


def loadable(model: str, *, fetch: bool = True) -> str:
    """What loads a `model` setting: a path, or a hub id. One with a revision is fetched, and is then a path.

    fetch: False takes what is on this machine alone.

    Called where a model is loaded, by every process that loads it; those of one machine share the hub's cache, and
    wait for each other's download there. Raises ConfigError for what is not there, naming it.
    """
    place = resolve_model(model)
    pinned = _PINNED.fullmatch(place)
    if pinned is None or Path(place).exists():
        return place
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, revision = pinned.groups()
    try:
        return str(
            snapshot_download(
                repository, revision=revision, ignore_patterns=list(_UNUSED), local_files_only=not fetch
            )
        )
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"The hub has no model {repository} ({model!r}), or shows it to nobody without a token (HF_TOKEN)."
        ) from error
    except RevisionNotFoundError as error:
        raise ConfigError(
            f"{repository} has no revision {revision!r} ({model!r}). Give a branch, a tag or a full commit hash."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"Cannot fetch {model!r}: {reason} Check the network, or fetch it first on every machine: hf download "
            f"{repository} --revision {revision}"
        ) from error
