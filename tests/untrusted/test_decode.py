import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from growth import linear

from valor_ray.untrusted.decode import DecodeError, Limits, decode

MIB = Limits(1 << 20)


def refused(data: bytes, limits: Limits = MIB) -> str:
    with pytest.raises(DecodeError) as error:
        decode(data, limits)
    return str(error.value)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -7, 2.5, 10**307, "", "Würfel 😀", "\0", [], {}, [[1, [2]]], {"a": {"b": [None, "c"]}}],
)
def test_json_values_come_back_whatever_way_they_were_written(value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert decode(text.encode(), MIB) == value
        assert decode(bytearray(text.encode()), MIB) == value
        assert decode(b"\xef\xbb\xbf" + text.encode(), MIB) == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"a": 1,\n "b": }', "not JSON: Expecting value (line 2, column 7)"),
        (b"[1] 2", "not JSON: Extra data (line 1, column 5)"),
        (b'"a', "not JSON: Unterminated string"),
        (b"\0", "not JSON"),
        (b'"\n"', "not JSON: Invalid control character"),
        ("[1]".encode("utf-16"), "not UTF-8: byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8: byte 2"),  # half a pair as UTF-8 never holds it
        (b'"\xc0\x80"', "not UTF-8: byte 2"),  # a NUL in two bytes
        (b'"\xf5\x80\x80\x80"', "not UTF-8: byte 2"),  # beyond Unicode
        (b'"\\ud800"', "a text holds half a character"),
        (b'{"a": [1, {"b": "x\\udfffy"}]}', "in a[1].b holds half a character"),
        (b'{"\\uD83D": 1}', "half a character"),
        (b'["\\ude00\\ud83d"]', "in [0] holds half a character"),  # the halves the wrong way round
        (b'{"a": "NaN", "b": NaN}', "no JSON number: NaN (line 1, column 19)"),
        (b"-Infinity", "no JSON number: -Infinity"),
        (b"[1,\n1e999]", "a number that is too large: 1e999 (line 2, column 1)"),
        (b"1" * 309, "a number of 309 characters, at most 308 are read: 11111111111111111111…"),
        (b"-1." + b"0" * 5000, "a number of 5,003 characters"),
        (b'{"a": 1, "b": 2, "a": 1}', 'an object names "a" twice'),
        (b"[" * 65 + b"]" * 65, "more than 64 deep"),
        (b"[" * 5000 + b"]" * 5000, "more than 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 deep"),
        (b"[" + b"1," * 100_000 + b"1]", "too many values, at most 100,000"),
        (b"[" * 200_000, "too many values"),
        (b" " * (1 << 20) + b"1", "1,048,577 bytes are too many, at most 1,048,576"),
    ],
)
def test_what_is_no_json_value_within_the_limits_is_refused_with_its_place(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_messages_stay_short_whatever_was_sent() -> None:
    for data in (b'{"%s": 1, "%s": 2}' % ((b"k" * 5000,) * 2), b'{"%s": ["\\ud800"]}' % (b"k" * 5000)):
        assert len(refused(data)) < 200


def test_limits_are_those_of_the_sender() -> None:
    assert decode(b"[" * 3 + b"]" * 3, Limits(100, depth=3)) == [[[]]]
    assert "more than 2 deep" in refused(b"[" * 3 + b"]" * 3, Limits(100, depth=2))
    assert "at most 4 are" in refused(b"12345", Limits(100, digits=4))
    assert "at most 2 are" in refused(b"[1,2,3]", Limits(100, values=2))


def test_half_characters_are_replaced_where_the_reader_wants_it() -> None:
    lenient = Limits(1000, half_pairs="replace")
    assert decode(b'{"a\\ud800": ["\\udc00b", "\\ud83d\\ude00"]}', lenient) == {"a\ufffd": ["\ufffdb", "😀"]}


def test_the_last_of_repeated_names_counts_where_the_reader_wants_it() -> None:
    assert decode(b'{"a": 1, "a": 2}', Limits(1000, repeated_names="last")) == {"a": 2}


@pytest.mark.parametrize(
    "shape",
    [
        lambda n: b'"' + b"\\" * n,
        lambda n: b'"' + b'\\"' * (n // 2),
        lambda n: b"[" + b'"a",' * (n // 20) + b"1]",
        lambda n: b"1" * n,
        lambda n: b"1." + b"1" * n,
        lambda n: b"[" + b'"' + b"x" * n + b'", NaN]',
        lambda n: b'{"' + b"k" * (n // 2) + b'": [' + b'"a", ' * (n // 20) + b'"\\ud800"]}',
        lambda n: b"\n" * n + b"}",
    ],
)
def test_time_grows_with_the_size_and_no_faster(shape: Callable[[int], bytes]) -> None:
    def work(size: int) -> None:
        with suppress(DecodeError):
            decode(shape(size), MIB)

    assert linear(work, 800_000)
