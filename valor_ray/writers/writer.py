"""The policy behind an endpoint: replies as they come, each kept before it is used; failures told apart."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valor_ray.config.judging import WRITER
from valor_ray.errors import ConfigError, JudgeError, PolicyError, QuestionError
from valor_ray.judges.gateway.gateway import CallEvent, Gateway
from valor_ray.ports import Turn
from valor_ray.records import Reply
from valor_ray.writers.request import sent_extra, writer_request

if TYPE_CHECKING:
    from valor_ray.config.models import PolicyConfig
    from valor_ray.judges.gateway.asked import Took
    from valor_ray.judges.gateway.ledger import LedgerPort
    from valor_ray.ports import Judge
    from valor_ray.records import JudgeReply


class EndpointWriter:
    """ports.Policy over a gateway: a sample of a seed is paid for once and then kept.

    Made by `open_writer`, for a replica or in one process; any number of calls may wait at a time, each for the
    endpoint and the account, at most for its patience.
    """

    def __init__(
        self, judge: Judge, config: PolicyConfig, *, patient: bool = False, whole: bool = False
    ) -> None:
        """judge: of the endpoint, for requests of free text. patient: waits for an endpoint that is down as long as
        `patience_s` says, as a job may; else as long as its retries take, as a user may. whole: questions are
        whole prompts, as other methods write them."""
        assert config.endpoint is not None
        self._judge, self._config, self._whole = judge, config, whole
        endpoint = config.endpoint
        self._model = endpoint.model
        self._patience_s = None if patient else endpoint.timeout_s * (endpoint.retries + 1)

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        """n replies; a refusal is one, too (`nothing` says why). Without a seed they are new ones each time.

        Raises QuestionError when the endpoint refuses this request, PolicyError when it cannot be asked.
        """
        base = secrets.randbits(31) if seed is None else seed
        requests = [
            writer_request(
                question,
                self._config,
                seed=base,
                sample=sample,
                patience_s=self._patience_s,
                whole=self._whole,
                turns=turns,
            )
            for sample in range(n)
        ]
        try:
            answers = await self._judge.ask(requests)
        except JudgeError as error:
            raise PolicyError(str(error)) from error
        return [self._reply(answer) for answer in answers]

    def _reply(self, answer: JudgeReply) -> Reply:
        content = answer.content
        if content is None:
            raise (QuestionError if answer.outcome == "rejected" else PolicyError)(answer.missing)
        return Reply(
            text=content["text"],
            token_ids=(),
            logprobs=(),
            policy_version=self._model,
            finish_reason=content["finish"],
            nothing=_why_nothing(content, self._model),
            counted=(content["prompt_tokens"], content["completion_tokens"]),
            cost_usd=answer.usage.cost_usd,
        )


class OpenWriter(EndpointWriter):
    """An EndpointWriter with the gateway that is its own; `close` after use."""

    def __init__(
        self, gateway: Gateway, config: PolicyConfig, *, patient: bool = False, whole: bool = False
    ) -> None:
        super().__init__(gateway, config, patient=patient, whole=whole)
        self._gateway = gateway

    @property
    def took(self) -> Took:
        """What its replies have taken, those that were kept apart."""
        return self._gateway.took

    def gauges(self) -> dict[str, float]:
        return self._gateway.gauges()

    async def close(self) -> None:
        await self._gateway.close()


def open_writer(
    config: PolicyConfig,
    ledger: LedgerPort,
    observe: Callable[[CallEvent], None] | None = None,
    *,
    patient: bool = False,
    whole: bool = False,
) -> OpenWriter:
    """The writer of `config.endpoint`; patient, whole: as of EndpointWriter.

    ledger: where replies are kept. Raises ConfigError when a key is not set."""
    assert config.endpoint is not None
    endpoint = config.endpoint.model_copy(update={"extra": sent_extra(config, config.endpoint)})
    gateway = Gateway(endpoint, endpoint, ledger, observe=observe, section=WRITER, use_n=endpoint.use_n)
    return OpenWriter(gateway, config, patient=patient, whole=whole)


def refuse_to_train(config: PolicyConfig) -> None:
    """Raises ConfigError for a policy behind an endpoint."""
    if config.endpoint is not None:
        raise ConfigError(
            f"policy.endpoint: {config.endpoint.model} at {config.endpoint.address} cannot be trained: an endpoint has "
            "no weights to learn and gives no log-probabilities of what it sampled. Train a policy of your own "
            "(policy.endpoint=null, policy.model), or let it write for serve, eval and mine."
        )


def _why_nothing(content: Mapping[str, Any], model: str) -> str:
    """For the user; "" where there is text."""
    why = content["why"] or "no reason given"
    match "" if content["text"] else content["finish"]:
        case "":
            return ""
        case "refusal":
            return f"the writer {model!r} declined: {why}"
        case "content_filter":
            return f"the provider of the writer {model!r} took offence: {why}"
        case "length":
            return (
                f"the writer {model!r} was cut at its token limit before it wrote any text ({why}). Raise "
                "policy.max_tokens, or have it think less (policy.endpoint.thinking_as, or reasoning_effort in extra)"
            )
    return f"the writer {model!r} gave an empty reply ({why}), twice"
