"""The spatial check: every relation of the question is decided by comparing boxes or depths, in the right sense."""

from __future__ import annotations

import re

from valor_ray.tabletop.judge.text.english import content_words, has
from valor_ray.tabletop.judge.text.judged import Judged, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import RELATIONS, Asked
from valor_ray.tabletop.judge.text.tasks.against import another_quantity, another_sense
from valor_ray.tabletop.judge.text.tasks.agree import Saying
from valor_ray.tabletop.judge.text.tasks.task import POSITIONS, Kind, Task

_LESS = (
    r"smaller|smallest|less|lesser|lower|lowest|least|minimum|minimal|min|below|before|"
    r"leftmost|fewest|nearer|closer|shallower|shorter"
)
_MORE = (
    r"larger|largest|greater|greatest|more|higher|highest|bigger|most|maximum|maximal|max|"
    r"above|beyond|exceeds?|rightmost|farther|further|deeper"
)
_X = (
    r"x|x1|x2|xs|horizontal(?:ly)?|left edges?|right edges?|centres?|centers?|midpoints?|x[- "
    r"](?:coordinates?|values?|positions?|centres?|centers?)|coordinates?"
)
_Y = (
    r"y|y1|y2|ys|vertical(?:ly)?|top edges?|bottom edges?|centres?|centers?|midpoints?|y[- "
    r"](?:coordinates?|values?|positions?|centres?|centers?)|coordinates?"
)
_DEPTH = r"depths?|distances? (?:from|to) the (?:camera|viewer)|metres? away|how far"
_ANY = rf"{_X}|{_Y}|{_DEPTH}|distances?|gaps?|overlap\w*|compare\w*|inside|intersect\w*|iou"
_MEASURES = {
    "left": _X, "right": _X, "above": _Y, "below": _Y, "front": _DEPTH, "behind": _DEPTH,
    "near": _ANY, "far": _ANY, "between": _ANY, "beside": _ANY,
}  # fmt: skip
_LOW = ("left", "above", "front", "near")  # relations of the smaller number


def judge_spatial(asked: Asked, plan: Plan, task: Task | None = None) -> Judged:
    if plan.to_judge:
        return no("the plan speaks to its judge")
    if task is not None:
        problem = _task_problem(task, plan)
        return no(problem) if problem else yes("each relation is decided by a comparison")
    if not asked.relations:
        return yes("the question names no spatial relation")
    for name in asked.relations:
        pattern = RELATIONS[name]
        for clause in (*plan.looks, *plan.phrases):
            if has(pattern, clause) and not _about_boxes(clause):
                return no(f"the relation {name!r} is left to the detector: {clause[:60]!r}")
        for ask in plan.asks:
            if has(pattern, ask) or plan.whole:
                return no(f"the relation {name!r} is left to vqa")
        measured = [step for step in plan.steps if has(_MEASURES[name], step)]
        if not measured:
            return no(f"nothing in the plan decides {name!r} by comparing boxes or depths")
        if name in ("front", "behind", "near", "far") and not _deep(asked, name, plan):
            return no(f"{name!r} is a matter of depth, and the plan compares something else")
        if wrong := _wrong_way(asked, plan, name):
            return no(wrong)
    return yes("each relation is decided by a comparison")


def _task_problem(task: Task, plan: Plan) -> str:
    """A relation that is left to a model, decided by another measurement, or the wrong way round."""
    saying = Saying(plan, task)
    if task.quantity not in POSITIONS:
        return "a relation is looked for that the question does not name" if _strange(saying) else ""
    if not has(_BY_HAND, plan.text):
        for sentence in plan.sentences:
            if has(_HANDED, sentence) and has(_LEFT_TO_IT, sentence):
                return f"the relation is left to a model: {sentence[:60]!r}"
    for phrase in re.findall(r"\"([^\"]+)\"", plan.text):
        if has(_LEFT_TO_IT, phrase) and has(_NOUN, phrase) and not has(_QUESTION, phrase):
            return f"the relation is left to the detector: {phrase[:60]!r}"
    for phrase in plan.phrases:
        if (
            has(_LEFT_TO_IT, phrase)
            and has(r"box|ball|cylinder|cone|object", phrase)
            and not has(_BY_HAND, plan.text)
        ):
            return f"the relation is left to the detector: {phrase[:60]!r}"
    for ask in plan.asks:
        if (
            has(rf"(?:ask\w*|vqa|query|question).*\b(?:whether|if|which)\b.*\b(?:{_LEFT_TO_IT})", ask)
            and has(_MODEL, ask)
            and not has(_SHOULD, ask)
        ):
            return "the relation is left to vqa"
    return another_quantity(saying) or another_sense(saying)


