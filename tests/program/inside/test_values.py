"""From a program's values to JSON: a value, or an error that says why there is none; on both paths."""

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from valor_ray.program.inside.values import Image, answer_to_json, arguments_to_json, to_json
from valor_ray.program.messages import LIMITS
from valor_ray.untrusted.decode import decode

WIDE = np.array([1.5], dtype="g")  # long double


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (WIDE, [1.5]),
        (WIDE[0], 1.5),
        (np.float16(0.5), 0.5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(7), 7),
        (np.array(["a", "é"]), ["a", "é"]),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (np.str_("a"), "a"),
        ({1: {2.5, 1}, (1, 2): "x"}, {"1": [1, 2.5], "(1, 2)": "x"}),
        (-(10**307), -(10**307)),
        (Image(4, 3, [0, 0, 4, 3]), {"crop": [0, 0, 4, 3]}),
        (nested(32), nested(32)),
    ],
)
def test_usual_and_wide_values_become_json(value: Any, json_value: Any) -> None:
    assert answer_to_json(value) == json_value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([10**5000], "whole number of about 4,983 digits"),
        ([-(10**308)], "whole number of about 307 digits"),
        ("a\ud800", "half a character"),
        ({"\udfff": 1}, "half a character"),
        (np.array(["\ud800"]), "half a character"),
        (nested(33), "nested too deeply: more than 32"),
        (nested(5000), "nested too deeply"),
        (np.longdouble("1e4000") if np.finfo("g").max > 1e308 else np.inf, "holds inf"),
        (np.array([np.nan]), "holds nan"),
        (np.datetime64("2020-01-01"), "datetime64"),
        (np.timedelta64(1, "s"), "timedelta64"),
        (np.complex64(1j), "complex64"),
        (np.clongdouble(1j), "complex"),
        (np.array([(1, 2.0)], dtype="i4,f8"), "void"),
        (np.bytes_(b"a"), "bytes"),
        (b"a", "holds a bytes"),
        (Decimal(1), "holds a Decimal"),
        (range(3), "holds a range"),
        ("x" * (257 << 10), "final_answer is longer than 256 KiB"),
        ("\0" * (60 << 10), "final_answer is longer than 256 KiB"),
    ],
)
def test_what_json_cannot_hold_says_so(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        answer_to_json(value)
    assert "final_answer" in str(error.value) and len(str(error.value)) < 200


def test_values_that_hold_themselves_end() -> None:
    ring: list[Any] = []
    ring.append(ring)
    array = np.empty((), dtype=object)
    array[()] = array
    for value in (ring, array):
        with pytest.raises(ValueError, match="nested too deeply"):
            to_json(value, "final_answer")


def test_arguments_are_bounded_before_they_are_sent() -> None:
    assert arguments_to_json("depth", {"bbox": (1, np.float32(2.5))}) == {"bbox": [1, 2.5]}
    with pytest.raises(ValueError, match="depth: the arguments are longer than 32 KiB"):
        arguments_to_json("depth", {"bbox": [[]] * 10_000})


def test_the_driver_reads_whatever_may_be_an_answer() -> None:
    for value in (nested(32), [Image(1, 1, [0, 0, 1, 1])], 10**307, [[]] * 60_000, {",": ":" * 200_000}):
        message = json.dumps({"t": "done", "answer": answer_to_json(value)}).encode()
        assert decode(message, LIMITS)["answer"] == answer_to_json(value)
