"""The relations that a question's words name, and which of two things they are said of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valor_ray.tabletop.judge.scenes.mentions import Mention

_MORE = r"(?:greater|larger|bigger|longer|higher|more|greatest|largest|biggest|longest|highest|most|maximum)"
_LESS = r"(?:smaller|shorter|lower|less|lesser|smallest|shortest|lowest|least|minimum)"
_NEAR = r"(?:closer|closest|nearer|nearest|close|near)"
_FAR = r"(?:farther|farthest|further|furthest|far|most|more|outer)"
_AT = rf"{_NEAR}(?: to)?(?: the)?"
_TO = r"(?: over| out| up)?(?: to| on| at| towards?)?(?: the| its)?"
# pattern, what is compared, sign: the first that fits at a place counts
_WORDS: tuple[tuple[str, str, int], ...] = (
    (rf"{_FAR} from the left|{_AT} right|{_FAR}{_TO} right|right[- ]?(?:hand|most)?", "x", 1),
    (rf"{_FAR} from the right|{_AT} left|{_FAR}{_TO} left|left[- ]?(?:hand|most)?", "x", -1),
    (rf"{_AT} (?:top|upper)|above|over|on top of|higher|highest|upper(?:most)?|top[- ]?most", "y", -1),
    (rf"{_AT} (?:bottom|lower)|below|under|beneath|underneath|lower|lowest|lowermost|bottom[- ]?most", "y", 1),
    (rf"in front|ahead|foremost|front[- ]?most|(?:less|least) (?:far|distant|deep|remote)\b|{_NEAR}", "distance", -1),
    (
        r"behind|beyond|in (?:the )?back|at the back|hind[- ]?most|rear[- ]?most|farther|farthest|further|"
        r"furthest|far\b|(?:more |most )?(?:distant|remote)|deeper|deepest",
        "distance",
        1,
    ),
    (r"(?:less|least|not as|not so) (?:tall|high)|shorter|shortest", "height", -1),
    (r"taller|tallest|(?:more|most) tall", "height", 1),
    (r"(?:less|least|not as|not so) wide|narrower|narrowest|thinner|thinnest", "width", -1),
    (r"wider|widest|broader|broadest", "width", 1),
)  # fmt: skip
_DIMENSIONS = {"height": "height", "width": "width", "distance": "distance", "depth": "distance"}
_REFERENCE = re.compile(
    r"\b(?:(?:left|right|front|back|top|ahead)(?:[- ]hand)?(?: side)? of|above|below|under|beneath|underneath|over|"
    r"behind|beyond|past|left|right|than|relative to|compared (?:to|with)|(?:in )?comparison (?:to|with)|"
    r"with respect to|from|outnumber|outnumbers|exceeds?|surpass|surpasses|(?:greater|larger|smaller|less|fewer) than)"
    r"(?: (?:the|a|an|is|that|where|what|of|how many|those|height|position|one|number|distance|to|there|are))*\s*$"
)
_ITS = re.compile(r"\b(?:(?:to|on|at|from) its|(?:behind|front of|above|below|under|over|than|of|from) it)\b")


@dataclass(frozen=True)
class Relation:
    """A larger or smaller value of one property: left is a smaller x."""

    measure: str  # "x", "y", "distance", "height" or "width" of a Listed
    sign: int  # 1: the larger value, -1: the smaller one
    start: int  # characters of the text
    end: int

    def same(self, other: Relation) -> bool:
        return (self.measure, self.sign) == (other.measure, other.sign)


_PATTERNS = [(re.compile(rf"\b(?:{pattern})"), measure, sign) for pattern, measure, sign in _WORDS]


def read_relation(text: str) -> Relation | None:
    """The one relation of a lower-case text; None when there is none, or several that are not each other's opposite."""
    relations = _by_dimension(text) or _by_word(text)
    if not relations:
        return None
    first = relations[0]
    if any(each.measure != first.measure for each in relations):
        return None
    if any(not each.same(first) and " or " in text[first.end : each.start] for each in relations):
        return None
    return first


def _by_word(text: str) -> list[Relation]:
    relations: list[Relation] = []
    at = 0
    while at < len(text):
        hits = [(m, measure, sign) for p, measure, sign in _PATTERNS if (m := p.search(text, at))]
        if not hits:
            break
        match, measure, sign = min(hits, key=lambda hit: (hit[0].start(), -hit[0].end()))
        relations.append(Relation(measure, sign, match.start(), match.end()))
        at = match.end()
    return relations


def _by_dimension(text: str) -> list[Relation]:
    """ "the greater height", "is its distance smaller": a property by name with a comparative."""
    named = {_DIMENSIONS[word] for word in re.findall(r"\b(height|width|distance|depth)\b", text)}
    if len(named) != 1:
        return []
    measure = named.pop()
    for pattern, sign in ((_MORE, 1), (_LESS, -1)):
        if match := re.search(rf"\b{pattern}\b", text):
            return [Relation(measure, sign, match.start(), match.end())]
    return []


def reference(text: str, mentions: tuple[Mention, ...]) -> int | None:
    """Which of two mentions (0 or 1) the other is compared with: "is a left of b", "compared with b, is a …" → b.

    None when the words do not tell.
    """
    if match := re.search(r"\bthe (former|latter)\b", text):
        return 1 if match[1] == "former" else 0
    marked = [number for number, lead in enumerate(leads(text, mentions)) if _REFERENCE.search(lead)]
    if len(marked) == 1:
        return marked[0]
    return 0 if not marked and _ITS.search(text[mentions[0].end :]) else None


def leads(text: str, mentions: tuple[Mention, ...]) -> list[str]:
    """The words before each mention, from the end of the one before."""
    ends = [0, *(mention.end for mention in mentions)]
    return [text[ends[number] : mention.start] for number, mention in enumerate(mentions)]
