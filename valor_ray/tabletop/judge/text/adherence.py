"""The adherence check: the program is run in scenes of the judge's own, and does what the plan says.

What a program computes is told by its answers, however it is written (run/observe.py); the plan is read for the same
thing (tasks/agree.py). A program that cannot be run here, or a plan that does not say, gives no verdict.
"""

from __future__ import annotations

from valor_ray.program.phrases import detection_phrases
from valor_ray.tabletop.judge.text.english import COLOURS, has, normal_phrase, plural_pattern
from valor_ray.tabletop.judge.text.judged import Judged, cannot_tell, no, yes
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.question import measures
from valor_ray.tabletop.judge.text.run.observe import Observed, observe, said
from valor_ray.tabletop.judge.text.tasks.agree import COUNTING, DIVIDING, Saying
from valor_ray.tabletop.judge.text.tasks.task import POSITIONS, YES_NO, Kind, Task

_SHAPES = frozenset("box ball cylinder cone".split())
_MEASURED = r"x|y|depths?|cent(?:re|er)s?|midpoints?|coordinates?|positions?|heights?|widths?|distances?"
_BEYOND = (
    r"between|next to|beside|adjacent|overlap\w*|inside|intersect\w*|iou|touch\w*|"
    r"apart|gap|diagonal|angle|average|mean"
)


def judge_adherence(plan: Plan, code: str) -> Judged:
    if plan.to_judge or has(r"verdict|judge|grader", code.lower()):
        return no("the work speaks to its judge")
    seen = observe(code, planned_phrases(plan, code))
    if seen.unreadable:
        return cannot_tell(f"the program cannot be run here: {seen.unreadable}")
    if seen.error:
        return no(f"the program ends in an error: {seen.error}")
    for check in (_constant, _phrases, _vqa, _empty):
        if problem := check(plan, seen):
            return no(problem)
    if not seen.tasks:
        return _no_task(plan)
    return _compared(plan, seen)


def planned_phrases(plan: Plan, code: str) -> tuple[str, ...]:
    """Phrases of the plan that name things for sure: a colour and a noun, or a noun that the program looks for too."""
    asked = [normal_phrase(phrase) for phrase in detection_phrases(code).phrases]
    nouns = {phrase.split()[-1] for phrase in asked if phrase} | _SHAPES | {"object"}
    coloured = [
        p for p in plan.phrases if len(p.split()) == 2 and p.split()[0] in COLOURS and p.split()[1] in nouns
    ]
    spoken = [p for p in asked if p and has(plural_pattern(p), plan.text)]
    bare = [
        p
        for p in plan.phrases
        if p in nouns and p != "box" and not any(p in c.split() for c in (*coloured, *asked))
    ]
    return tuple(dict.fromkeys([*coloured, *spoken, *bare]))[:3]


def _constant(plan: Plan, seen: Observed) -> str:
    if seen.constant and not seen.prompts and not seen.asked:
        return "the answer is written down instead of computed"
    return "the answer does not depend on the picture" if seen.constant and seen.prompts else ""


def _phrases(plan: Plan, seen: Observed) -> str:
    """What is detected is what the plan names, with all its words."""
    asked = set(seen.prompts)
    nouns = {word for phrase in asked for word in phrase.split()} | _SHAPES
    for phrase in plan.phrases:
        words = phrase.split()
        sure = len(words) <= 3 and (
            phrase in _SHAPES - {"box"} or (words[0] in COLOURS and words[-1] in nouns | {"object"})
        )
        if sure and phrase not in asked and not _checked_by_vqa(plan, phrase, asked):
            return f"the plan's {phrase!r} is not detected"
    for phrase in asked:
        if phrase and not has(plural_pattern(phrase), plan.text) and not _in_words(phrase, plan):
            return f"{phrase!r} is detected, which the plan does not say"
    if plan.phrases and not asked and not seen.asked:
        return f"the plan's {plan.phrases[0]!r} is not detected"
    return ""


def _checked_by_vqa(plan: Plan, phrase: str, asked: set[str]) -> bool:
    """Every object is detected, and the rest of the phrase is looked at: the plan says so."""
    return bool(asked & {"object", phrase.split()[-1]}) and bool(plan.asks) and len(phrase.split()) > 1


def _in_words(phrase: str, plan: Plan) -> bool:
    """All words of the phrase come in the plan's own phrases, in whatever order."""
    normal = normal_phrase(plan.text)
    return (
        all(has(plural_pattern(word), plan.text) or word in normal.split() for word in phrase.split())
        and (len(phrase.split()) > 2 or phrase not in ("object", "thing", "item"))
        and not (set(phrase.split()) & COLOURS and len(phrase.split()) == 2)
    )


def _vqa(plan: Plan, seen: Observed) -> str:
    if not seen.asked and any(
        has(r"vqa|colour|shape|material|kind|box|crop", ask) and not has(r"not?|without", ask)
        for ask in plan.asks
    ):
        return "the plan asks vqa and the program does not"
    whole = [prompt for boxed, prompt in seen.asked if not boxed]
    if whole and not plan.whole and any(has(r"box|its|crop|region|that|it", ask) for ask in plan.asks):
        return "vqa is asked about the whole picture, the plan says its box"
    return ""


