"""Settings of endpoints (judges, the model that sees pictures), their gateways, and the reward made of verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from valor_ray.config.access import Access, access_to, check_address, check_headers, shown_address
from valor_ray.config.section import DiskPath, Section, secret
from valor_ray.records import JUDGED, Head

RULE_BASED = (
    "judge.base_url is null: the offline judge is rule-based and knows tabletop questions only. Its verdicts on other "
    "questions, and on what another policy writes, are no basis for training; for these set judge.base_url."
)  # for the user, where another policy or other questions come before it
Part = Literal["judge", "vlm"]  # the sections of the tree that name an endpoint
WRITER = "policy.endpoint"  # the section of one that writes programs
_LEAST_LEFT = 0.01  # weight beside that of the scene tests
_OURS = ("model", "messages", "response_format", "stream", "n")  # fields of a request that mean what we read
_SECRET = re.compile(
    r"api[_-]?key|secret|password|credential|authorization|((auth|access|bearer)[_-]?|^)token$", re.IGNORECASE
)


class Endpoint(Section):
    """A model at an OpenAI-compatible address, and the account that pays for it."""

    base_url: str | None = Field(None, description="e.g. https://host/v1; null = start the offline judge")
    model: str = Field(description="model name sent to the endpoint")
    api_key_env: str | None = Field(
        "OPENAI_API_KEY", description="variable with the API key; null = no key needed"
    )
    timeout_s: float = Field(60, gt=0, description="longest time of one try, seconds")
    requests_per_minute: int | None = Field(
        None, ge=1, description="the account's limit for this model, for the whole cluster; null = none"
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="the account's limit for this model, for the whole cluster; null = none"
    )
    max_in_flight: int = Field(512, ge=1, description="most calls at a time from one gateway replica")
    price_in: float = Field(0, ge=0, description="US dollars per million prompt tokens, for the accounts")
    price_out: float = Field(0, ge=0, description="US dollars per million completion tokens")
    max_cost_usd: float | None = Field(
        None,
        ge=0,
        description="most US dollars for this model's answers in one place (a run's folder, or cache_dir), failed "
        "tries included: then a run ends, and goes on with a higher limit; wants prices; null = no limit",
    )
    answer_format: Literal["auto", "json_schema", "json_object", "prompt"] = Field(
        "auto",
        description="how the schema of answers is asked for: as structured output, as JSON, or in words (the last two "
        "with the schema in the prompt); auto = the first that the endpoint takes",
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="further fields of each request, as {reasoning_effort: minimal}; saved with the run: no secrets",
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="further HTTP headers; secrets come from the environment: {X-Api-Key: '${MY_VARIABLE}'}",
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, base_url: str | None) -> str | None:
        if base_url is not None:
            check_address(base_url)
        return base_url

    @field_validator("extra")
    @classmethod
    def _adds_to_the_request(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in extra:
            if key in _OURS:
                raise ValueError(f"{key} is set by the gateway and cannot be an extra field")
        if (hidden := _secret_key(extra)) is not None:
            raise ValueError(
                f"{hidden} looks like a secret, and extra is saved with the run. Name the variable that holds the key "
                "in api_key_env"
            )
        try:
            json.dumps(extra, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"extra must be JSON: {error}") from error
        return extra

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        check_headers(headers)
        return headers

    @model_validator(mode="after")
    def _limit_has_a_price(self) -> Self:
        if (
            self.max_cost_usd is not None
            and self.base_url is not None
            and not (self.price_in or self.price_out)
        ):
            raise ValueError("max_cost_usd wants price_in and price_out, which say what a call costs")
        return self

    @property
    def address(self) -> str:
        """base_url for messages: without user, password and query."""
        return shown_address(self.base_url or "")

    def access(self, section: str, api_key: str | None = None) -> Access:
        """Headers and proxy for each request. api_key: to send, None: as the settings say. Raises ConfigError."""
        if api_key is None and self.api_key_env is not None:
            api_key = self.api_key(section)
        return access_to(self.base_url or "", section, self.headers, api_key)

    def api_key(self, section: str) -> str:
        """The key for the endpoint. section: of the settings, for the message: "judge", "vlm", "judge.others[0]".

        Raises ConfigError when `api_key_env` names a variable that is not set.
        """
        if self.api_key_env is None:
            return "none"
        return secret(self.api_key_env, f"{section}.api_key_env", "your endpoint's API key")


def _secret_key(value: JsonValue) -> str | None:
    """The first key, at any depth, whose value should not be written down."""
    if isinstance(value, dict):
        for key, item in value.items():
            if _SECRET.search(key):
                return key
            if (hidden := _secret_key(item)) is not None:
                return hidden
    if isinstance(value, list):
        return next((hidden for item in value if (hidden := _secret_key(item)) is not None), None)
    return None


class GatewayConfig(Endpoint):
    """An endpoint, and how its gateway goes about asking it."""

    retries: int = Field(
        5,
        ge=0,
        description="further tries after a 5xx, a time-out or a lost connection; a 429 is waited out; from 5 on an "
        "outage is waited out, too: six failures in a row open the breaker",
    )
    patience_s: float = Field(
        3600,
        ge=0,
        description="how long scoring and mining wait for a model that is down before an answer is missing, seconds",
    )
    first_in_flight: int = Field(64, ge=1, description="calls at a time with which a gateway replica starts")
    hedge: bool = Field(True, description="send a straggler a second time and take the first answer")
    cache_dir: DiskPath | None = Field(
        None, description="folder where answers are kept for ever; null = in the run's own folder"
    )


class JudgeConfig(GatewayConfig):
    """An endpoint that judges or sees, others beside it, and the gateway through which they are asked."""

    others: tuple[Endpoint, ...] = Field(
        (), description="further judges that share the work with the first, or vote with it"
    )
    combine: Literal["share", "vote"] = Field(
        "share",
        description="share: each call goes to one judge; vote: each call goes to all, the majority counts",
    )
    replicas: int = Field(1, ge=1, description="gateway replicas (Serve)")
    max_replicas: int | None = Field(
        None, ge=1, description="Serve adds gateways up to so many while calls wait; null = always `replicas`"
    )
    noise: float = Field(0, ge=0, le=1, description="offline judge: share of verdicts that are turned round")
    delay_s: float = Field(
        0, ge=0, description="offline judge: wait before each answer, as a hosted judge's would be, seconds"
    )
    jpeg_quality: int = Field(92, ge=1, le=100, description="of the pictures sent")
    max_side: int = Field(1024, ge=64, description="pictures are scaled down to this long side, px")

    def endpoints(self, section: str) -> dict[str, Endpoint]:
        """All endpoints of this section, by the section's name as messages say it: judge, judge.others[0], ..."""
        others = {f"{section}.others[{i}]": other for i, other in enumerate(self.others)}
        return {section: self, **others}

    def check_keys(self, section: str) -> None:
        """Raises ConfigError when a variable that an endpoint takes a key or header from is not set, or cannot be sent;
        the offline judge wants none."""
        for name, endpoint in self.endpoints(section).items():
            if endpoint.base_url is not None:
                endpoint.access(name)