_LEFT_TO_IT = (
    r"left|right|leftmost|rightmost|left-most|right-most|above|below|behind|"
    r"in front|front|closer|closest|nearer|nearest|farther|"
    r"farthest|further|furthest"
)
_NOUN = r"(?:box|ball|cylinder|cone|object)(?:es|s)?"
_QUESTION = r"is|are|which|what|how|if|of|does"
_SHOULD = r"should i|should we|could|would|might|rather than|instead of|not|never|without"
_MODEL = r"vqa|visual|question tool|model|image|picture|scene"
_HANDED = r"detector|gd detect|vqa|visual question\w*|prompt\w*|ask\w* (?:it|the (?:model|tool|detector))"
_BY_HAND = (
    r"compar\w*|cent(?:re|er)s?|centred|centered|midpoints?|middles?|coordinates?|depths?|distan\w+|metres?|sort\w*|"
    r"x\d?|y\d?|edges?|positions?|smaller|larger|smallest|largest|greater|less\w*|min\w*|max\w*|measur\w*|order\w*|rank\w*|"
    r"halfway|column\w*|rows?|horizontal\w*|vertical\w*|far|range"
)


def _strange(saying: Saying) -> bool:
    """The plan decides by position what the question does not ask by position."""
    facts = [fact for fact in saying.facts if fact.quantity in ("x", "y")]
    return (
        saying.task.kind not in (Kind.ASK, Kind.EXISTS, Kind.MORE, Kind.COUNT)
        and any(fact.deciding for fact in facts)
        and not has(r"heights?|tall\w*|short\w*", saying.plan.text)
    )


def _about_boxes(clause: str) -> bool:
    return has(r"box(?:es)? (?:is|are|lies?) |whose|coordinates?", clause)


def _deep(asked: Asked, name: str, plan: Plan) -> bool:
    """Nearer to the camera is depth; nearer to a thing may be any distance."""
    to_a_thing = name in ("near", "far") and has(
        r"(?:closer|closest|nearest|nearer|farther|further|farthest) (?:to|from) (?!the camera|us|me\b)",
        asked.text,
    )
    return to_a_thing or has(_DEPTH, plan.text)


def _wrong_way(asked: Asked, plan: Plan, name: str) -> str:
    """A comparison that the plan itself states the wrong way round; empty when it is right or not said."""
    superlative = has(r"\w+most|closest|nearest|farthest|furthest", asked.text)
    low = name in _LOW
    for step in plan.steps:
        less, more = has(_LESS, step), has(_MORE, step)
        about = has(_MEASURES[name], step) or has(r"answer|count|take|keep|pick|choose|select", step)
        other = has(r"pixels? times|multipl|height|width|tall|how many|empty|nothing", step)
        if less == more or not about or other:
            continue
        if _says_wrong(asked, step, less == low, superlative):
            return f"{name!r} is decided the wrong way round: {step[:80]!r}"
    return ""


def _says_wrong(asked: Asked, step: str, fits: bool, superlative: bool) -> bool:
    """fits: the step says smaller and the relation is of the smaller number, or larger and larger."""
    if superlative and has(r"take|pick|choose|select|keep|smallest|largest|min|max", step):
        return not fits
    if asked.kind == "yesno" and has(r"yes", step):
        subject = _subject_is_first(asked, step)
        return subject is not None and fits != subject
    verbs = {"option": r"answer|choose|pick|return", "count": r"count|keep|whose"}.get(asked.kind or "")
    return verbs is not None and has(verbs, step) and len(asked.relations) == 1 and not fits


def _subject_is_first(asked: Asked, step: str) -> bool | None:
    """Whether the thing that a step calls smaller or larger is the one that the question names first."""
    match = re.search(
        rf"(?:that of|if|of) (?:the )?(?P<what>[\w -]+?)(?:'s)?(?: \w+)? is (?:{_LESS}|{_MORE})", step
    )
    named = match["what"] if match else step
    order = [word for word in re.findall(r"[a-z-]+", asked.text) if word in set(content_words(asked.text))]
    first, last = _things(order)
    inside = set(content_words(named))
    if inside & first and not inside & last:
        return True
    if inside & last and not inside & first:
        return False
    return None


def _things(order: list[str]) -> tuple[set[str], set[str]]:
    """Words that tell the first thing from the last: those of each half that the other has not."""
    middle = len(order) // 2
    first, last = set(order[:middle]), set(order[middle:])
    return first - last, last - first
