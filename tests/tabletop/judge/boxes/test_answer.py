"""The offline verifier's verdicts on boxes of rendered scenes, asked as mining asks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from valor_ray.config.tree import Config
from valor_ray.images import from_array
from valor_ray.judges.boxes.proposals import CONVENTIONS, proposal_request, read_proposals
from valor_ray.judges.boxes.requests import coarse_request, crop_request, duplicates_request, sent_picture
from valor_ray.measure.detection_ap import iou_matrix
from valor_ray.records import Detection, JudgeRequest, Picture
from valor_ray.tabletop.judge.boxes.answer import answer_boxes
from valor_ray.tabletop.judge.boxes.noise import Noise
from valor_ray.tabletop.judge.boxes.proposals import find_boxes
from valor_ray.tabletop.judge.protocol import decode_data_uri
from valor_ray.tabletop.render import RenderedObject, Rendering, render
from valor_ray.tabletop.scenes import COLOURS, SHAPES, sample_scene

CONFIG = Config.load("local")
GROUNDING, VLM = CONFIG.grounding, CONFIG.vlm
SEEDS = range(1_950_000, 1_950_008)  # of the val split
LOOKS = ("wood", "dusk")


@cache
def scenes() -> tuple[tuple[Rendering, Picture], ...]:
    renderings = [render(sample_scene(seed, look)) for look in LOOKS for seed in SEEDS]
    return tuple((rendering, from_array(rendering.rgb)) for rendering in renderings)


def seen(rendering: Rendering) -> list[RenderedObject]:
    return [thing for thing in rendering.objects if thing.visible > 0.6]


def ask(request: JudgeRequest, noise: Noise = Noise()) -> dict[str, Any]:  # noqa: B008 - frozen
    content = request.messages[-1]["content"]
    rgb = decode_data_uri(content[0]["image_url"]["url"])
    return answer_boxes(request.head, content[-1]["text"], rgb, noise)


def kept(picture: Picture, boxes: Sequence[Detection], noise: Noise = Noise()) -> list[tuple[bool, bool]]:  # noqa: B008
    """Verdicts of the coarse check and of the crop check on each box."""
    coarse = ask(coarse_request(sent_picture(picture, GROUNDING, VLM), boxes, GROUNDING, VLM), noise)["boxes"]
    assert [(said["index"], said["label"]) for said in coarse] == [
        (at, box.label) for at, box in enumerate(boxes, 1)
    ]
    crops = [ask(crop_request(picture, box, GROUNDING, VLM), noise) for box in boxes]
    return [(a["verdict"] == "keep", b["verdict"] == "keep") for a, b in zip(coarse, crops, strict=True)]


def share(boxes_of: Any) -> np.ndarray:
    """Shares kept by the coarse and by the crop check, over all scenes."""
    verdicts = [verdict for rendering, picture in scenes() for verdict in kept(picture, boxes_of(rendering))]
    assert len(verdicts) > 50
    return np.mean(verdicts, 0)


def true_boxes(rendering: Rendering) -> list[Detection]:
    return [Detection(thing.bbox, thing.label, 0.9) for thing in seen(rendering)]


def other_colour(rendering: Rendering) -> list[Detection]:
    return [
        Detection(o.bbox, f"{COLOURS[COLOURS.index(o.colour) - 3]} {o.shape}", 0.9) for o in seen(rendering)
    ]


def other_shape(rendering: Rendering) -> list[Detection]:
    return [Detection(o.bbox, f"the {SHAPES[SHAPES.index(o.shape) - 1]}", 0.9) for o in seen(rendering)]


def parts(rendering: Rendering) -> list[Detection]:
    """The upper left of each object: a third of it."""
    made = []
    for thing in seen(rendering):
        x1, y1, x2, y2 = thing.bbox
        made.append(
            Detection((x1, y1, x1 + 0.55 * (x2 - x1), y1 + 0.55 * (y2 - y1)), f"{thing.colour} object", 0.9)
        )
    return made


def far_too_large(rendering: Rendering) -> list[Detection]:
    made = []
    for thing in seen(rendering):
        x1, y1, x2, y2 = thing.bbox
        wide, tall = 0.5 * (x2 - x1), 0.5 * (y2 - y1)
        made.append(Detection((x1 - wide, y1 - tall, x2 + wide, y2 + tall), thing.label, 0.9))
    return made


def ground(rendering: Rendering) -> list[Detection]:
    rng = np.random.default_rng(3)
    made = []
    for _ in range(20):
        x, y = rng.uniform(0, 210, 2)
        box = (float(x), float(y), float(x + 40), float(y + 40))
        if iou_matrix(np.array([box]), np.array([o.bbox for o in rendering.objects])).max() < 0.1:
            made.append(Detection(box, "object", 0.9))
    return made


def test_true_boxes_with_true_labels_are_kept() -> None:
    assert (share(true_boxes) > 0.9).all(), share(true_boxes)


@pytest.mark.parametrize(
    ("wrong", "most"),
    [(other_colour, 0.1), (other_shape, 0.1), (far_too_large, 0.1), (ground, 0.1), (parts, 0.3)],
)
def test_wrong_boxes_and_wrong_labels_are_dropped(wrong: Any, most: float) -> None:
    assert (share(wrong) < most).all(), share(wrong)


@pytest.mark.parametrize("noise", [Noise(), Noise(1.0)])
def test_of_a_phrase_that_is_not_read_it_is_unsure_with_the_reason(noise: Noise) -> None:
    rendering, picture = scenes()[0]
    box = Detection(rendering.objects[0].bbox, "the leftmost thing", 0.9)
    told = {"reason": "cannot tell what 'the leftmost thing' names", "verdict": "unsure"}
    assert ask(crop_request(picture, box, GROUNDING, VLM), noise) == told
    coarse = coarse_request(sent_picture(picture, GROUNDING, VLM), [box], GROUNDING, VLM)
    assert ask(coarse, noise) == {"boxes": [{"index": 1, "label": box.label, **told}]}


def test_noise_turns_the_same_verdicts_of_each_check_again() -> None:
    def verdicts(noise: Noise) -> np.ndarray:
        return np.array(
            [v for rendering, picture in scenes() for v in kept(picture, true_boxes(rendering), noise)]
        )

    plain, noisy = verdicts(Noise()), verdicts(Noise(0.2))
    turned = plain != noisy
    assert (turned.mean(0) > 0.08).all() and (turned.mean(0) < 0.35).all(), turned.mean(0)
    assert turned[:, 0].tolist() != turned[:, 1].tolist()
    assert (verdicts(Noise(0.2)) == noisy).all()
    assert (verdicts(Noise(0.2, seed=1)) != noisy).any()


def doubled(rendering: Rendering) -> tuple[list[Detection], list[int]]:
    """Two boxes on each object, the second one loose, all of one phrase; and the object of each box."""
    boxes, owners = [], []
    for owner, thing in enumerate(seen(rendering)):
        x1, y1, x2, y2 = thing.bbox
        loose = (x1, y1 - 0.3 * (y2 - y1), x2 + 0.15 * (x2 - x1), y2)
        boxes += [Detection(loose, "object", 0.8), Detection(thing.bbox, "object", 0.7)]
        owners += [owner, owner]
    return boxes, owners


def test_boxes_on_one_object_are_put_together_and_the_tight_one_is_best() -> None:
    right, best = [], []
    for rendering, picture in scenes():
        boxes, owners = doubled(rendering)
        sent = sent_picture(picture, GROUNDING, VLM)
        objects = ask(duplicates_request(sent, boxes, GROUNDING, VLM))["objects"]
        assert sorted(index for each in objects for index in each["indices"]) == list(
            range(1, len(boxes) + 1)
        )
        for owner in set(owners):
            own = [at + 1 for at, other in enumerate(owners) if other == owner]
            together = [each for each in objects if each["indices"] == own]
            right.append(bool(together))
            best += [each["best"] == own[1] for each in together]
    assert len(right) > 50 and np.mean(right) > 0.85 and np.mean(best) > 0.85, (np.mean(right), np.mean(best))


def test_boxes_of_different_phrases_are_never_one_object() -> None:
    rendering, picture = scenes()[0]
    thing = rendering.objects[0]
    boxes = [Detection(thing.bbox, label, 0.9) for label in (thing.label, "object", thing.label.upper())]
    said = ask(duplicates_request(sent_picture(picture, GROUNDING, VLM), boxes, GROUNDING, VLM))["objects"]
    assert [each["indices"] for each in said] == [[1, 3], [2]]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_proposals_arrive_where_they_were_meant_in_every_convention(name: str) -> None:
    good = []
    for rendering, picture in scenes()[:4]:
        asked = proposal_request(picture, ["object", "lamp", "Red box"], CONVENTIONS[name], VLM)
        proposals = read_proposals(ask(asked.request), asked)
        assert proposals is not None and not proposals.slips
        rgb = decode_data_uri(asked.request.messages[-1]["content"][0]["image_url"]["url"])
        scale = np.array([picture.width / rgb.shape[1], picture.height / rgb.shape[0]] * 2)
        meant = np.array([each.box for each in find_boxes(rgb)]) * scale
        read = np.array([box.bbox for box in proposals.boxes if box.label == "object"])
        assert read.shape == meant.shape and "lamp" not in {box.label for box in proposals.boxes}
        assert np.abs(np.sort(read, 0) - np.sort(meant, 0)).max() < 0.6
        true = np.array([thing.bbox for thing in seen(rendering)])
        good += list(iou_matrix(true, read).max(1) >= 0.5)
    assert np.mean(good) > 0.6
