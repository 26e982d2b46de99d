"""Numbered boxes drawn over a picture: lines outside of what they frame, plates with numbers where they hide least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valor_ray.records import BBox

# RGB; far from each other, and every line has a dark rim, so that each is seen on any ground
COLOURS = np.array(
    [
        (255, 40, 40), (0, 225, 60), (40, 110, 255), (255, 225, 0), (255, 60, 230),
        (0, 235, 235), (255, 140, 0), (255, 255, 255), (165, 90, 255), (160, 255, 120),
    ]
)  # fmt: skip
_RIM = (0, 0, 0)
_STEPS = 5  # places tried along each side of a box
_FAR = (0, 1, 2, 4)  # plate heights between a box and its plate: near ones first


def draw_numbered(rgb: np.ndarray, boxes: Sequence[BBox]) -> None:
    """Draws on the pixels (uint8, contiguous): box i gets the number i + 1. boxes: px of these pixels, inside them.

    Line widths and numbers go by the picture's size. Colours of boxes that are near each other differ, and differ
    from what is framed. Each number stands on a plate of its box's colour, outside the box where there is room; a plate
    that had to go elsewhere is tied to its box by a line.
    """
    height, width = rgb.shape[:2]
    long = max(height, width)
    line, digit = max(1, round(long / 300)), max(14, round(long / 56))
    corners = np.array(boxes, float).reshape(-1, 4)
    frames = np.stack([_frame(box, line, width, height) for box in corners]) if len(corners) else corners
    colours = _colours(rgb, corners, near=2 * digit)
    sizes = np.array([_plate_size(number + 1, digit) for number in range(len(corners))]).reshape(-1, 2)
    plates = _places(corners, frames, sizes, (width, height))
    for index in np.argsort(-_areas(corners), kind="stable"):  # small boxes over large ones
        _draw_frame(rgb, frames[index], colours[index], line)
    for plate, frame, colour in zip(plates, frames, colours, strict=True):
        _draw_tie(rgb, plate, frame, colour)
    for index, plate in enumerate(plates):
        _draw_plate(rgb, plate, colours[index], index + 1, digit)


def _areas(corners: np.ndarray) -> np.ndarray:
    return np.asarray((corners[:, 2:] - corners[:, :2]).prod(-1))


def _frame(box: np.ndarray, line: int, width: int, height: int) -> np.ndarray:
    """Outer corners, whole px, of the frame around a box: it hides nothing of the box but at the picture's edges."""
    out = line + 2  # a px of rim on either side of the line
    low, high = np.floor(box[:2]).astype(int) - out, np.ceil(box[2:]).astype(int) + out
    limits = np.array([width, height])
    return np.concatenate([low.clip(0, limits - 1), high.clip(1, limits)])


def _colours(rgb: np.ndarray, corners: np.ndarray, near: int) -> list[tuple[int, int, int]]:
    """For each box the colour that is farthest from those of its neighbours and from what it frames."""
    chosen: list[int] = []
    used = np.zeros(len(COLOURS))
    for index, box in enumerate(corners):
        before = corners[:index]
        apart = np.maximum(before[:, :2] - box[2:], box[:2] - before[:, 2:]).max(-1) if index else np.empty(0)
        neighbours = [chosen[other] for other in np.flatnonzero(apart < near)]
        ground = np.linalg.norm(COLOURS[:, None] - _ground(rgb, box), axis=-1).mean(1)
        away = np.full(len(COLOURS), 400.0)
        for other in neighbours:
            away = np.minimum(away, np.linalg.norm(COLOURS - COLOURS[other], axis=-1))
        repeats = np.bincount(neighbours, minlength=len(COLOURS)) if neighbours else 0
        pick = int(np.argmax(away + 0.5 * ground - 12 * used - 150 * np.asarray(repeats)))
        used[pick] += 1
        chosen.append(pick)
    return [tuple(map(int, COLOURS[pick])) for pick in chosen]  # type: ignore[misc]


