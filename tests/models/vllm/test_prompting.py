"""The chat prompt: what leaves no room for a reply is known before anything is sampled."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, QuestionError
from valor_ray.models.vllm.prompting import check_fitting, fitting_prompt, prompt_ids
from valor_ray.ports import Turn

POLICY = Config.load("local").policy


def test_questions_that_fit_need_no_tokenizer() -> None:
    check_fitting([("a", "How many balls?")], "no such model", POLICY)


def test_question_that_leaves_no_room_is_named() -> None:
    long = "How many red balls are left of the cube? " * 200
    with pytest.raises(ConfigError, match=r"query 'b'.*policy\.max_model_len"):
        check_fitting([("a", "How many balls?"), ("b", long)], resolve_model(POLICY.model), POLICY)


def test_a_conversation_goes_on_from_the_question_by_the_chat_template() -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(POLICY.model))
    turns = [Turn("count the ball", "is it red ?"), Turn("yes", "no")]
    asked, ids = (prompt_ids("how many", tokenizer, POLICY, said) for said in ((), turns))
    assert tokenizer.decode(ids).count("<|im_start|>assistant") == 3
    head = tokenizer.decode(asked).removesuffix("<|im_start|>assistant\n")
    assert tokenizer.decode(ids).startswith(head)
    assert fitting_prompt("how many", tokenizer, POLICY, turns) == ids


def test_a_conversation_must_leave_room_for_a_reply_as_long_as_the_last() -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(POLICY.model))
    reply = "red ball " * 100
    long = len(tokenizer(reply, add_special_tokens=False)["input_ids"])
    needed = len(prompt_ids("how many", tokenizer, POLICY, [Turn(reply, "no")])) + long
    for room, fits in ((needed + 1, True), (needed, False)):
        config = POLICY.model_copy(update={"max_model_len": room})
        if fits:
            assert len(fitting_prompt("how many", tokenizer, config, [Turn(reply, "no")])) == needed - long
        else:
            with pytest.raises(QuestionError, match=r"conversation takes .* no room .*policy\.max_model_len"):
                fitting_prompt("how many", tokenizer, config, [Turn(reply, "no")])