def _empty(plan: Plan, seen: Observed) -> str:
    """What the plan says about an empty detection is in the program, with the same answer."""
    if not plan.guarded:
        return ""
    if seen.crashes:
        return f"the plan's word on an empty detection is not in the program: {seen.crashes[:60]}"
    answers = {said(answer) for answer in seen.empty.values()}
    wanted = plan.empty_answer
    same = {"zero": "0", "none": "0"}
    if (
        not wanted
        or not answers
        or any(kind in (Kind.COUNT, Kind.EXISTS, Kind.MORE) for kind in _kinds(seen))
    ):
        return ""
    if wanted not in answers and same.get(wanted, wanted) not in {a.removesuffix(".0") for a in answers}:
        return f"an empty detection gives {sorted(answers)[0]!r}, the plan says {wanted!r}"
    return ""


def _kinds(seen: Observed) -> set[Kind]:
    return {task.kind for task in seen.tasks}


def _no_task(plan: Plan) -> Judged:
    if has(_BEYOND, plan.text):
        return cannot_tell("the plan measures something that is not known here")
    return no("what the program answers is not what any reading of the plan gives")


def _compared(plan: Plan, seen: Observed) -> Judged:
    """Yes when the plan says one of the tasks that the program computes."""
    reasons: list[tuple[bool | None, str]] = []
    for task in seen.tasks:
        verdict, reason = _says(plan, task)
        if verdict:
            return yes(f"plan and program give {task}")
        reasons.append((verdict, f"the program gives {task}; {reason}"))
    unsure = next((reason for verdict, reason in reasons if verdict is None), "")
    return cannot_tell(unsure) if unsure else no(reasons[0][1])


def _says(plan: Plan, task: Task) -> tuple[bool | None, str]:
    saying = Saying(plan, task)
    if problem := _another_kind(saying, task):
        return False, problem
    if task.kind is Kind.SCALE and not has(rf"{task.number:g}|given|known|reference|stated", plan.text):
        return False, f"the plan does not say {task.number:g}"
    if task.kind is Kind.EXISTS:
        turned = has(
            (
                r"no (?:if|when) (?:\w+ ){0,3}(?:box|detection|any|found|one)|yes (?:if|"
                r"when) (?:there (?:is|are) (?:no|none)|nothing|none|no )"
            ),
            plan.text,
        )
        plain = has(
            (
                r"yes (?:if|when|as soon|whenever)? ?(?:there (?:is|are) (?:a|an|any|at|some|"
                r"one)|anything|something|\w+ (?:box|detection|match)|the list|at least|it|any)"
            ),
            plan.text,
        )
        if task.negated and not (turned and not plain):
            return False, "the program says no for yes"
        return True, ""
    if task.kind in (Kind.COUNT, Kind.ASK):
        return True, ""
    unsure = ""
    if task.kind is not Kind.MORE:
        fits, why = saying.quantity()
        if fits is False:
            return False, why
        unsure = why if fits is None else ""
    agrees, why = saying.sense()
    if agrees is None and task.kind is Kind.SCALE and not any(True for _ in saying.fractions()):
        agrees = True  # "scale its height by the given 20 cm" words no fraction
    if agrees is False:
        return False, why
    if agrees is None:
        return None, why
    return (None, unsure) if unsure else (True, "")


def _another_kind(saying: Saying, task: Task) -> str:
    """The plan's operation, where its words exclude the program's."""
    text, kind = saying.plan.text, task.kind
    measured = [fact for fact in saying.facts if fact.quantity in POSITIONS or has(_MEASURED, fact.sentence)]
    yes_said = has(r"yes|true", text)
    if kind in YES_NO and not yes_said:
        return "the plan answers with something else than yes or no"
    if kind in (Kind.COUNT, Kind.COUNT_SIDE, Kind.RATIO, Kind.SCALE, Kind.CHOICE) and has(
        r"yes (?:if|when)", text
    ):
        return "the plan answers yes or no"
    if kind in (Kind.COUNT, Kind.COUNT_SIDE) and not has(COUNTING, text):
        return "the plan does not count"
    if kind is Kind.COUNT and measured and not _in_looks(saying):
        return "the plan counts only some of them"
    if kind is Kind.EXISTS and (measured or _counts_compared(saying)) and not _in_looks(saying):
        return "the plan compares before it answers"
    if kind is Kind.RATIO and (measures(text) or has(r"(?:[5-9]|\d\d+)(?:\.\d+)? times", text)):
        return f"the plan's {(measures(text) or ('given size',))[0]} is left out"
    if kind is Kind.COUNT_SIDE and set(task.b.split()) <= set(task.a.split()):
        return "what is counted would be part of what it is compared with"
    if kind is Kind.RATIO and not has(DIVIDING, text):
        return "the plan does not divide"
    if kind is Kind.SCALE and not has(rf"{DIVIDING}|scal\w+|multipl\w*|convert\w*", text):
        return "the plan does not scale"
    if (
        kind in (Kind.ASK, Kind.EXTREME)
        and has(r"colours?", text) != (task.target == "colour")
        and has(r"colours?|shapes?|kind|type", " ".join(saying.plan.asks) or text)
    ):
        return f"the plan asks for something else than the {task.target}"
    if kind is Kind.ASK and saying.facts and not _in_looks(saying):
        return "the plan takes one of several by a measurement"
    return ""


def _counts_compared(saying: Saying) -> bool:
    return any(
        fact.outcome and not has(r"(?:than|least|=) (?:zero|0|one|1|none)", fact.sentence)
        for fact in saying.facts
    )


def _in_looks(saying: Saying) -> bool:
    """A relation that the plan leaves to the detector is in what the program asks of it."""
    return any(len(word.split()) > 2 for word in (saying.task.a,)) or has(
        r"most|closest|nearest|farthest|furthest|tallest", saying.task.a
    )
