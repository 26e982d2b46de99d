"""The task of a question about the tabletop: English in, a Task out; None where the words do not tell."""

from __future__ import annotations

import re
from functools import lru_cache

from valor_ray.tabletop.judge.text.english import COLOURS, MATERIALS, has, normal_phrase
from valor_ray.tabletop.judge.text.question import measures
from valor_ray.tabletop.judge.text.tasks.facts import Fact, facts, mark
from valor_ray.tabletop.judge.text.tasks.task import Kind, Task

_SEEN = re.compile(r"\b(?:as )?(?:seen|viewed|looking) from (?:the camera|here|our side|where we are)\b,?")
_NOUNS = r"box(?:es)?|balls?|cylinders?|cones?|objects?|things?|items?"
_THING = re.compile(rf"\b(?:(?:{'|'.join(sorted(COLOURS | MATERIALS))})[ -])?(?:{_NOUNS})\b")
_HOW_MANY = r"how many(?! times| cm| centim\w+| met\w+)|number of|count(?:s|ing)?|amount of|total of|quantity of|tally"
_YES_NO = re.compile(
    r"^(?!what|which|how|tell|count|name)(?:[^,]*, ?)?(?:\w+ ){0,2}?(?:is|are|was|"
    r"were|does|do|did|can|could|would|will|has|have|should)\b"
)
_TALL = r"tall\w*|height\w*|high(?:er|est)?|short\w*"
_WIDE = r"wid\w+|broad\w*|narrow\w*"
_TIMES = r"how many times|divided by|ratio|factor|times (?:taller|as tall|the height|higher|the size)|fold|multiple"
_BEFORE = re.compile(
    r"^\W*(?:compared|relative|with respect|in comparison|in relation|seen from|"
    r"measured against)(?: to| with)?\b[^§]*§a"
)


@lru_cache(maxsize=512)
def task_of_question(question: str) -> Task | None:
    text = _SEEN.sub("", " ".join(question.lower().replace("color", "colour").split()).replace("’", "'"))
    things = list(dict.fromkeys(normal_phrase(match[0]) for match in _THING.finditer(text)))
    things = [thing for thing in things if not _only_asked(thing, text, things)]
    if not 1 <= len(things) <= 2:
        return None
    a, b = (*things, "")[:2]
    return _of_two(text, a, b) if b else _of_one(text, a)


def _only_asked(thing: str, text: str, things: list[str]) -> bool:
    """The "object" of "which object is closer" is no phrase of its own."""
    if thing not in ("object", "thing", "item"):
        return False
    return len(things) > 2 or (
        len(things) > 1
        and has(
            (
                rf"which (?:\w+ )?{thing}|what {thing}|(?:of|between) (?:these|"
                rf"the) (?:two )?{thing}s?|(?:these|two|both) {thing}s"
            ),
            text,
        )
    )


def _target(text: str) -> str:
    if has(r"colours?|coloured|painted|hue", text):
        return "colour"
    match = re.search(r"\b(shape|material|kind|type|pattern|form|sort)\b", text)
    named = match[1] if match else ""
    return {"kind": "shape", "type": "shape", "form": "shape", "sort": "shape"}.get(named, named)


def _of_one(text: str, a: str) -> Task | None:
    claims = [fact for fact in facts(mark(text, a, "", "a", {}))]
    claims = [fact for fact in claims if not re.search(r"\b(?:from|to) the (?:left|right)\b", fact.sentence)]
    target = _target(text)
    if target and claims:
        quantity = {"height": "real height", "width": "real width"}.get(
            claims[0].quantity, claims[0].quantity
        )
        return (
            Task(Kind.EXTREME, a, quantity=quantity, low=claims[0].less, target=target) if quantity else None
        )
    if has(_HOW_MANY, text):
        return Task(Kind.COUNT, a)
    if target:
        return Task(Kind.ASK, a, target=target)
    if _YES_NO.match(text) or has(r"exists?|any|is there|say yes|yes if|whether|present|spot", text):
        return Task(Kind.EXISTS, a)
    return None


