import numpy as np

from valor_ray.models.grounding_dino.boxes import Thresholds, caption_detections
from valor_ray.models.grounding_dino.phrases import Caption

# "[CLS] red cone . purple cone . [SEP]"
CAPTION = Caption((101, 1, 2, 1012, 3, 2, 1012, 102), ("red cone", "Purple-Cone"), ((1, 3), (4, 6)))
SIZE = (200, 100)
THRESHOLDS = Thresholds(box=0.35, text=0.25)


def scores(*rows):
    """Token scores of queries from (red, cone, purple, cone) chances."""
    chances = np.zeros((len(rows), len(CAPTION.token_ids)), np.float32)
    chances[:, [1, 2, 4, 5]] = rows
    return chances


def detect(rows, boxes, thresholds=THRESHOLDS):
    return caption_detections(scores(*rows), np.array(boxes, np.float32), CAPTION, SIZE, thresholds)


def test_a_box_goes_to_the_phrase_whose_own_words_it_fits():
    (detection,) = detect([(0.1, 0.6, 0.7, 0.62)], [(10, 10, 50, 50)])
    assert detection.label == "Purple-Cone"
    assert detection.score == np.float32(0.7)


def test_phrases_are_never_merged():
    detections = detect([(0.8, 0.8, 0.1, 0.7), (0.1, 0.7, 0.8, 0.8)], [(0, 0, 20, 20), (50, 0, 80, 20)])
    assert [box.label for box in detections] == ["red cone", "Purple-Cone"]


def test_one_good_word_is_not_enough_when_the_phrase_as_a_whole_is_weak():
    assert detect([(0.01, 0.4, 0.0, 0.2)], [(10, 10, 50, 50)]) == []


def test_a_low_box_threshold_lowers_the_text_threshold_too():
    assert len(detect([(0.12, 0.12, 0, 0)], [(10, 10, 50, 50)], Thresholds(0.1, 0.25))) == 1


def test_boxes_are_clipped_to_the_picture_and_empty_ones_dropped():
    detections = detect([(0.9, 0.9, 0, 0), (0.8, 0.8, 0, 0)], [(-5, -5, 300, 60), (201, 5, 240, 60)])
    assert [box.bbox for box in detections] == [(0.0, 0.0, 200.0, 60.0)]


def test_of_two_like_boxes_with_one_label_the_better_stays():
    boxes = [(10, 10, 50, 50), (11, 10, 51, 50), (11, 11, 50, 50)]
    detections = detect([(0.6, 0.6, 0, 0), (0.9, 0.9, 0, 0), (0, 0, 0.8, 0.8)], boxes)
    assert [(box.label, round(box.score, 1)) for box in detections] == [
        ("red cone", 0.9),
        ("Purple-Cone", 0.8),
    ]


def test_coordinates_are_plain_floats():
    (detection,) = detect([(0.9, 0.9, 0, 0)], [(10, 10, 50, 50)])
    assert all(type(side) is float for side in detection.bbox) and type(detection.score) is float
