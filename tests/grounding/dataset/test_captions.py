"""Captions for training: spelt as at inference, spans exact, each token known for what it means."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from valor_ray.grounding.dataset.captions import Role, Words, caption_rng, mark, training_captions
from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.dataset.synonyms import Synonyms
from valor_ray.grounding.dataset.training import TrainingImage, read_synonyms, training_images
from valor_ray.models.grounding_dino.phrases import Caption, SpecialTokens, plan_captions

SPECIAL = SpecialTokens(cls=101, sep=102, dot=1012, pad=0)
LEFT, RIGHT, LOW = (0.0, 0.0, 40.0, 40.0), (100.0, 0.0, 140.0, 40.0), (0.0, 60.0, 40.0, 90.0)
_PIECES = [f"{head}{letter}" for head in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789'\"&"]
_VOCABULARY = ["[UNK]", *_PIECES, "cup", "##board", "holder", "sofa", "red", "cube"]
WORDPIECE = Tokenizer(
    WordPiece({piece: 2000 + place for place, piece in enumerate(_VOCABULARY)}, unk_token="[UNK]")
)
WORDPIECE.pre_tokenizer = BertPreTokenizer()


def tokenize(phrase: str) -> list[int]:
    return WORDPIECE.encode(phrase).ids


def words(budget: int = 256) -> Words:
    return Words(tokenize, SPECIAL, budget)


def entry(positives=(), absent=(), hard=(), ignored=()) -> TrainingImage:
    regions = [tuple(Region(bbox, phrase) for phrase, bbox in side) for side in (positives, hard, ignored)]
    return TrainingImage(1, "key", "a", 200, 100, False, regions[0], tuple(absent), regions[1], regions[2])


def captions(image, seed=0, budget=256, pairs=(), **options):
    rng = caption_rng(seed, 0, image.key)
    return training_captions(image, words(budget), Synonyms(pairs), rng, **options)


def spans_are_exact(caption) -> None:
    """Each span holds its phrase's own tokens, the dots stand between, and nothing else is in the caption."""
    ids = list(caption.token_ids)
    assert (ids[0], ids[-1]) == (SPECIAL.cls, SPECIAL.sep)
    rest = 1
    for phrase, (start, stop) in zip(caption.phrases, caption.spans, strict=True):
        assert start == rest
        assert ids[start:stop] == tokenize(phrase)[: stop - start]
        assert stop > start
        assert ids[stop] == SPECIAL.dot
        rest = stop + 1
    assert rest == len(ids) - 1


KITCHEN = entry([("cup", LEFT), ("cup holder", RIGHT)], ["cupboard"])


@pytest.mark.parametrize("seed", range(8))
def test_cup_cupboard_and_cup_holder(seed):
    """ "cup" is the first token of "cupboard"; "cup" and "cup holder" go to two captions, as at inference."""
    assert tokenize("cupboard")[0] == tokenize("cup")[0]
    made = captions(KITCHEN, seed)
    asked = [set(caption.phrases) for caption in made]
    assert sorted(asked, key=len) in (
        [{"cup holder"}, {"cup", "cupboard"}],
        [{"cup"}, {"cup holder", "cupboard"}],
    )
    for caption in made:
        spans_are_exact(caption)
        (target,) = caption.targets
        (place,) = target.places
        start, stop = caption.spans[place]
        named = tokenize("cup" if target.bbox == LEFT else "cup holder")
        assert list(caption.token_ids[start:stop]) == named


def test_cup_cupboard_and_cup_holder_in_one_caption_are_marked_right():
    ids, spans = [SPECIAL.cls], []
    phrases = ("cupboard", "cup holder", "cup")
    for phrase in phrases:
        spans.append((len(ids), len(ids) + len(tokenize(phrase))))
        ids += [*tokenize(phrase), SPECIAL.dot]
    roles = {"cup": Role.POSITIVE, "cup holder": Role.POSITIVE, "cupboard": Role.ABSENT}
    marked = mark(Caption((*ids, SPECIAL.sep), phrases, tuple(spans)), KITCHEN, roles, Synonyms())
    spans_are_exact(marked)
    said = {target.bbox: (target.places, target.unknown) for target in marked.targets}
    assert said == {
        LEFT: ((2,), (1,)),
        RIGHT: ((1,), (2,)),
    }  # a cup holder is no cup for sure, nor is it surely none
    assert marked.roles == (Role.ABSENT, Role.POSITIVE, Role.POSITIVE)


