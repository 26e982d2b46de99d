"""What can be asked, planned and computed on the tabletop, in one form for question, plan and program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    COUNT = "count"  # how many a
    EXISTS = "exists"  # is there an a
    ASK = "ask"  # the target of a
    EXTREME = "extreme"  # the target of the a that is lowest or highest in a quantity
    CHOICE = "choice"  # which of a and b is lower or higher in a quantity
    COMPARE = "compare"  # is a lower or higher than b in a quantity
    MORE = "more"  # are there fewer or more a than b
    RATIO = "ratio"  # a over b in a quantity
    SCALE = "scale"  # number times b over a in a quantity: a is known
    COUNT_SIDE = "count_side"  # how many a are lower or higher than b in a quantity


YES_NO = (Kind.EXISTS, Kind.COMPARE, Kind.MORE)
PAIRS = (Kind.CHOICE, Kind.COMPARE, Kind.MORE, Kind.RATIO, Kind.SCALE, Kind.COUNT_SIDE)
POSITIONS = ("x", "y", "depth")
QUANTITIES = (*POSITIONS, "height", "width", "real height", "real width", "area")


@dataclass(frozen=True)
class Task:
    kind: Kind
    a: str  # phrases in normal form
    b: str = ""
    quantity: str = ""  # one of QUANTITIES
    low: bool = (
        True  # of a COMPARE, MORE, COUNT_SIDE: a is the lower; of a CHOICE, EXTREME: the lower is taken
    )
    target: str = ""  # colour, shape, ...
    number: float = 1.0  # the known size of a SCALE
    negated: bool = False  # of an EXISTS: no for yes

    def __str__(self) -> str:
        end = "lower" if self.low else "higher"
        words = {
            Kind.COUNT: f"the number of {self.a!r}",
            Kind.EXISTS: f"whether there is {self.a!r}" + (", turned round" if self.negated else ""),
            Kind.ASK: f"the {self.target} of {self.a!r}",
            Kind.EXTREME: f"the {self.target} of the {self.a!r} of {end}est {self.quantity}",
            Kind.CHOICE: f"which of {self.a!r} and {self.b!r} is {end} in {self.quantity}",
            Kind.COMPARE: f"whether {self.a!r} is {end} than {self.b!r} in {self.quantity}",
            Kind.MORE: f"whether there are {'fewer' if self.low else 'more'} {self.a!r} than {self.b!r}",
            Kind.RATIO: f"{self.quantity} of {self.a!r} over that of {self.b!r}",
            Kind.SCALE: f"{self.number:g} times {self.quantity} of {self.b!r} over that of {self.a!r}",
            Kind.COUNT_SIDE: f"the number of {self.a!r} that are {end} than {self.b!r} in {self.quantity}",
        }
        return words[self.kind].replace("lowerest", "lowest").replace("higherest", "highest")
