"""When an answer is right. A missing answer is never right."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

TOLERANCE = 0.20  # relative error up to which a size, distance or ratio counts as right
MRA_THRESHOLDS = tuple(step / 100 for step in range(50, 0, -5))  # Omni3D-Bench: 0.5, 0.45, … 0.05
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_LETTERED = re.compile(r"\(?([A-Za-z])(?:\s*[).:]+\s*|\s+-?\s*)(?=\S)")


def is_right(answer: Any, truth: str | int | float | bool, tolerance: float = TOLERANCE) -> bool:
    """The metric by what the truth is or spells: yes/no, int, options exact; float within `tolerance` (relative)."""
    truth = typed(truth)
    if isinstance(truth, bool):
        return yes_no_match(answer, truth)
    if isinstance(truth, int):
        return int_match(answer, truth)
    if isinstance(truth, float):
        return float_match(answer, truth, tolerance)
    return option_match(answer, truth)


def typed(truth: str | int | float | bool) -> str | int | float | bool:
    """A truth as what it spells, since many sets hold all truths as text: "2" is 2, "0.75" 0.75, "Yes" and "True" True.

    Other text stays as it is, and so does whatever is no text.
    """
    if not isinstance(truth, str):
        return truth
    if (said := _yes_no(truth)) is not None:
        return said
    value = number(truth)
    if value is None:
        return truth
    digits = _digits(truth)
    return int(digits.rstrip(".")) if re.fullmatch(r"[+-]?\d+\.?", digits) else value


def normalise(text: str) -> str:
    """Case, width forms, spaces, closing punctuation, quotes, braces and a leading article do not matter."""
    return re.sub(r"^(?:an?|the) (?=\w)", "", _plain(text).lower())


def _plain(text: str) -> str:
    """`normalise` that leaves case and article."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).strip(" .,;:!?\"'`“”‘’{}[]()")


def number(answer: Any) -> float | None:
    """The finite number that an answer is or spells in digits; None for anything else (booleans included)."""
    if isinstance(answer, str):
        try:
            answer = float(_digits(answer))
        except ValueError:
            return None
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return None
    try:
        value = float(answer)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _digits(text: str) -> str:
    """The number without what `float` does not read: width forms, the typographic minus, commas between thousands."""
    plain = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-").strip()
    return plain.replace(",", "") if _THOUSANDS.fullmatch(plain) else plain


def int_match(answer: Any, truth: int) -> bool:
    """2 and 2.0 and "2" are 2; 2.9 is not."""
    value = number(answer)
    return value is not None and value == truth


def float_match(answer: Any, truth: float, tolerance: float) -> bool:
    """|answer − truth| ≤ tolerance × |truth|: a negative truth is as hard as a positive one, 0 must be met exactly."""
    value = number(answer)
    return value is not None and abs(value - truth) <= tolerance * abs(truth)


def yes_no_match(answer: Any, truth: str | bool) -> bool:
    """True and "true" are yes. Anything that is neither yes nor no ("unknown", no answer) is wrong for both."""
    said = _yes_no(answer)
    return said is not None and said == _yes_no(truth)


def _yes_no(answer: Any) -> bool | None:
    if isinstance(answer, str):
        return {"yes": True, "true": True, "no": False, "false": False}.get(normalise(answer))
    return answer if isinstance(answer, bool) else None


def option_match(answer: Any, truth: str) -> bool:
    """Equal after `normalise`: being part of the other is not enough, and the empty answer matches nothing."""
    if not isinstance(answer, str):
        return False
    said = normalise(answer)
    return bool(said) and said == normalise(truth)


def choice_match(answer: Any, truth: str, options: Sequence[str]) -> bool:
    """`option_match` for one of `options` (in the order of their letters): "A. Left" is "Left" if the first one is.

    Options that are equal after `normalise` are told apart by case and article. True and False are the options yes and
    no, a number the option that spells it.
    """
    if isinstance(answer, bool | int | float):
        return is_right(answer, truth, tolerance=0.0)
    if not isinstance(answer, str):
        return False
    same = normalise if distinct(options) else _plain
    said, right = same(answer), same(truth)
    if not said or said == right:
        return bool(said)
    lettered = _LETTERED.match(answer.strip())
    if lettered is None or said in map(same, options):
        return False
    place = ord(lettered[1].upper()) - ord("A")
    rest = same(answer.strip()[lettered.end() :])
    return place < len(options) and rest == same(options[place]) == right


def distinct(options: Sequence[str]) -> bool:
    """Whether options stay different after `normalise`."""
    return len({normalise(option) for option in options}) == len(options)


def word_or_number_match(answer: Any, truth: str) -> bool:
    """`option_match`, or the same number; zero to twenty may be written as words. True and False are yes and no."""
    if isinstance(answer, bool):
        return yes_no_match(answer, truth)
    if option_match(answer, truth):
        return True
    said, right = _counted(answer), _counted(truth)
    return said is not None and said == right


def _counted(value: Any) -> float | None:
    if isinstance(value, str) and (word := normalise(value)) in _NUMBER_WORDS:
        return float(_NUMBER_WORDS.index(word))
    return number(value)


def mean_relative_accuracy(answer: Any, truth: float) -> float:
    """Share of MRA_THRESHOLDS t with |truth − answer| / |truth| < t (Omni3D-Bench). Truth 0 must be met exactly."""
    value = number(answer)
    if value is None:
        return 0.0
    if truth == 0:
        return float(value == 0)
    error = abs(truth - value) / abs(truth)
    return sum(error < threshold for threshold in MRA_THRESHOLDS) / len(MRA_THRESHOLDS)
