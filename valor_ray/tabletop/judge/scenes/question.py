"""What a tabletop question asks, read from its words by rules: no list of wordings, and None where the rules end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from valor_ray.tabletop.judge.scenes.mentions import Mention, read_mentions, stray_colour
from valor_ray.tabletop.judge.scenes.relations import Relation, leads, read_relation, reference


class Kind(StrEnum):
    COUNT = "count"  # how many of `subject`, with a relation: of those that have it to `other`
    EXISTS = "exists"
    ATTRIBUTE = "attribute"  # `target` of the subject, with a relation: of the extreme one
    SIZE = "size"  # of `subject`, when `other` measures `number`
    RATIO = "ratio"  # of `subject` to `other`
    HOLDS = "holds"  # has `subject` the relation to `other`
    CHOICE = "choice"  # which of the two has it
    COUNTS = "counts"  # are there more of `subject` than of `other`


@dataclass(frozen=True)
class Asked:
    kind: Kind
    subject: Mention
    other: Mention | None = None
    relation: Relation | None = None
    target: str = ""  # "colour" or "shape"
    number: float = 0.0  # size of `other`, in the unit that is asked for
    measures: tuple[str, str] = ("height", "height")  # of `subject` and of `other`, for SIZE and RATIO
    sign: int = 0  # for COUNTS: 1 more, -1 fewer, 0 as many


_VIEWER = r"(?:camera|viewer|observer|lens|photographer|us|you|me|eye|spectator|beholder)\b"
_PLACE = r"(?:picture|image|photo|photograph|scene|view|frame|shot|table ?top|table|desk|room)\b"
_LOOKING = re.compile(
    r"\b(?:as )?(?:seen |viewed |looking |standing |away )?(?:in front of|to|from|by|for|towards|of|than|at) "
    rf"(?:where )?(?:the )?{_VIEWER}(?:'s)?(?: (?:point of view|viewpoint|perspective|position|side|stands?|is|are))?"
    rf"|\b(?:in|on|on top of|from|within|inside|across|of) (?:the|this) (?:whole |entire )?{_PLACE}"
    r"|\b(?:in view|in sight|in all)\b"
)
_FORM = re.compile(r"\b(?:true or false|yes or no|or not|yes/no)\b[,:;]?")
_OPTIONS = re.compile(r"\b(?:options?|choices|choose (?:from|between)|select from|candidates)\b\s*:?\s*(.+)$")
_UNITS = {
    "mm": 0.1, "millimetre": 0.1, "cm": 1.0, "centimetre": 1.0, "m": 100.0, "metre": 100.0,
    "inch": 2.54, "inche": 2.54, "foot": 30.48, "feet": 30.48, "ft": 30.48, "unit": 1.0,
}  # fmt: skip
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_GIVEN = re.compile(rf"\b(\d+(?:\.\d+)?)[ -]?({_UNIT})s?\b")
_UNIT_ASKED = re.compile(rf"\b(?:in|how many) ({_UNIT})s?\b")
_CLAUSE = re.compile(
    r"[,;:?]|\.(?!\d)|\b(?:if|given|when|suppos\w+|assum\w+|provided|knowing|how|what|which|then)\b"
)
_RATIO = re.compile(r"\bratio|\btimes\b|\bfactor\b|\bmultiple\b|\bdivided?\b|\bquotient\b|\bhow often\b")
_DENOMINATOR = re.compile(
    r"\b(?:than|compared (?:to|with)|comparison (?:to|with)|relative to|divided by|by|as (?:tall|high|wide) as|times|"
    r"to|over|against|multiples? of|units of)(?: (?:the|that|of|height|width|size))*\s*$"
)
_FITS = re.compile(r"\b(?:fits?|goes|go)\b.*\b(?:in|into|inside)(?: (?:the|that|of|height|width))*\s*$")
_STANDS_FOR = re.compile(
    r"\b(?:(?:kind|type|sort) of (?:an? )?(?:object|thing|item)\b|"
    r"(?:among|one of)(?: all)?(?: the)? (?:objects|things|items)\b)"
)
_COUNTED = re.compile(
    r"\bhow many\b|\bnumber of\b|\bcount\b|\btally\b|\bquantity of\b|\bamount of\b|\btotal of\b"
)
_AMOUNTS = re.compile(
    r"(?P<more>\bmore\b|outnumber|exceed|\b(?:greater|larger|higher|bigger)\b|\bmajority\b|\bsurpass)|"
    r"(?P<fewer>\bfewer\b|\bless\b|\b(?:smaller|lower)\b|\bminority\b)|(?P<same>\bas many\b|\bsame\b|\bequal)"
)
_TARGETS = {
    "colour": r"\bcolou?r\b|\bhue\b|\bcolou?red\?|\bpainted\b",
    "shape": r"\bshape\b|\bshaped\b|\bform\b|\b(?:kind|type|sort) of (?:object|thing|item|solid|shape|body)\b",
}
_CHOOSE = re.compile(r"\b(?:which|what|who|whose|choose|pick|select|name|or|whichever)\b")
_BEYOND = re.compile(
    r"\bnot\b|n't\b|\bneither\b|\bexcept|\bexclud|\bother than\b|\bbesides\b|\bapart from\b|\bwithout\b|\bhow much\b|"
    r"\bhow many (?:more|fewer)\b"
)
_SO_MANY = re.compile(
    r"\b(?:exactly|only|single|more|fewer|less|two|three|four|five|several|many|most|few|just)\b"
)
_THERE = re.compile(
    r"\b(?:there|see|seen|shows?|showing|contains?|visible|presen\w*|appears?|includes?|find|spot|hold|have|has|exists?|"
    r"any|depict\w*|feature\w*|is|are|lie|stand|make out|identify|notice|detect)\b"
)


def read_question(question: str) -> Asked | None:
    """What is asked; None when the rules cannot read it."""
    text = " ".join(question.lower().replace("color", "colour").replace("meter", "metre").split())
    text, options = _without_options(_FORM.sub(" ", text))
    text = " ".join(_LOOKING.sub(" ", text).split())
    if stray_colour(text) or _BEYOND.search(text.replace("not as tall", "less tall")):
        return None
    mentions, offered = _named(text), _distinct(read_mentions(options))
    if len(offered) == 2:
        return _choice(text, offered)
    if len(mentions) == 2:
        return _of_two(text, mentions)
    return _of_one(text, mentions[0]) if len(mentions) == 1 else None


def _without_options(text: str) -> tuple[str, str]:
    """The question and its options, which may be empty."""
    match = _OPTIONS.search(text)
    if match is None or len(read_mentions(match[1])) < 2 or not read_relation(text[: match.start()]):
        return text, ""
    return text[: match.start()], match[1]


def _named(text: str) -> tuple[Mention, ...]:
    """The distinct things of a text, without "object" where it only stands for them ("which object: this or that")."""
    mentions = _distinct(read_mentions(text))
    named = tuple(each for each in mentions if each.colour or each.noun)
    stands_for = len(named) == 1 and _STANDS_FOR.search(text)
    return named if len(named) >= 2 or stands_for else mentions


def _distinct(mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
    return tuple(m for at, m in enumerate(mentions) if not any(m.same_thing(o) for o in mentions[:at]))


def _of_one(text: str, thing: Mention) -> Asked | None:
    relation = read_relation(text)
    if _COUNTED.search(text):
        return None if relation else Asked(Kind.COUNT, thing)
    target = next((name for name, pattern in _TARGETS.items() if re.search(pattern, text)), "")
    asks = re.search(r"\b(?:what|which|tell|name|give|state|identify|describe|say|determine|report)\b", text)
    if not target and asks and relation and not thing.noun:
        target = "shape"
    if target:
        told = re.match(r"^(?:is|are|does|do|can)\b", text)
        return None if told and not asks else Asked(Kind.ATTRIBUTE, thing, relation=relation, target=target)
    if relation or re.search(r"\b(?:what|which|where|how|why|who)\b", text):
        return None
    return Asked(Kind.EXISTS, thing) if _THERE.search(text) and not _SO_MANY.search(text) else None


def _of_two(text: str, pair: tuple[Mention, ...]) -> Asked | None:
    if _GIVEN.search(text):
        return _size(text, pair)
    if _RATIO.search(text):
        return _ratio(text, pair)
    amounts = _AMOUNTS.search(text)
    if amounts and all(each.several for each in pair):
        sign = 1 if amounts["more"] else -1 if amounts["fewer"] else 0
        other = reference(text, pair)
        if other is None or _CHOOSE.search(text) or re.search(r"\bhow many\b", text):
            return None
        return Asked(Kind.COUNTS, pair[1 - other], pair[other], sign=sign)
    if counted := _COUNTED.search(text):
        return _count_beside(text, pair, counted.end())
    if any(re.search(pattern, text) for pattern in _TARGETS.values()):
        return None
    if _CHOOSE.search(text):
        return _choice(text, pair)
    return _holds(text, pair)


def _choice(text: str, pair: tuple[Mention, ...]) -> Asked | None:
    relation = read_relation(text)
    return None if relation is None else Asked(Kind.CHOICE, pair[0], pair[1], relation)


def _holds(text: str, pair: tuple[Mention, ...]) -> Asked | None:
    relation, other = read_relation(text), reference(text, pair)
    if relation is None or other is None or any(each.several for each in pair):
        return None
    return Asked(Kind.HOLDS, pair[1 - other], pair[other], relation)


def _count_beside(text: str, pair: tuple[Mention, ...], after: int) -> Asked | None:
    """How many of one thing are on a side of another."""
    relation = read_relation(text)
    counted = next((n for n, each in enumerate(pair) if each.start >= after), None)
    if relation is None or counted is None or pair[1 - counted].several:
        return None
    turned = re.search(r"\b(?:their|them)\b", text) or (
        counted == reference(text, pair) == 1 and "how many" in leads(text, pair)[1]
    )
    if turned:
        relation = Relation(relation.measure, -relation.sign, relation.start, relation.end)
    return Asked(Kind.COUNT, pair[counted], pair[1 - counted], relation)


def _size(text: str, pair: tuple[Mention, ...]) -> Asked | None:
    """The clause with the number names the thing that is known; the other one is asked for."""
    given = _GIVEN.search(text)
    assert given is not None
    clauses = _clauses(text)
    known = next(c for c in clauses if c[0] <= given.start() < c[1])
    inside = [n for n, each in enumerate(pair) if known[0] <= each.start < known[1]]
    reference = inside[0] if len(inside) == 1 else min((0, 1), key=lambda n: _gap(pair[n], given))
    start, end = known
    asked_unit = _UNIT_ASKED.search(text)
    number = float(given[1]) * _UNITS[given[2]]
    number /= _UNITS[asked_unit[1]] if asked_unit else _UNITS[given[2]]
    measures = (_measure(text[:start] + " " + text[end:]), _measure(text[start:end]))
    if not all(measures):
        measures = (measures[0] or measures[1],) * 2
    if not all(measures):
        return None
    return Asked(Kind.SIZE, pair[1 - reference], pair[reference], number=number, measures=measures)


def _clauses(text: str) -> list[tuple[int, int]]:
    cuts = [0, *(match.start() for match in _CLAUSE.finditer(text)), len(text)]
    return list(pairwise(cuts))


def _gap(mention: Mention, given: re.Match[str]) -> int:
    return max(given.start() - mention.end, mention.start - given.end())


def _measure(text: str) -> str:
    """The dimension that a clause speaks of; "" for none or two."""
    tall = re.search(r"\b(?:tall\w*|heights?|high\w*|short\w*)\b", text)
    wide = re.search(r"\b(?:wide\w*|widths?|broad\w*|narrow\w*)\b", text)
    return "" if bool(tall) == bool(wide) else "height" if tall else "width"


def _ratio(text: str, pair: tuple[Mention, ...]) -> Asked | None:
    measure = _measure(text)
    if not measure:
        return None
    before = leads(text, pair)
    marked = [n for n, lead in enumerate(before) if _DENOMINATOR.search(lead)]
    if _FITS.search(before[1]):
        other = 0
    elif len(marked) == 1:
        other = marked[0]
    elif re.search(r"\bratio\b.* between\b", text):
        other = 1
    else:
        return None
    if re.search(r"\b(?:shorter|narrower)\b", text):
        other = 1 - other
    return Asked(Kind.RATIO, pair[1 - other], pair[other], measures=(measure, measure))
