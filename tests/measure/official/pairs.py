"""Made-up answers and truths, by benchmark: of every type that a program may leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ANY: list[Any] = [None, True, False, 0, 1, 2, 3, 7, 10, 2.0, 2.9, 0.25, -1, [], [2], {"a": 1}]
ANY += "| |0|1|2|2.0|3 cups|two|ten|yes|Yes|YES.|yes and no|no|No.|not sure|unknown|true|False|none".split(
    "|"
)
YES_NO = [
    word + end
    for word in "yes|no|true|false|Yes, it is|no way|eyes|nothing|untrue|yesterday|unknown".split("|")
    for end in ("", ".", "!", " ", "\n", "?", ", I think", " - yes", " - no", " (0.5, 0.5)")
]
COUNTS = [0, 1, 2, 3, 7, 10]


@dataclass(frozen=True)
class Pairs:
    """Each truth with each answer. kind: the script's name for the type of the answer, where it wants one."""

    truths: list[Any]
    answers: list[Any]
    kind: str = ""


NUMBERS = [
    0.2375,
    0.26,
    0.9,
    0.95,
    0.951,
    1.05,
    1.5,
    1.51,
    2.1,
    3.3,
    3.51,
    12.0,
    12.51,
    95.0,
    95.1,
    150.0,
    49.9,
]
TEXTS = (
    "S|s|South|N|NE|north|sofa|Sofa|the sofa bed|so|o|blue|chair|The Blue Chair|left|to the left|Left.".split(
        "|"
    )
)
PAPER = {
    "omni3d_int": Pairs(COUNTS, ANY, "int"),
    "omni3d_float": Pairs([0.25, 1.0, 2.0, 3.5, 12.5, 100.0, -1.0], [*ANY, *NUMBERS, "1.02", "1e2"], "float"),
    "omni3d_text": Pairs(["yes", "no", "S", "N", "sofa", "the blue chair", "left"], [*ANY, *TEXTS], "str"),
    "robospatial": Pairs(["yes", "no"], [*ANY, *YES_NO]),
    "blink": Pairs(
        ["0", "1", "2", "3", "10", "yes", "no"], [*ANY, "yes.", " yes", "no ", "2 ", "10.0", 10.4]
    ),
    "vsr": Pairs([0, 1], [*ANY, *YES_NO]),
    "realworldqa": Pairs(
        ["A", "Left", "No", "10", "2", "the left lane", "Three."],
        [*ANY, *"A|a.|A. left|left|Left.|left lane|three|three,|the|lane,.".split("|")],
    ),
    "tallyqa": Pairs(COUNTS, [*ANY, " 2 ", "07"]),
    "countbenchqa": Pairs(COUNTS, [*ANY, " 2 ", "07"]),
}
ROBOSPATIAL = Pairs(["yes", "no"], [*YES_NO, "YES", "NO", "not sure", "nowhere", "It is", "", " "])
