"""The chat prompt: what leaves no room for a reply is known before anything is sampled."""

from __future__ import annotations

import pytest

from valor_ray.config.models import resolve_model
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.models.vllm.prompting import check_fitting

POLICY = Config.load("local").policy


def test_questions_that_fit_need_no_tokenizer() -> None:
    check_fitting([("a", "How many balls?")], "no such model", POLICY)


def test_question_that_leaves_no_room_is_named() -> None:
    long = "How many red balls are left of the cube? " * 200
    with pytest.raises(ConfigError, match=r"query 'b'.*policy\.max_model_len"):
        check_fitting([("a", "How many balls?"), ("b", long)], resolve_model(POLICY.model), POLICY)