def _ground(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Colours (25, 3) of px spread over the box, its edges included."""
    height, width = rgb.shape[:2]
    x = np.linspace(box[0], box[2], 5).astype(int).clip(0, width - 1)
    y = np.linspace(box[1], box[3], 5).astype(int).clip(0, height - 1)
    return np.asarray(rgb[np.ix_(y, x)].reshape(-1, 3).astype(float))


def _plate_size(number: int, digit: int) -> tuple[int, int]:
    """Width and height of the plate that holds a number, px."""
    return round(digit * (0.75 * len(str(number)) + 0.55)), round(digit * 1.45)


def _places(
    corners: np.ndarray, frames: np.ndarray, sizes: np.ndarray, picture: tuple[int, int]
) -> np.ndarray:
    """A plate (x1, y1, x2, y2) for each box: on no other plate where possible, hiding as little of boxes as can be."""
    plates = np.zeros((len(corners), 4))
    placed: list[int] = []
    for index in np.argsort(_areas(corners), kind="stable"):  # small boxes first: they have the least choice
        options, cost = _options(frames[index], sizes[index], picture)
        size = float(sizes[index].prod())
        on_plates = _common(options, plates[placed] + np.array([-1, -1, 1, 1])).sum(1)
        clash = 12 * on_plates / size + 2 * (on_plates > 0)
        hidden = (_common(options, corners) / np.minimum(_areas(corners), 4 * size).clip(1)).sum(1)
        on_frames = _crossings(options, np.delete(frames, index, 0))
        plates[index] = options[np.argmin(cost + clash + hidden + 0.35 * on_frames)]
        placed.append(int(index))
    return plates


def _options(frame: np.ndarray, size: np.ndarray, picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Places for a plate along each side of a frame, outside at several distances and inside, with their costs."""
    (x1, y1, x2, y2), (wide, high) = frame, size
    steps = np.arange(_STEPS)
    across = np.linspace(x1, max(x2 - wide, x1), _STEPS)
    down = np.linspace(y1, max(y2 - high, y1), _STEPS)
    rows = []  # x, y, cost
    for far in _FAR:
        gap, cost = far * high, 0.9 * far + 0.02 * steps
        for more, y in ((0.0, y1 - gap - high), (0.04, y2 + gap)):
            rows.append(np.stack([across, np.full(_STEPS, y), cost + more], 1))
        for x in (x1 - gap - wide, x2 + gap):
            rows.append(np.stack([np.full(_STEPS, x), down, cost + 0.1], 1))
    for x in (x1, x2 - wide):
        rows.append(np.array([[x, y, 0.3] for y in (y1, y2 - high)]))
    places = np.concatenate(rows)
    held = places[:, :2].clip(0, np.array([picture[0] - wide, picture[1] - high]).clip(0))
    moved = np.abs(held - places[:, :2]).sum(1) / high
    return np.concatenate([held, held + size], 1), places[:, 2] + 0.5 * moved


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area that each of a (n, 4) has in common with each of b (m, 4), px²."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    return np.asarray(sides.clip(min=0).prod(-1))


def _crossings(plates: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """How many frames' lines each plate lies on."""
    touching = _common(plates, frames) > 0
    within = (plates[:, None, :2] > frames[None, :, :2]).all(-1) & (
        plates[:, None, 2:] < frames[None, :, 2:]
    ).all(-1)
    return np.asarray((touching & ~within).sum(1))


def _draw_frame(rgb: np.ndarray, frame: np.ndarray, colour: tuple[int, int, int], line: int) -> None:
    """Rim, line, rim. By slices: cv2's lines are wider than they are asked to be."""
    for inset, wide, ink in ((0, line + 2, _RIM), (1, line, colour)):
        x1, y1, x2, y2 = (int(side) for side in frame + np.array([inset, inset, -inset, -inset]))
        rgb[y1 : min(y1 + wide, y2), x1:x2] = ink
        rgb[max(y2 - wide, y1) : y2, x1:x2] = ink
        rgb[y1:y2, x1 : min(x1 + wide, x2)] = ink
        rgb[y1:y2, max(x2 - wide, x1) : x2] = ink


def _draw_tie(rgb: np.ndarray, plate: np.ndarray, frame: np.ndarray, colour: tuple[int, int, int]) -> None:
    """A line from the plate's middle to the nearest point of its frame, where it does not touch that."""
    import cv2

    if np.maximum(plate[:2] - frame[2:], frame[:2] - plate[2:]).max() <= 3:
        return
    middle = (plate[:2] + plate[2:]) / 2
    start, end = ((round(x), round(y)) for x, y in (middle, middle.clip(frame[:2], frame[2:])))
    cv2.line(rgb, start, end, _RIM, 3, cv2.LINE_AA)
    cv2.line(rgb, start, end, colour, 1, cv2.LINE_AA)


def _draw_plate(
    rgb: np.ndarray, plate: np.ndarray, colour: tuple[int, int, int], number: int, digit: int
) -> None:
    import cv2

    x1, y1, x2, y2 = (round(side) for side in plate)
    rgb[y1:y2, x1:x2] = _RIM
    rgb[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] = colour
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
    face, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(digit / 8))
    scale = digit / 22  # a digit of this face is 22 px high at scale 1
    (wide, high), _base = cv2.getTextSize(str(number), face, scale, thick)
    at = round((x1 + x2 - wide) / 2), round((y1 + y2 + high) / 2)
    cv2.putText(rgb, str(number), at, face, scale, ink, thick, cv2.LINE_AA)
