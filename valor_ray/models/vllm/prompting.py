"""The policy's chat prompt: the same text, roles and thinking mode in training, evaluation and service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError, QuestionError
from valor_ray.ports import Turn
from valor_ray.tools import system_prompt

if TYPE_CHECKING:
    from valor_ray.config.models import PolicyConfig

LEAST_REPLY = 16  # tokens; a question that leaves fewer is refused


def chat(question: str, name: str, turns: Sequence[Turn] = ()) -> list[dict[str, str]]:
    """Messages for one question, and how it went on. `name`: "short" (the tabletop policy's) or "full" (the tools'
    whole API)."""
    asked = [{"role": "system", "content": system_prompt(name)}, {"role": "user", "content": question}]
    return asked + after(turns)


def after(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """The messages that follow the question's."""
    return [
        {"role": role, "content": text}
        for turn in turns
        for role, text in (("assistant", turn.reply), ("user", turn.request))
    ]


def prompt_ids(question: str, tokenizer: Any, config: PolicyConfig, turns: Sequence[Turn] = ()) -> list[int]:
    """Token ids of the chat prompt, the same in training and at inference. tokenizer: of transformers."""
    text = tokenizer.apply_chat_template(
        chat(question, config.prompt, turns),
        add_generation_prompt=True,
        tokenize=False,
        enable_thinking=config.thinking,
    )
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def fitting_prompt(
    question: str, tokenizer: Any, config: PolicyConfig, turns: Sequence[Turn] = ()
) -> list[int]:
    """`prompt_ids`. Raises QuestionError when they leave no room for a reply; of a conversation, for one as long as the
    last was."""
    ids = prompt_ids(question, tokenizer, config, turns)
    room = config.max_model_len - len(ids)
    if turns:
        last = len(tokenizer(turns[-1].reply, add_special_tokens=False)["input_ids"])
        if room <= (least := min(max(LEAST_REPLY, last), config.max_tokens)):
            raise QuestionError(
                f"The conversation takes {len(ids)} of the policy's {config.max_model_len} tokens, which leaves no "
                f"room for a reply of {least}. Raise policy.max_model_len."
            )
    elif room < LEAST_REPLY:
        raise QuestionError(
            f"The question takes {len(ids)} of the policy's {config.max_model_len} tokens, which leaves no room for a "
            "reply. Shorten it, or raise policy.max_model_len."
        )
    return ids


def check_fitting(questions: Iterable[tuple[str, str]], model: str, config: PolicyConfig) -> None:
    """Whether all questions, each after its id, fit. model: folder or hub id. Raises ConfigError naming the first."""
    room = config.max_model_len - LEAST_REPLY - len(system_prompt(config.prompt).encode()) - _TEMPLATE
    doubtful = [(name, question) for name, question in questions if len(question.encode()) > room]
    if not doubtful:
        return  # a token is a byte or more
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for name, question in doubtful:
        try:
            fitting_prompt(question, tokenizer, config)
        except QuestionError as error:
            raise ConfigError(f"query {name!r}: {error}") from error


_TEMPLATE = 200  # tokens that a chat template adds, at most
