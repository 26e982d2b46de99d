"""What a plan states against a task: another operation, measurement, sense, number or thing. Silence is no fault.

Used by all four heads: with the task that a question asks, and with the task that a program computes. Every function
gives the reason as text, "" when the plan states nothing that excludes the task. A plan may word what it does in ways
that no list of words holds, so nothing here follows from a word that is absent, except where the plan names another
word of the same kind in its place.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from valor_ray.tabletop.judge.text.english import COLOURS, has, plural_pattern
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import measures
from valor_ray.tabletop.judge.text.tasks.agree import Saying
from valor_ray.tabletop.judge.text.tasks.task import POSITIONS, YES_NO, Kind, Task

_YES = (
    r"yes (?:if|when|whenever|where|as soon|only|or no)|(?:answers?|says?|reply|replies|returns?|reports?|outputs?|"
    r"gives?|means?|is|be|with|a) (?:a |with )?yes|yes/no|yes-or-no"
)
_DEEP = (
    r"depths?|distan\w+|metres?|meters?|metric|real(?:[- ]world)?|actual(?:ly)?|true|truly|3d|three[- ]dimension\w*|"
    r"far|faraway|away|near\w*|close\w*|perspective|foreshorten\w*|physical|corrected|range|remote\w*|scaled|"
    r"camera|z|zs|dz"
)
_AREA = (
    r"areas?|(?:larger|bigger|smaller) (?:box|region|bounding)|"
    r"size of (?:its|the|their|each) (?:box|region|bounding)"
)
_DEPTH = r"depths?|distan\w+|metres?|meters?|how far|how near|how close|how deep|z"
_X = r"x\d?|xs|cx|x[- ]?(?:coord\w*|cent\w+|values?|positions?|mid\w*|axis)|horizontal\w*|columns?|sideways"
_Y = (
    r"y\d?|ys|cy|y[- ]?(?:coord\w*|cent\w+|values?|positions?|mid\w*|axis)|vertical\w*|rows?|"
    r"height in the (?:picture|image)"
)
_MEASURES = {"x": _X, "y": _Y, "depth": _DEPTH}
_RELATIONS = {
    "x": r"left\w*|right\w*|leftmost|rightmost|left-most|right-most",
    "y": r"above|below|beneath|underneath|under|upper\w*|lower|higher|top\w*|bottom\w*|down\w*|up",
    "depth": (
        r"closer|closest|nearer|nearest|near|farther|farthest|further|furthest|far|front|behind|deeper|"
        r"deepest|back"
    ),
}
_HEIGHT = r"heights?|tall\w*|short\w*|vertical\w*|high\w*|upright"
_WIDTH = r"widths?|wide\w*|horizontal (?:extents?|sizes?|spans?)|broad\w*"
_MOST = (
    r"smallest|largest|lowest|highest|least|greatest|biggest|minimum|maximum|minimal|maximal|min|max|argmin|argmax|"
    r"minimi[sz]\w+|maximi[sz]\w+|record|smaller|larger|greater|lower|higher"
)
_BY = r"x\d?|y\d?|z|cx|cy|depths?|distances?|coordinates?|cent(?:er|re)s?|midpoints?|edges?|metres?"
_EXTREME = (
    r"left-?most|right-?most|closest|nearest|farthest|furthest|deepest|"
    rf"(?:{_MOST})\b[^.;\n]{{0,30}}\b(?:{_BY})|(?:{_BY})\b[^.;\n]{{0,30}}\b(?:{_MOST})|"
    r"(?:sort|order|rank|arrang|line)\w* [^.;]{0,60}(?:left to right|right to left|near\w* to far\w*|far\w* to near\w*|"
    r"by (?:\w+ ){0,3}(?:x|depth|distance|cx|z|midpoint|centre|center|position))|from left to right|from right to left"
)
_DIVIDED_BY_DEPTH = (
    r"divid\w* (?:\w+ ){0,4}?(?:heights?|pixels?|it|each|that|them|"
    r"extents?|spans?) by (?:\w+ ){0,2}?(?:depths?|distances?)|"
    r"(?:heights?|pixels?) (?:divided by|over) (?:its |the |their )?(?:depths?|distances?)"
)


def against(plan: Plan, task: Task) -> str:
    """The first thing that the plan states against the task, "" when there is none."""
    saying = Saying(plan, task)
    for check in (another_kind, another_number, another_target, another_quantity, another_sense):
        if problem := check(saying):
            return problem
    return ""


def another_kind(saying: Saying) -> str:
    """The plan answers with something of another type, or counts only some of those that the task counts."""
    text, kind = saying.plan.text, saying.task.kind
    said = has(r"yes|true|no|false|whether", text)
    if kind not in YES_NO and has(_YES, text):
        return "the plan answers yes or no"
    if kind in YES_NO and not said and has(_ANSWERS_COUNT, text):
        return "the plan answers with a number"
    if kind is Kind.COUNT and _places(saying):
        return "the plan counts only some of them"
    if kind is Kind.EXISTS and _places(saying):
        return "the plan compares before it answers"
    if kind is Kind.ASK and not _left_to_it(saying) and has(_EXTREME, text):
        return "the plan takes one of several by a measurement"
    if kind is Kind.COUNT_SIDE and set(saying.task.b.split()) <= set(saying.task.a.split()):
        return "what is counted would be part of what it is compared with"
    return ""


_ANSWERS_COUNT = (
    r"(?:answers?|returns?|outputs?|reports?|gives?|store|put) (?:\w+ ){0,2}?(?:count|number|length|total|tally)"
    r"(?: as| of| in|$|\.)|"
    r"(?:count|number|length|total|tally) (?:\w+ ){0,3}?is the (?:final )?(?:answer|result)"
)


def _places(saying: Saying) -> bool:
    """It compares places of things, in words of coordinates or depths, and does not leave that to the detector."""
    return has(_BY, saying.plan.outside_looks) and bool(saying.facts) and not _left_to_it(saying)


def _left_to_it(saying: Saying) -> bool:
    """A relation that the plan leaves to the detector is in what the program asks of it."""
    return len(saying.task.a.split()) > 2 or has(_EXTREME, saying.task.a)


def another_number(saying: Saying) -> str:
    text, task = saying.plan.text, saying.task
    spoken = {float(n) for n in (*measures(text), *re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?= times\b)", text))}
    if task.kind is Kind.RATIO and (large := [n for n in spoken if n >= 5]):
        return f"the plan's {large[0]:g} is left out"
    if task.kind is Kind.SCALE:
        numbers = {float(n) for n in re.findall(r"(?<![\w.\[])\d+(?:\.\d+)?(?![\w\]])", text)}
        fits = any(abs(n - task.number) <= 0.03 * task.number for n in numbers)
        if not fits and (odd := [n for n in (*spoken, *numbers) if n >= 5]):
            return f"the plan's number is {odd[0]:g}, not {task.number:g}"
    return ""


_TARGETS = {
    "colour": r"colour\w*|hue|tint|shade|painted",
    "shape": (
        r"shapes?|kinds?|types?|form|forms|sort of|geometr\w*|solid|"
        r"what (?:it|the object|this object|that object) is"
    ),
}


def another_target(saying: Saying) -> str:
    target, text = saying.task.target, saying.plan.text
    other = {"colour": "shape", "shape": "colour"}.get(target, "")
    if other and has(_TARGETS[other], text) and not has(_TARGETS[target], text):
        return f"the plan asks for the {other}, not the {target}"
    return ""


def another_quantity(saying: Saying) -> str:
    wanted = saying.task.quantity
    if wanted in POSITIONS:
        return _another_position(saying, wanted)
    if not wanted:
        return ""
    text, plain, real = saying.plan.text, wanted.removeprefix("real "), wanted.startswith("real")
    if wanted == "area":
        return (
            "" if has(r"areas?|sizes?|big\w*|larg\w*|small\w*", text) else "the plan does not speak of areas"
        )
    words, other = (_HEIGHT, _WIDTH) if plain == "height" else (_WIDTH, _HEIGHT)
    if has(other, text) and not has(words, text):
        return f"the plan does not go by {plain}"
    if plain == "width" and not has(_WIDTH, text):
        return "the program or question goes by width, of which the plan does not speak"
    if real and not has(_DEEP, text):
        return f"a real {plain} is taken from pixels alone"
    if real and has(_DIVIDED_BY_DEPTH, text):
        return "pixels are divided by depth"
    if not real and has(r"depths?|distan\w+|3d|metres?|z", text):
        return f"the plan says depth, and {plain} in pixels is taken alone"
    return ""


def _another_position(saying: Saying, wanted: str) -> str:
    text = saying.plan.outside_looks
    if saying.task.kind in (Kind.RATIO, Kind.SCALE) and has(_HEIGHT, text):
        return f"the plan goes by height, not {wanted}"
    if has(_MEASURES[wanted], text):
        return ""
    if stated := [name for name, words in _STATED.items() if name != wanted and has(words, text)]:
        return f"the plan goes by {stated[0]}, not {wanted}"
    if has(_AREA, text) or (
        wanted == "depth" and has(r"larger|bigger|taller|wider", text) and has("box|size", text)
    ):
        return f"the plan goes by size, not {wanted}"
    related = {name for name, words in _RELATIONS.items() if has(words, text)}
    if len(related) == 1 and wanted not in related and not (wanted != "depth" and has(_PLACE, text)):
        return f"the plan goes by {sorted(related)[0]}, not {wanted}"
    return ""


_PLACE = r"cent\w+|middles?|midpoints?|edges?|positions?|coordinates?|halfway|points?|lines?|where"
_STATED = {
    "x": r"x[- ]?(?:coord\w*|cent\w+|values?|positions?|mid\w*|axis)|x|horizontal\w*",
    "y": r"y[- ]?(?:coord\w*|cent\w+|values?|positions?|mid\w*|axis)|y|vertical\w*",
    "depth": r"depths?|metres?|distances? (?:from|to) (?:the )?(?:camera|viewer|us|lens)",
}


def another_sense(saying: Saying) -> str:
    """Every comparison that can be read is the other way round."""
    agrees, why = saying.sense()
    return why if agrees is False else ""


def another_thing(plan: Plan, phrase: str, known: Collection[str]) -> str:
    """The plan speaks of what the phrase names without its colour, or gives the noun a colour that nobody asks for.

    known: all phrases that are in question, the phrase among them. A plan that names only one of two is silent.
    """
    *colour, noun = phrase.split()
    if not colour or has(colour[0], plan.text):
        return ""
    for other in sorted(COLOURS - {colour[0]}):
        strange = f"{other} {noun}"
        if noun != "object" and strange not in known and has(plural_pattern(strange), plan.text):
            return f"the plan looks for {strange} in place of {phrase}"
    if any(other != phrase and other.split()[-1] == noun for other in known if other):
        return ""
    if noun in plan.phrases or (noun == "object" and {"object", "thing", "item"} & set(plan.phrases)):
        return f"the plan drops {colour[0]}"
    bare = rf"(?:the|a|an|every|each|all|any) {plural_pattern(noun)}" if noun not in ("box", "object") else ""
    return f"the plan drops {colour[0]}" if bare and has(bare, plan.text) else ""


def other_things(plan: Plan, task: Task) -> str:
    """All that the plan names with its colour is of other kinds than what is asked for, which it never names."""
    named = {phrase.split()[-1] for phrase in plan.phrases if phrase.split()[0] in COLOURS}
    wanted = {phrase.split()[-1] for phrase in (task.a, task.b) if phrase}
    strange = named and not named & wanted and "object" not in named | wanted
    if strange and not any(has(plural_pattern(noun), plan.text) for noun in wanted):
        return f"the plan looks for {sorted(named)[0]} in place of {task.a}"
    return ""


def any_object(plan: Plan, task: Task) -> str:
    """A bare shape is asked for; the plan looks for objects of any kind, never names it and asks for no shape."""
    general = sorted({"object", "thing", "item"} & set(plan.phrases))
    if not general or any(has(_TARGETS["shape"], ask) for ask in plan.asks):
        return ""
    for noun in {task.a, task.b} & {"box", "ball", "cylinder", "cone"}:
        named = noun in plan.phrases if noun == "box" else has(plural_pattern(noun), plan.text)
        if not named:
            return f"the plan looks for any {general[0]} in place of {noun}"
    return ""
