"""One line of a JSONL file that somebody else has written: its value, or what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

LONGEST_LINE = 64 * 2**20  # bytes; keeps the memory bounded whatever the file is


def value_of(line: bytes, number: int) -> Any:
    """The JSON value of line `number` (1-based; the first may begin with a byte order mark).

    Raises ValueError whose text says what is wrong.
    """
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start + 1})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
