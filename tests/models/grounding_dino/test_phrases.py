import pytest

from valor_ray.models.grounding_dino.phrases import SpecialTokens, normal_form, plan_captions

SPECIAL = SpecialTokens(cls=101, sep=102, dot=1012, pad=0)


def tokenize(phrase):
    """One token a word, its value the word's length."""
    return [len(word) for word in phrase.split()]


def plan(*phrases, budget=256):
    return plan_captions(phrases, tokenize, SPECIAL, budget)


@pytest.mark.parametrize(
    ("asked", "normal"),
    [
        ("TV", "tv"),
        ("coffee-table", "coffee table"),
        ("Coffee\u2011Table", "coffee table"),
        ("  red   cube. ", "red cube"),
        ("who? me!", "who me"),
        ("[SEP] dog", "sep dog"),
        ("ＴＶ", "tv"),
        ("café", "café"),
        ("...", ""),
    ],
)
def test_phrases_are_asked_in_a_normal_form(asked, normal):
    assert normal_form(asked) == normal


def test_a_span_covers_exactly_its_own_phrase():
    (caption,) = plan("red cube", "two seat sofa", "ball")
    assert caption.token_ids == (101, 3, 4, 1012, 3, 4, 4, 1012, 4, 1012, 102)
    assert caption.spans == ((1, 3), (4, 7), (8, 9))


def test_phrases_come_back_as_they_were_asked():
    (caption,) = plan("TV", "Coffee-Table")
    assert caption.phrases == ("TV", "Coffee-Table")


def test_phrases_with_one_normal_form_are_asked_once_in_the_first_spelling():
    (caption,) = plan("TV", "tv", "T.V", "tv.")
    assert caption.phrases == ("TV", "T.V")


def test_long_lists_are_split_by_the_token_budget():
    captions = plan(*(f"colour{n} shape" for n in range(20)), budget=14)
    assert [len(caption.phrases) for caption in captions] == [4, 4, 4, 4, 4]
    assert all(len(caption.token_ids) <= 14 for caption in captions)


def test_a_phrase_longer_than_the_budget_is_cut():
    (caption,) = plan("a b c d e f g h i j k l", budget=8)
    assert len(caption.token_ids) == 8
    assert caption.spans == ((1, 6),)


def test_a_phrase_inside_another_does_not_compete_with_it():
    captions = plan("cube", "red cube", "ball")
    assert [caption.phrases for caption in captions] == [("cube", "ball"), ("red cube",)]


def test_no_words_make_no_caption():
    assert plan() == []
    assert plan("", " . ", "?") == []


def test_phrases_within_one_another_need_no_pass_each() -> None:
    words = [" ".join(f"w{n}" for n in range(length)) for length in range(1, 65)]
    captions = plan_captions(words, lambda text: [5] * len(text.split()), SpecialTokens(1, 2, 3, 0), 256)
    assert sorted(phrase for caption in captions for phrase in caption.phrases) == sorted(words)
    assert len(captions) <= 20 and max(len(caption.token_ids) for caption in captions) <= 256