class WriterConfig(GatewayConfig):
    """A model behind an endpoint that writes plan and program in place of `policy.model`."""

    timeout_s: float = Field(120, gt=0, description="longest time of one try, seconds")
    hedge: bool = Field(
        False, description="send a straggler a second time; a long reply is none, and would be paid twice"
    )
    merge_system: bool = Field(
        True, description="system prompt and question in one user message; false: a system message apart"
    )
    use_n: bool = Field(
        True,
        description="ask for several samples in one call, as long as the endpoint takes `n`; false: a call each",
    )
    thinking_as: Literal["none", "chat_template", "reasoning_effort"] = Field(
        "none",
        description="how policy.thinking is told: as enable_thinking of the chat template (vLLM, SGLang), as "
        "reasoning_effort none where it is off (Gemini), or not at all",
    )

    @model_validator(mode="after")
    def _writes(self) -> Self:
        if not self.base_url:
            raise ValueError("base_url is missing: the address of the model that writes, as https://host/v1")
        if self.answer_format != "auto":
            raise ValueError("answer_format is for judges: a writer answers in tags")
        if self.extra.get("seed") is not None:
            raise ValueError("extra.seed would make all samples one: the caller says it (null: none is sent)")
        return self


# What belongs to an address, and what to the model behind it. All else is how any endpoint is asked.
_OF_THE_ADDRESS = frozenset({"base_url", "api_key_env", "headers"})
_OF_THE_MODEL = frozenset(Endpoint.model_fields) - _OF_THE_ADDRESS | {"others", "combine", "noise", "delay_s"}


def as_judge(judge: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The unchecked settings of `vlm`: its own over those of `judge` that hold for it, too.

    Of another address than the judge's, none of the judge's endpoint holds; of another model at the same address,
    only the address and its key do.
    """
    left: frozenset[str] = frozenset()
    if "base_url" in own and own["base_url"] != judge.get("base_url"):
        left = _OF_THE_ADDRESS | _OF_THE_MODEL
    elif "model" in own and own["model"] != judge.get("model"):
        left = _OF_THE_MODEL
    return {key: value for key, value in judge.items() if key not in left} | dict(own)


class RewardConfig(Section):
    """The paper's reward: format x (weighted sum of the other heads). A head of weight 0 is not asked."""

    format: bool = Field(
        True, description="a reply without plan and answer has reward 0; false: it has none (for ablations)"
    )
    logic: float = Field(0.3, ge=0, le=1, description="weight; paper: 0.3")
    syntax: float = Field(0.1, ge=0, le=1, description="weight; paper: 0.1")
    attribute: float = Field(0.2, ge=0, le=1, description="weight; paper: 0.2")
    spatial: float = Field(0.2, ge=0, le=1, description="weight; paper: 0.2")
    adherence: float = Field(0.2, ge=0, le=1, description="weight; paper: 0.2")
    scenes: float = Field(
        0,
        ge=0,
        le=1,
        description="weight of the scene tests, which are not in the paper: a program must give the judge's answers "
        "in made-up scenes; a question that none can be made for goes without, by the weights of the others",
    )
    audit_every: int = Field(
        100, ge=0, description="one canary with a known verdict per so many replies; 0 = none"
    )
    audit_alarm: float = Field(
        0.7, ge=0, le=1, description="warn when the agreement with the canaries is surely below this"
    )

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Self:
        """And some of it is left for a question to which the scene tests do not apply."""
        total = sum(self.weights().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(
                "the weights logic, syntax, attribute, spatial, adherence and scenes must sum to 1, not "
                f"{total:g}"
            )
        if self.scenes > 1 - _LEAST_LEFT:
            raise ValueError(
                f"scenes must leave at least {_LEAST_LEFT:g} to other heads, which decide alone where no scenes can be "
                "made for a question: scenes: 0.9 with syntax: 0.1, say"
            )
        return self

    def weights(self) -> dict[Head, float]:
        """Of the heads that count, format apart: those that are asked."""
        every = {head: float(getattr(self, head.value)) for head in Head if head is not Head.FORMAT}
        return {head: weight for head, weight in every.items() if weight > 0}

    def judged(self) -> list[Head]:
        """The heads of plan and program that count, and so are asked of LLM verifiers."""
        return [head for head in JUDGED if getattr(self, head.value) > 0]