def test_captions_are_those_of_inference():
    image = entry([("red cube", LEFT), ("sofa", RIGHT)], ["cube", "dog"])
    for seed in range(5):
        for caption in captions(image, seed):
            (asked,) = plan_captions(caption.phrases, tokenize, SPECIAL, 256)
            assert (caption.token_ids, caption.phrases, caption.spans) == (
                asked.token_ids,
                asked.phrases,
                asked.spans,
            )


def test_spelling_is_that_of_the_shipped_detector(mined, box, export, folder):
    """The normal form in the set is what the detector is asked for when a program writes the phrase as it likes."""
    from valor_ray.config.models import DetectorConfig
    from valor_ray.models.grounding_dino.detector import HARD_WIRED, GroundingDino

    detector = GroundingDino(DetectorConfig(model="valor_ray/tabletop/checkpoints/detector"))
    export(mined("a", box("Red-Cube", LEFT)))
    (image,) = training_images(folder)
    read = Words(detector._tokens, HARD_WIRED, 256)
    (trained,) = training_captions(image, read, read_synonyms(folder), caption_rng(0, 0, image.key))
    (asked,) = detector.captions(["Red-Cube"])
    assert (trained.token_ids, trained.spans) == (asked.token_ids, asked.spans)


def test_roles():
    image = entry([("cup", LEFT)], ["dog"], [("cup", LOW), ("dog", LOW), ("cat", LOW)], [("cup", RIGHT)])
    (caption,) = captions(image, further=["tree", "the cup", "dog", "cats"])
    roles = dict(zip(caption.phrases, caption.roles, strict=True))
    assert roles == {"cup": "positive", "dog": "absent", "cat": "hard", "tree": "further"}
    places = {phrase: place for place, phrase in enumerate(caption.phrases)}
    assert [(each.bbox, each.place) for each in caption.hard_negatives] == [
        (LOW, places["cup"]),
        (LOW, places["dog"]),
        (LOW, places["cat"]),
    ]
    assert [(each.bbox, each.place) for each in caption.ignored] == [(RIGHT, places["cup"])]


def test_further_phrases_never_name_what_the_picture_may_hold():
    image = entry([("sofa", LEFT)], ["dog"], (), [("mug", RIGHT)])
    pool = ["couch", "red sofa", "sofas", "dog", "mug", "tree", "lamp"]
    (caption,) = captions(image, pairs=[("couch", "sofa")], further=pool)
    assert set(caption.phrases) == {"sofa", "dog", "tree", "lamp"}
    (fewer,) = captions(image, pairs=[("couch", "sofa")], further=pool, most_further=1)
    assert len(fewer.phrases) == 3


def test_further_phrases_fill_what_room_is_left_and_make_no_caption_of_their_own():
    image = entry([("sofa", LEFT)], ["dog"])
    pool = [f"{a}{b}" for a, b in itertools.combinations("abcdefgh", 2)]
    (caption,) = captions(image, budget=24, further=pool, most_further=28)
    assert 21 < len(caption.token_ids) <= 24
    assert {"sofa", "dog"} <= set(caption.phrases)


def test_positive_phrases_come_first_when_the_budget_is_short_but_stand_anywhere():
    image = entry([("ab", LEFT), ("cd", RIGHT)], ["ef", "gh"], [("ij", LOW)])
    first, second, *_rest = captions(image, budget=2 + 3 * 2)
    assert {*first.phrases} == {"ab", "cd"}
    assert {*second.phrases} == {"ef", "gh"}
    (_whole,) = captions(image)
    assert {captions(image, seed)[0].phrases[0] for seed in range(40)} == {"ab", "cd", "ef", "gh", "ij"}


def test_every_phrase_of_the_picture_is_asked_in_exactly_one_caption():
    rng = random.Random(1)
    names = [a + b for a in "abcdefgh" for b in "rstuvw"]
    image = entry([(name, LEFT) for name in rng.sample(names, 20)], [f"x{name}" for name in names])
    made = captions(image, budget=32)
    assert len(made) > 3
    assert sorted(phrase for caption in made for phrase in caption.phrases) == sorted(
        {each.phrase for each in image.positives} | set(image.absent)
    )
    assert all(len(caption.token_ids) <= 32 for caption in made)
    for caption in made:
        spans_are_exact(caption)


