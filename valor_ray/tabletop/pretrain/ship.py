"""Puts what a training run gave beside the bases that ship, with origin.json: from what it was trained, and how.

    python -m valor_ray.tabletop.pretrain.ship --run RUN --name trained-policy --command "valor train reasoning ..."

RUN is a folder of `valor train reasoning` or `valor train grounding`; what goes is its `chosen/`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from valor_ray.config.models import CHECKPOINTS, SHIPPED_PREFIX, resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, ValorError
from valor_ray.models.checkpoint import folder_tensors
from valor_ray.models.shipped import ORIGIN, WEIGHTS, Origin, check_origin, sha256_of
from valor_ray.runs.folder import GROUNDING, REASONING, kind_of

_MODEL = (
    WEIGHTS, "config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


def ship(run: Path, name: str, command: str, commit: str) -> Path:
    """Copy RUN/chosen to the shipped folder `name`, in place of one that was there; returns it.

    Raises ConfigError: another folder, nothing chosen, or not trained from weights that ship; CheckpointError.
    """
    chosen = run / "chosen"
    if not (chosen / "config.json").is_file():
        raise ConfigError(f"{chosen} holds no model: the run has not come to its end, or has chosen none.")
    folder_tensors(chosen)
    start, seed, steps = _trained(run)
    base, target = _base(start, run), CHECKPOINTS / name
    if target.exists() and not (target / ORIGIN).exists():
        raise ConfigError(f"{target} is no folder of trained weights. Give another --name.")
    made = Origin(
        base=SHIPPED_PREFIX + base.name,
        base_sha256=sha256_of(base / WEIGHTS),
        sha256=sha256_of(chosen / WEIGHTS),
        commit=commit,
        command=command,
        seed=seed,
        steps=steps,
    )
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in _MODEL:
        if (chosen / file).is_file():
            shutil.copyfile(chosen / file, target / file)
    (target / ORIGIN).write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    check_origin(SHIPPED_PREFIX + name)
    return target


def _trained(run: Path) -> tuple[str, int, int]:
    """Of a finished run: the model that it began with, its seed, the updates behind what it chose."""
    kind = kind_of(run)
    if kind not in (REASONING, GROUNDING):
        raise ConfigError(f"--run {run} is no folder of `{REASONING.command}` or `{GROUNDING.command}`.")
    config = Config.load(str(run / "config.yaml"))
    if kind is REASONING:
        steps = json.loads((run / "take.json").read_text(encoding="utf-8"))["step"]
        if steps == 0:
            raise ConfigError(f"{run} chose the policy that it began with: there is nothing trained to ship.")
        return config.policy.model, config.grpo.seed, steps
    learned = json.loads((run / "learned.json").read_text(encoding="utf-8"))
    return config.detector.model, config.finetune.seed, learned["steps"]


def _base(start: str, run: Path) -> Path:
    """The shipped base with the very weights that the run began with, under whatever name it had them."""
    weights = Path(resolve_model(start)) / WEIGHTS
    begun = sha256_of(weights) if weights.is_file() else ""
    bases = (path for path in sorted(CHECKPOINTS.glob("*/")) if not (path / ORIGIN).exists())
    for path in bases:
        if (path / WEIGHTS).is_file() and sha256_of(path / WEIGHTS) == begun:
            return path
    raise ConfigError(f"{run} was trained from {start}, and no base with these weights ships.")


def _head() -> str:
    """The commit that is checked out here."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError("No git commit can be read here: give --commit, that of the training.") from error
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR")
    parser.add_argument("--name", required=True, help="of the shipped folder, as trained-policy")
    parser.add_argument("--command", required=True, help="that the run was made with")
    parser.add_argument("--commit", help="of the code that trained (default: the one checked out)")
    args = parser.parse_args()
    try:
        print(ship(args.run, args.name, args.command, args.commit or _head()))
    except ValorError as error:
        print(f"ship: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
