import numpy as np
import pytest

from valor_ray.measure.detection_ap import Boxes, average_precision, iou_matrix, mean_ap


def boxes(*rows):
    """Rows of (x1, y1, x2, y2, score)."""
    table = np.array(rows, float).reshape(-1, 5)
    return Boxes(table[:, :4], table[:, 4])


TRUE = [boxes((0, 0, 10, 10, 1), (20, 0, 30, 10, 1)), boxes((5, 5, 15, 15, 1))]


def test_iou_of_known_boxes():
    overlap = iou_matrix(
        np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30.0]])
    )
    assert overlap[0] == pytest.approx([1, 1 / 3, 0])


def test_perfect_boxes_score_one():
    assert mean_ap([TRUE], [TRUE]) == pytest.approx((1, 1))


def test_no_boxes_score_zero():
    assert average_precision([boxes(), boxes()], TRUE, 0.5) == 0


def test_a_class_that_does_not_occur_is_left_out():
    assert mean_ap([TRUE, [boxes(), boxes()]], [TRUE, [boxes(), boxes()]])[0] == pytest.approx(1)


def test_a_second_box_on_one_object_is_wrong():
    found = [
        boxes((0, 0, 10, 10, 0.9), (0, 0, 10, 10, 0.8), (20, 0, 30, 10, 0.7)),
        boxes((5, 5, 15, 15, 0.6)),
    ]
    # Precision 1 up to recall 1/3, then 3/4 (four found, three right) up to the end.
    assert average_precision(found, TRUE, 0.5) == pytest.approx((34 + 67 * 0.75) / 101)


def test_loose_boxes_count_at_low_iou_only():
    found = [boxes((0, 0, 10, 7, 0.9), (20, 0, 30, 7, 0.8)), boxes((5, 5, 15, 12, 0.7))]
    ap50, full = mean_ap([found], [TRUE])
    assert ap50 == pytest.approx(1) and full == pytest.approx(0.5)  # IoU 0.7 passes 0.50 to 0.70