def test_captions_of_a_batch_differ_and_keep_their_own_spans(mined, box, export, folder):
    """One seed, a batch of pictures with equal phrases: drawn for each by its key, and again in the next epoch."""
    names = [a + b for a in "abcd" for b in "xyz"]
    export(
        *(mined(f"p{number}", *(box(name, LEFT) for name in names[:6]), asked=names) for number in range(8))
    )
    batch = list(training_images(folder))
    drawn = []
    for epoch in (0, 1, 0):
        made = [
            training_captions(image, words(), Synonyms(), caption_rng(7, epoch, image.key)) for image in batch
        ]
        drawn.append([caption.token_ids for (caption,) in made])
        for (caption,) in made:
            spans_are_exact(caption)
    assert len(set(drawn[0])) == len(batch)
    assert drawn[0] == drawn[2] != drawn[1]


def test_two_confirmed_names_of_one_object_are_one_target():
    near = (0.0, 0.0, 40.0, 36.0)  # IoU 0.9 with LEFT
    image = entry([("sofa", LEFT), ("couch", near), ("lamp", RIGHT)])
    (caption,) = captions(image, pairs=[("couch", "sofa")])
    named = [{caption.phrases[place] for place in target.places} for target in caption.targets]
    assert named == [{"sofa", "couch"}, {"lamp"}]
    assert [target.bbox for target in caption.targets] == [LEFT, RIGHT]
    assert all(target.unknown == () for target in caption.targets)


def test_boxes_of_one_phrase_stay_apart_however_near():
    image = entry([("cup", LEFT), ("cup", (0.0, 0.0, 40.0, 38.0)), ("mug", LEFT)])
    (caption,) = captions(image)
    assert [len(target.places) for target in caption.targets] == [2, 1]


def test_names_that_may_fit_a_target_are_not_known_there():
    half = (0.0, 0.0, 40.0, 24.0)  # IoU 0.6 with LEFT
    image = entry([("sofa", LEFT), ("couch", RIGHT), ("cat", half)], ["dog"], [("bed", LOW)], [("bed", half)])
    (caption,) = captions(image, pairs=[("couch", "sofa")])
    unknown = {
        caption.phrases[target.places[0]]: {caption.phrases[place] for place in target.unknown}
        for target in caption.targets
    }
    assert unknown == {"sofa": {"couch", "cat", "bed"}, "couch": {"sofa"}, "cat": {"sofa", "bed"}}


def test_a_phrase_without_a_kind_may_name_any_target():
    (caption,) = captions(entry([("cone", LEFT), ("lamp", RIGHT)], [], [("red object", LOW)]))
    for target in caption.targets:
        assert [caption.phrases[place] for place in target.unknown] == ["red object"]


def test_what_the_verifier_has_said_is_known_at_a_target_whatever_the_words():
    image = replace(
        entry([("red cube", LEFT)], ["blue object"], [("blue cube", LEFT), ("red thing", LEFT)]),
        open=("blue cube",),
    )
    (caption,) = captions(image)
    assert set(caption.phrases) == {"red cube", "blue object", "blue cube", "red thing"}
    assert caption.targets[0].unknown == ()


def test_an_open_phrase_is_not_known_at_any_target_and_no_further_phrase():
    image = replace(entry([("sofa", LEFT), ("lamp", RIGHT)], [], [("couch", LOW)]), open=("couch", "bed"))
    (caption,) = captions(image, further=["bed", "cat"])
    assert set(caption.phrases) == {"sofa", "lamp", "couch", "cat"}
    for target in caption.targets:
        assert [caption.phrases[place] for place in target.unknown] == ["couch"]


def test_a_phrase_of_300_tokens_is_cut_as_at_inference():
    long = " ".join(f"word{number}" for number in range(300))
    first, second = captions(entry([(long, LEFT)], ["dog"]))
    assert (len(first.token_ids), first.phrases) == (256, (long,))
    assert first.targets[0].places == (0,)
    assert second.phrases == ("dog",)
    spans_are_exact(first)


def test_a_picture_that_knows_no_phrase_has_no_caption():
    assert captions(entry(ignored=[("cup", LEFT)]), further=["dog"]) == []


def test_900_boxes_of_one_phrase_are_900_targets():
    boxes = [
        ("cup", (6.0 * (n % 30), 3.0 * (n // 30), 6.0 * (n % 30) + 5, 3.0 * (n // 30) + 2))
        for n in range(900)
    ]
    (caption,) = captions(entry(boxes))
    assert [target.bbox for target in caption.targets] == [bbox for _phrase, bbox in boxes]


def test_draws_are_the_same_on_every_machine():
    assert caption_rng(1, 2, "k").permutation(6).tolist() == [3, 0, 2, 5, 1, 4]
