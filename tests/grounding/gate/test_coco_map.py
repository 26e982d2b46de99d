"""mAP of the general set: against pycocotools, against our own average precision, and with a ranking that knows all."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from valor_ray.config.service import ImageConfig
from valor_ray.errors import ConfigError
from valor_ray.grounding.gate import coco_map
from valor_ray.grounding.gate.coco_map import general_map, score_general
from valor_ray.grounding.gate.general import GeneralBox, GeneralImage, GeneralSet, read_general
from valor_ray.measure.detection_ap import Boxes, mean_ap
from valor_ray.models.grounding_dino.ranking import Ranked

SIDE = 100.0


def general_set(boxes: list[GeneralBox], pictures: int, categories: int) -> GeneralSet:
    images = tuple(GeneralImage(Path(f"{number}.png"), 100, 100) for number in range(pictures))
    names = tuple(f"thing {number}" for number in range(categories))
    return GeneralSet(Path("coco.json"), images, names, tuple(boxes), ImageConfig())


def random_case(seed: int, crowds: float, pictures: int = 25, categories: int = 6, most: int = 12):
    """True boxes, and answers of which some are near them; scores repeat, as they do."""
    rng = np.random.default_rng(seed)
    boxes, ranked = [], []
    for image in range(pictures):
        corner, size = rng.uniform(0, 60, (7, 2)), rng.uniform(2, 40, (7, 2))
        kinds = rng.integers(0, categories - 1, 7)  # the last category has no box
        for (x, y), (width, height), kind in zip(corner, size, kinds, strict=True):
            crowd = bool(rng.random() < crowds)
            boxes.append(GeneralBox(image, int(kind), (x, y, width, height), crowd=crowd))
        aimed = rng.integers(0, 7, most)
        true = np.concatenate([corner, corner + size], 1)[aimed]
        near = np.sort((true + rng.normal(0, 1.5, true.shape)).reshape(-1, 2, 2), 1).reshape(-1, 4)
        scores = np.sort(rng.integers(1, 30, most) / 30)[::-1]
        places = np.where(rng.random(most) < 0.7, kinds[aimed], rng.integers(0, categories, most))
        ranked.append(Ranked(near.clip(0, SIDE), scores, places))
    return general_set(boxes, pictures, categories), ranked


def write_with_other_ids(folder: Path, general: GeneralSet) -> Path:
    """The set as people write it: ids of pictures and categories not from 1, those of categories not in order."""
    images, categories = range(len(general.images)), range(len(general.categories))
    for place in images:
        Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(folder / f"{place}.png")
    content = {
        "info": {},
        "images": [
            {"id": image_id(place), "file_name": f"{place}.png", "width": 100, "height": 100}
            for place in images
        ],
        "categories": [{"id": category_id(place), "name": f"Thing-{place}"} for place in categories],
        "annotations": [
            {
                "id": number + 1,
                "image_id": image_id(box.image),
                "category_id": category_id(box.category),
                "bbox": list(box.bbox),
                "area": box.bbox[2] * box.bbox[3],
                "iscrowd": int(box.crowd),
            }
            for number, box in enumerate(general.boxes)
        ],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return path


def image_id(place: int) -> int:
    return 1000 + 7 * place  # in order: boxes of one score are ranked in the order of their pictures


def category_id(place: int) -> int:
    return 90 - 3 * place


def results(ranked: list[Ranked]) -> list[dict]:
    """The answers as pycocotools takes them."""
    return [
        {
            "image_id": image_id(image),
            "category_id": category_id(int(place)),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, each in enumerate(ranked)
        for (x1, y1, x2, y2), score, place in zip(
            each.boxes.tolist(), each.scores.tolist(), each.places, strict=True
        )
    ]


@pytest.mark.parametrize("crowds", [0.0, 0.3])
def test_scores_are_those_of_pycocotools(tmp_path: Path, crowds: float) -> None:
    written, ranked = random_case(1, crowds)
    path = write_with_other_ids(tmp_path, written)
    truth = COCO(str(path))
    run = COCOeval(truth, truth.loadRes(results(ranked)), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    score = score_general(read_general(path, None, None), ranked)
    assert score.map == pytest.approx(run.stats[0] * 100, abs=1e-9)
    assert score.ap50 == pytest.approx(run.stats[1] * 100, abs=1e-9)
    assert len(score.by_category) == 5 and 5 < score.map < 95
    for place in range(5):
        row = run.params.catIds.index(category_id(place))
        expected = run.eval["precision"][:, :, row, 0, 2].mean() * 100
        assert score.by_category[f"thing {place}"] == pytest.approx(expected, abs=1e-9)


def test_of_a_category_the_best_hundred_boxes_of_a_picture_count() -> None:
    good, bad = np.array([[10, 10, 30, 30]]), np.repeat([[60, 60, 80, 80]], 101, 0)
    general = general_set([GeneralBox(0, 0, (10, 10, 20, 20), crowd=False)], 1, 1)
    for wrong, expected in ((99, 1.0), (100, 0.0)):
        boxes = np.concatenate([bad[:wrong], good]).astype(float)
        (ranked,) = [Ranked(boxes, np.linspace(1, 0.5, len(boxes)), np.zeros(len(boxes), int))]
        assert score_general(general, [ranked]).map == pytest.approx(expected, abs=1e-9)


def test_scores_are_those_of_our_own_average_precision() -> None:
    general, ranked = random_case(2, 0.0)
    guessed: list[list[Boxes]] = [[] for _ in general.categories]
    true: list[list[Boxes]] = [[] for _ in general.categories]
    for image, each in enumerate(ranked):
        for place in range(len(general.categories)):
            mine = [box.bbox for box in general.boxes if (box.image, box.category) == (image, place)]
            corners = np.array([(x, y, x + width, y + height) for x, y, width, height in mine]).reshape(-1, 4)
            chosen = each.places == place
            guessed[place].append(Boxes(each.boxes[chosen], each.scores[chosen]))
            true[place].append(Boxes(corners, np.ones(len(corners))))
    ap50, full = mean_ap(guessed[:-1], true[:-1])
    score = score_general(general, ranked)
    assert (score.ap50, score.map) == pytest.approx((ap50 * 100, full * 100), abs=1e-9)


def test_no_answers_at_all_score_nothing_and_true_boxes_score_all() -> None:
    general, _ = random_case(3, 0.0)
    none = Ranked(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert score_general(general, [none] * 25).map == 0
    perfect = []
    for image in range(25):
        mine = [box for box in general.boxes if box.image == image]
        boxes = np.array([box.bbox for box in mine])
        boxes[:, 2:] += boxes[:, :2]
        perfect.append(Ranked(boxes, np.full(len(mine), 0.5), np.array([box.category for box in mine])))
    assert score_general(general, perfect).map == pytest.approx(100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """70 pictures in two sizes; each holds the thing of its number."""
    images, annotations = [], []
    for number in range(70):
        width = 40 if number % 2 else 50
        Image.fromarray(np.full((30, width, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": 30})
        annotations.append({"image_id": number, "category_id": number % 3, "bbox": [number % 20, 1, 8, 8]})
    categories = [{"id": place, "name": f"Thing-{place}"} for place in range(3)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return tmp_path


def sees_all(detector, pictures, phrases, most):
    """A ranking that knows the number of each picture from its grey."""
    detector.calls.append((len(pictures), tuple(phrases), most))
    numbers = [int(picture.rgb[0, 0, 0]) for picture in pictures]
    return [
        Ranked(np.array([[n % 20, 1, n % 20 + 8, 9.0]]), np.array([0.9]), np.array([n % 3])) for n in numbers
    ]


def test_pictures_come_a_few_at_a_time_and_progress_is_told(folder, monkeypatch) -> None:
    monkeypatch.setattr(coco_map, "rank", sees_all)
    lines: list[str] = []
    detector = SimpleNamespace(calls=[])
    score = general_map(detector, read_general(folder / "coco.json", None, None), lines.append)
    assert (score.map, score.ap50, score.pictures) == (pytest.approx(100), pytest.approx(100), 70)
    assert set(score.by_category) == {"thing 0", "thing 1", "thing 2"}
    assert [count for count, _phrases, _most in detector.calls] == [32, 32, 6]
    assert {call[1:] for call in detector.calls} == {(("thing 0", "thing 1", "thing 2"), 300)}
    assert lines[-1] == "general set: 70 of 70 pictures" and len(lines) == 3


def test_a_picture_that_is_cut_short_is_named(folder, monkeypatch) -> None:
    monkeypatch.setattr(coco_map, "rank", sees_all)
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "5.png", "JPEG")
    whole = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(whole[: len(whole) // 2])
    general = read_general(folder / "coco.json", None, None)  # the header is as it should be
    with pytest.raises(ConfigError, match=r"coco\.json, images\[5\], .*5\.png: .*cut short"):
        general_map(SimpleNamespace(calls=[]), general, lambda line: None)
