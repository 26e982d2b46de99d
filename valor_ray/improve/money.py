"""One limit in US dollars over all stages. The account is what the stores of answers say, failed tries included."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.errors import ConfigError
from valor_ray.improve.stages import Job, Kind
from valor_ray.judges.gateway.answers import FILE, AnswerStore

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig
    from valor_ray.config.tree import Config

ANSWERS = "answers"  # in the job's folder: of all its stages, so that none pays for what another has asked
_FIRST = 0.75  # share of what is left for the first of two models that a stage asks
NOTHING = 0.01  # share of the limit below which nothing is left


@dataclass(frozen=True)
class Payer:
    """A section of the settings whose model costs money, and where its answers are kept."""

    section: str  # "judge", "vlm"
    model: str
    place: Path
    limit: float | None  # of the user's own for this model

    @property
    def account(self) -> str:
        return f"{self.place}:{self.model}"

    def spent(self) -> float:
        """What is in the place, an earlier job's answers too. Raises JudgeError."""
        if not (self.place / FILE).exists():
            return 0.0
        store = AnswerStore(self.place)
        try:
            return store.spent_usd(self.model)
        finally:
            store.close()


def payers(job: Job, config: Config) -> list[Payer]:
    """Of the endpoints that are not the offline judge; one where judge and vlm are the same."""
    sections: dict[str, JudgeConfig] = {"judge": config.judge, config.vlm_part: config.vlm}
    return [
        Payer(section, one.model, _place(job, section, one), one.max_cost_usd)
        for section, one in sections.items()
        if one.base_url is not None
    ]


def places(job: Job, config: Config) -> list[str]:
    """Settings by which all stages keep their answers in one place."""
    kept: dict[str, JudgeConfig] = {"judge": config.judge, config.vlm_part: config.vlm}
    return [
        f"{name}.cache_dir={json.dumps(str(_place(job, section, one)))}"
        for section, one in kept.items()
        if one.base_url is not None and one.cache_dir is None
        for name in _written(section, config)
    ]


def total(accounts: Iterable[Payer]) -> float:
    """What all have spent: two sections with the same model and place have one account."""
    return sum(each.spent() for each in {each.account: each for each in accounts}.values())


def check_limit(config: Config) -> None:
    """Raises ConfigError where a limit over all could not be kept."""
    for section, one in {"judge": config.judge, config.vlm_part: config.vlm}.items():
        if one.base_url is not None and not (one.price_in or one.price_out):
            raise ConfigError(
                f"--max-cost-usd wants {section}.price_in and {section}.price_out, which say what a call costs."
            )
        if any(other.base_url is not None for other in one.others):
            raise ConfigError(
                f"--max-cost-usd cannot be shared with {section}.others: give each of them max_cost_usd in the "
                "profile, and leave --max-cost-usd out."
            )


def asked_by(kind: Kind, config: Config, words: Sequence[str] = ()) -> tuple[str, ...]:
    """Sections whose models a stage asks, the one that it asks most first. words: of an evaluation's command."""
    if kind is Kind.GROUNDING:
        return ()
    wanted = ["vlm"]
    if kind is Kind.REASONING:
        wanted = ["judge", "vlm"]
    elif kind is Kind.EVALUATE:
        if "--select" in words or config.answer.select in ("judge", "scenes"):
            wanted = ["judge", "vlm"]  # four heads of each reply
        elif "gqa" in words[1:2]:
            wanted = ["vlm", "judge"]
    named = [config.vlm_part if section == "vlm" else section for section in wanted]
    return tuple(dict.fromkeys(named))


def asking(asked: Sequence[str], accounts: Sequence[Payer]) -> list[Payer]:
    """Of the sections that a stage asks, those that pay, in that order."""
    return [each for section in asked for each in accounts if each.section == section]


def shares(payers: Sequence[Payer], spent: Mapping[str, float], left: float, config: Config) -> list[str]:
    """Settings by which a stage cannot spend more than `left`: of what a model has cost in its place, so much more.

    payers: whom the stage asks, the one that it asks most first. spent: by Payer.account.
    """
    portions = [1.0] if len(payers) == 1 else [_FIRST, 1 - _FIRST]
    settings = []
    for payer, portion in zip(payers, portions, strict=False):
        most = spent[payer.account] + portion * max(left, 0.0)
        own = most if payer.limit is None else payer.limit
        limit = f"max_cost_usd={min(most, own):.6f}"
        settings += [f"{name}.{limit}" for name in _written(payer.section, config)]
    return settings


def bound_by_own(payers: Sequence[Payer], spent: Mapping[str, float], left: float) -> bool:
    """Whether a limit of the user's own for a model is the lower one: what it ends is not ours to explain."""
    return any(
        each.limit is not None and each.limit < spent[each.account] + max(left, 0.0) for each in payers
    )


def _written(section: str, config: Config) -> tuple[str, ...]:
    """Sections that a setting is written into: where judge and vlm are one, what vlm says for itself would hold."""
    return ("judge", "vlm") if config.vlm_part == "judge" else (section,)


def _place(job: Job, section: str, endpoint: JudgeConfig) -> Path:
    if endpoint.cache_dir is not None:
        return Path(endpoint.cache_dir).expanduser()
    return job.folder / ANSWERS / section
