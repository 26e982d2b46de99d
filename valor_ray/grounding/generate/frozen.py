"""What a job of proposals keeps to from its first start on: one model, one mining run, one convention,
one way to send pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError
from valor_ray.grounding.generate.calibrate import Calibration
from valor_ray.judges.boxes.proposals import CONVENTIONS, Convention, prompt_version
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

CALIBRATION = "calibration.json"  # in the job's folder


@dataclass(frozen=True)
class Frozen:
    """What the whole job keeps to: calibration.json."""

    model: str
    run: str  # the mining run
    format: str  # one of CONVENTIONS
    calibration: Calibration | None  # None: the format was given
    known: Mapping[str, Any]  # which pictures it was calibrated on
    sent: Mapping[str, Any] = field(default_factory=dict)  # as `as_sent`

    @property
    def convention(self) -> Convention:
        return CONVENTIONS[self.format]

    def save(self, folder: Path) -> None:
        """Raises StorageError."""
        replace_text(folder / CALIBRATION, json.dumps(asdict(self), indent=2) + "\n")


def as_sent(config: Config) -> dict[str, Any]:
    """What beside the model decides its answers: settings by name, and the version of the prompt."""
    vlm = config.vlm
    return {
        "vlm.extra": dict(vlm.extra),
        "vlm.max_side": vlm.max_side,
        "vlm.jpeg_quality": vlm.jpeg_quality,
        "vlm.noise": vlm.noise,
        "grounding.picture_format": config.grounding.picture_format,
        "prompt": prompt_version(),
    }


def frozen_before(
    folder: Path, model: str, run: Path, format_: str | None, sent: Mapping[str, Any]
) -> Frozen | None:
    """What an earlier start of the job has frozen; None when there was none.

    format_: that is asked for now, None for any. Raises ConfigError when the folder's proposals are of another model,
    run or format, were asked for in another way (`as_sent`), or the file cannot be read.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        calibration = None if saved["calibration"] is None else Calibration(**saved["calibration"])
        frozen = Frozen(**{**saved, "calibration": calibration})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"Cannot read {path}: {error!r}. Give another --out.") from error
    if frozen.format not in CONVENTIONS:
        raise ConfigError(f"{path} names a format that is not known: {frozen.format!r}. Give another --out.")
    wanted = {"model": model, "run": str(run.absolute()), "format": format_ or frozen.format}
    for name, value in wanted.items():
        if (before := getattr(frozen, name)) != value:
            raise ConfigError(
                f"--out {folder} holds proposals of {name} {before}, not of {value}. Give another --out: a job keeps "
                "to one model, one run and one format."
            )
    if other := [name for name in sent if frozen.sent.get(name) != sent[name]]:
        raise ConfigError(
            f"--out {folder} holds proposals that were asked for with another {', '.join(other)}. Give another --out."
        )
    return frozen