def _of_two(text: str, a: str, b: str) -> Task | None:
    marked = mark(text, a, b, "a", {})
    claims = list(facts(marked))
    size = "real width" if has(_WIDE, text) and not has(_TALL, text) else "real height"
    if given := measures(text):
        return _scale(marked, given[0], a, b, size)
    if has(_TIMES, text):
        turned = (
            has(r"fits? in(?:to)?|goes? in(?:to)?", text)
            or bool(_BEFORE.match(marked))
            or has(r"as \w+ as(?: the)? §a", marked)
        )
        return Task(Kind.RATIO, *((b, a) if turned else (a, b)), quantity=size)
    either = re.search(r"§a (?:or|and)(?: is it)?(?: the)? §b", marked) and not has(
        r"than|of the §|and", text
    )
    options = either or has(
        (
            r"options?|which|choose|pick|select|name the|what is (?:closer|nearer|taller|"
            r"shorter)|tell me (?:which|whether it)"
        ),
        text,
    )
    if has(_HOW_MANY, text) and claims and not _YES_NO.match(text):
        return _placed(Kind.COUNT_SIDE, claims[0], a, b, marked)
    if options and claims and not has(r"options?\W+\{?(?:yes|no)", text):
        quantity = _measure(claims[0], size)
        return Task(Kind.CHOICE, a, b, quantity, low=claims[0].less) if quantity else None
    if _numbers_compared(text, claims):
        lower = claims[0].lower() or ("a" if claims[0].less else "b")
        return Task(Kind.MORE, a, b, low=lower == "a")
    return _placed(Kind.COMPARE, claims[0], a, b, marked) if claims else None


def _numbers_compared(text: str, claims: list[Fact]) -> bool:
    return (
        bool(claims)
        and claims[0].quantity == ""
        and not has(_TALL, text)
        and has(
            rf"more|fewer|outnumber\w*|less|number|greater|as many|larger|smaller|in the majority|{_HOW_MANY}",
            text,
        )
    )


def _measure(fact: Fact, size: str) -> str:
    if fact.quantity in ("x", "y", "depth"):
        return fact.quantity
    return (
        size
        if fact.quantity or has(f"{_TALL}|{_WIDE}|size|big\\w*|small\\w*|large\\w*", fact.sentence)
        else ""
    )


def _placed(kind: Kind, fact: Fact, a: str, b: str, marked: str) -> Task | None:
    quantity = _measure(fact, "real height")
    if not quantity:
        return None
    counted = re.search(r"(?:how many|number of|count)\W+(?:the |of the )?§([ab])", marked)
    if kind is Kind.COUNT_SIDE and counted:
        return Task(kind, *((a, b) if counted[1] == "a" else (b, a)), quantity, fact.less)
    swapped = bool(_BEFORE.match(marked)) or has(
        r"(?:to|on|at) (?:its|their) (?:left|right)|(?:with|have|has) (?:the |any |an? )?§b", marked
    )
    low = fact.less
    lower = fact.lower()
    if swapped:
        if kind is Kind.COUNT_SIDE:
            return Task(kind, b, a, quantity, low)
        return Task(kind, b, a, quantity, low)
    if kind is Kind.COMPARE and lower:
        low = lower == "a"
    return Task(kind, a, b, quantity, low)


def _scale(marked: str, number: str, a: str, b: str, size: str) -> Task | None:
    """The known thing is the one named nearest to the number, before it if there is one in the same clause."""
    at = re.search(rf"\b{re.escape(number)}\b", marked)
    named = [(m.start(), m[1]) for m in re.finditer(r"§([ab])", marked)]
    if at is None or not named:
        return None
    clause = max(
        marked.rfind(mark_, 0, at.start())
        for mark_ in (",", ".", ";", "?", ":", " if ", " when ", " given ", " while ")
    )
    stop = min(
        (i for i in (marked.find(m, at.end()) for m in (",", ". ", ";", "?", ":")) if i >= 0),
        default=len(marked),
    )
    inside = [name for place, name in named if clause < place < stop]
    known = inside[-1] if inside else min(named, key=lambda pair: abs(pair[0] - at.start()))[1]
    first, other = (a, b) if known == "a" else (b, a)
    return Task(Kind.SCALE, first, other, quantity=size, number=float(number))
