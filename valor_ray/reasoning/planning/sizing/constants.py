"""What `valor plan` reckons with: a file of the package, each figure with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from valor_ray.errors import ConfigError
from valor_ray.reasoning.planning.memory import Shape, read_shape

FILE = Path(__file__).with_name("constants.yaml")
DEFAULT_CARD = "h100"


@dataclass(frozen=True)
class Card:
    """A kind of GPU."""

    name: str
    gib: float  # memory
    tflops: float  # dense products in bfloat16, published
    memory_tb_s: float
    link_gb_s: float  # to the other GPUs of its node, one way


@dataclass(frozen=True)
class Constants:
    """Figures of the file; their meanings and sources stand there."""

    node_gpus: float
    network_gb_s: float
    prompt_tokens: float
    reply_share: float
    engine_seats: float
    engine_memory_share: float
    engine_peak_share: float
    engine_room: float
    learner_share_small: float
    learner_share_large: float
    link_share: float
    write_gb_s: float
    read_gb_s: float
    transfer_gb_s: float
    judge_call_s: float
    gateway_cpu_ms: float


@dataclass(frozen=True)
class Known:
    """A file of constants, read."""

    constants: Constants
    sources: Mapping[str, str]  # of each constant
    card: Card
    shapes: Mapping[str, Shape]

    def shape(self, model: str) -> Shape:
        """Raises ConfigError where the model lies neither here nor in the file."""
        shape = self.shapes.get(model.partition("@")[0]) or read_shape(model)
        if shape is None:
            raise ConfigError(
                f"The shape of policy.model {model!r} is not known here. Get it with `hf download {model}`, or add it "
                "under `models:` in a copy of the constants (--constants FILE)."
            )
        return shape

    def assumptions(self) -> list[dict[str, Any]]:
        """Each figure with its source."""
        return [
            {
                "name": field.name,
                "value": getattr(self.constants, field.name),
                "source": self.sources[field.name],
            }
            for field in fields(Constants)
        ]


def read_constants(card: str, path: Path = FILE) -> Known:
    """Raises ConfigError naming what is wrong with the file, or the cards that it knows."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        cards, figures = content["cards"], content["constants"]
        constants = Constants(**{name: float(given["value"]) for name, given in figures.items()})
        sources = {name: str(given["source"]) for name, given in figures.items()}
        shapes = {name: Shape(**given) for name, given in (content.get("models") or {}).items()}
        known = {name: Card(name, **given) for name, given in cards.items()}
    except OSError as error:
        raise ConfigError(f"--constants {path} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"--constants {path} does not have the form of {FILE} ({type(error).__name__}: {error}). Copy that and "
            "change its figures."
        ) from error
    if card not in known:
        raise ConfigError(
            f"--card {card}: known are {', '.join(known)}. Others go under `cards:` in --constants FILE."
        )
    return Known(constants, sources, known[card], shapes)
