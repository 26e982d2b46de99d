import numpy as np
import pytest

from valor_ray.tabletop.pretrain.detector_model import detector_processor
from valor_ray.tabletop.pretrain.detector_scenes import encode_caption
from valor_ray.tabletop.pretrain.detector_words import (
    STYLES,
    every_class,
    matches,
    sample_prompt,
    vocabulary,
)

PRESENT = [("red", "box"), ("red", "ball"), ("cyan", "cone")]


def test_the_ids_that_grounding_dino_hard_wires_are_kept():
    tokens = vocabulary()
    assert [tokens[mark] for mark in ("[PAD]", "[CLS]", "[SEP]", ".", "?")] == [0, 101, 102, 1012, 1029]
    assert sorted(tokens.values()) == list(range(len(tokens)))


@pytest.mark.parametrize(
    ("phrase", "named"),
    [
        ("red cube", [True, False, False]),
        ("red boxes", [True, False, False]),
        ("the block", [True, False, False]),
        ("spheres", [False, True, False]),
        ("red object", [True, True, False]),
        ("things", [True, True, True]),
        ("cyan cylinder", [False, False, False]),
        ("dog", [False, False, False]),
        ("pink cone", [False, False, False]),
    ],
)
def test_a_phrase_names_exactly_its_objects(phrase, named):
    assert [matches(phrase, *pair) for pair in PRESENT] == named


def test_all_classes_fit_the_text_budget_of_the_model():
    ids, spans = encode_caption(every_class(), vocabulary())
    assert len(spans) == 32 and len(ids) == 98


def test_captions_are_tokenized_as_the_shipped_tokenizer_does():
    phrases = ["red cube", "pyramid", "the coffee", "cyan boxes"]
    ids, spans = encode_caption(phrases, vocabulary())
    tokenizer = detector_processor(64).tokenizer
    assert tokenizer(" . ".join(phrases) + " .")["input_ids"] == ids
    assert tokenizer.decode([ids[place] for place in spans[1]]) == "pyramid"


@pytest.mark.parametrize("style", STYLES)
def test_prompts_are_never_empty_and_never_repeat(style):
    for seed in range(30):
        phrases = sample_prompt(np.random.default_rng(seed), style, PRESENT)
        assert phrases and len(set(phrases)) == len(phrases)


def test_prompts_hold_present_and_absent_phrases():
    drawn = [sample_prompt(np.random.default_rng(seed), "many", PRESENT) for seed in range(20)]
    named = [any(matches(phrase, *pair) for pair in PRESENT) for phrases in drawn for phrase in phrases]
    assert 0.15 < np.mean(named) < 0.6
