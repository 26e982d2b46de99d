"""From settings to a Chat: one gateway per endpoint, and a panel when there are several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from valor_ray.judges.gateway.combine import SharingPanel, VotingPanel
from valor_ray.judges.gateway.gateway import CallEvent, Gateway
from valor_ray.judges.gateway.ledger import LedgerPort

if TYPE_CHECKING:
    from valor_ray.config.tree import JudgeConfig

Judges = Gateway | SharingPanel | VotingPanel


def open_chat(
    config: JudgeConfig, ledger: LedgerPort, observe: Callable[[CallEvent], None] | None = None
) -> Judges:
    """ports.Chat for these settings; close it after use. Raises ConfigError when an API key is not set.

    config.base_url must be set: whoever wants the offline judge starts it first (judges/offline.py).
    """
    gateways = [Gateway(endpoint, config, ledger, observe=observe) for endpoint in (config, *config.others)]
    if len(gateways) == 1:
        return gateways[0]
    return SharingPanel(gateways) if config.combine == "share" else VotingPanel(gateways)


def gateways_of(chat: Judges) -> tuple[Gateway, ...]:
    """The gateways behind a chat."""
    return (chat,) if isinstance(chat, Gateway) else chat.gateways
