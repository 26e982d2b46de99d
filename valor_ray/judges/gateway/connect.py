"""From settings to a Judge: one gateway per endpoint, combined when there are several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from valor_ray.judges.gateway.combine import SharingJudges, VotingJudges
from valor_ray.judges.gateway.gateway import CallEvent, Gateway
from valor_ray.judges.gateway.ledger import LedgerPort

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig, Part

Judges = Gateway | SharingJudges | VotingJudges


def open_judge(
    config: JudgeConfig,
    ledger: LedgerPort,
    observe: Callable[[CallEvent], None] | None = None,
    part: Part = "judge",
) -> Judges:
    """ports.Judge for these settings; close it after use. Raises ConfigError when an API key is not set.

    part: the section that they stand in, for messages.
    config.base_url must be set: whoever wants the offline judge starts it first (gateway/offline.py).
    """
    gateways = [
        Gateway(endpoint, config, ledger, observe=observe, section=section)
        for section, endpoint in config.endpoints(part).items()
    ]
    if len(gateways) == 1:
        return gateways[0]
    return SharingJudges(gateways) if config.combine == "share" else VotingJudges(gateways)


def gateways_of(judge: Judges) -> tuple[Gateway, ...]:
    """The gateways behind a judge."""
    return (judge,) if isinstance(judge, Gateway) else judge.gateways
