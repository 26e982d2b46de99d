"""The replies that pre-training text is made of: the right one for each question family, and the planted bad habits.

The base policy must have the paper's failings (DESIGN §4), so its text mixes right and wrong habits at random, with the
shares in MIXTURE. `gold` is the right reply; it is used for evaluation of the tools and for pre-training only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from valor_ray.tabletop.questions import FAMILIES, Blueprint, plural, where, wordings


@dataclass(frozen=True)
class Draft:
    """A reply before its tags. Guarded steps say and do what happens when a detection is empty."""

    plan: tuple[str, ...]
    code: str
    guard: tuple[str, str] | None = None  # condition and answer (Python source) of the empty branch
    finds: int = 0  # how many lines of code come before the guard


def _detect(name: str, phrase: str) -> str:
    return f'{name} = gd_detect(img_pth, "{phrase}")\n'


def _pair(b: Blueprint, steps: tuple[str, ...], body: str, empty: str) -> Draft:
    """Find the objects a and b, then go on with their boxes."""
    code = _detect("a", b.a) + _detect("b", b.b) + 'a = a[0]["bbox"]\nb = b[0]["bbox"]\n' + body
    return Draft((f"Detect the {b.a} and the {b.b}.", *steps), code, ("not a or not b", empty), 2)


def _count(b: Blueprint) -> Draft:
    steps = (f"Detect every {b.a}.", "Count the boxes; no box gives 0.")
    return Draft(steps, _detect("found", b.a) + "final_answer = len(found)\n")


def _existence(b: Blueprint) -> Draft:
    steps = (f"Detect every {b.a}.", "Answer yes if there is a box, and no if there is none.")
    return Draft(steps, _detect("found", b.a) + 'final_answer = "yes" if found else "no"\n')


def _attribute(b: Blueprint) -> Draft:
    body = f'final_answer = vqa(img_pth, found[0]["bbox"], "What {b.target} is this object?")\n'
    steps = (f"Detect the {b.a}.", f"Ask for the {b.target} of its box.")
    return Draft(steps, _detect("found", b.a) + body, ("not found", '"unknown"'), 1)


def _closer(b: Blueprint) -> Draft:
    sign = "<" if b.relation == "closer" else ">"
    word = "smaller" if b.relation == "closer" else "larger"
    body = f'final_answer = "{b.a}" if depth(img_pth, a) {sign} depth(img_pth, b) else "{b.b}"\n'
    steps = ("Get the depth of both boxes.", f"Answer with the one of {word} depth.")
    return _pair(b, steps, body, '"unknown"')


_SIZE = {
    True: "size_a = (a[3] - a[1]) * depth(img_pth, a)\nsize_b = (b[3] - b[1]) * depth(img_pth, b)\n",
    False: "size_a = a[3] - a[1]\nsize_b = b[3] - b[1]\n",
}
_MEASURE = {
    True: "Compute each height in 3D as pixels times depth.",
    False: "Compute each height as the pixels of its box.",
}


def _height(b: Blueprint, deep: bool = True) -> Draft:
    steps = (_MEASURE[deep], f"Scale the height of the {b.b} by the given {b.number} cm.")
    return _pair(b, steps, _SIZE[deep] + f"final_answer = {b.number} * size_b / size_a\n", "0")


def _ratio(b: Blueprint, deep: bool = True) -> Draft:
    steps = (_MEASURE[deep], f"Divide the height of the {b.a} by that of the {b.b}.")
    return _pair(b, steps, _SIZE[deep] + "final_answer = size_a / size_b\n", "0")


def _choice(b: Blueprint, deep: bool = True) -> Draft:
    sign = ">" if b.relation == "taller" else "<"
    body = _SIZE[deep] + f'final_answer = "{b.a}" if size_a {sign} size_b else "{b.b}"\n'
    return _pair(b, (_MEASURE[deep], f"Answer with the {b.relation} one."), body, '"unknown"')


_CENTRE = {
    "left": ("(a[0] + a[2]) / 2", "<", "x"),
    "right": ("(a[0] + a[2]) / 2", ">", "x"),
    "above": ("(a[1] + a[3]) / 2", "<", "y"),
    "below": ("(a[1] + a[3]) / 2", ">", "y"),
}


def _side(b: Blueprint) -> Draft:
    centre, sign, axis = _CENTRE[b.relation]
    body = f"pos_a = {centre}\npos_b = {centre.replace('a', 'b')}\n"
    body += f'final_answer = "yes" if pos_a {sign} pos_b else "no"\n'
    word = "smaller" if sign == "<" else "larger"
    steps = (f"Compare the {axis} of their centres.", f"Answer yes if that of the {b.a} is {word}.")
    return _pair(b, steps, body, '"no"')


def _order(b: Blueprint) -> Draft:
    sign, word = ("<", "smaller") if b.relation == "in front of" else (">", "larger")
    body = f'final_answer = "yes" if depth(img_pth, a) {sign} depth(img_pth, b) else "no"\n'
    steps = ("Get the depth of both boxes.", f"Answer yes if that of the {b.a} is {word}.")
    return _pair(b, steps, body, '"no"')


_EXTREME = {
    "leftmost": ("min", 'd["bbox"][0]', "smallest x"),
    "rightmost": ("max", 'd["bbox"][2]', "largest x"),
    "closest": ("min", 'depth(img_pth, d["bbox"])', "smallest depth"),
    "farthest": ("max", 'depth(img_pth, d["bbox"])', "largest depth"),
}


def _nested(b: Blueprint) -> Draft:
    pick, key, words = _EXTREME[b.relation]
    body = f"best = {pick}(found, key=lambda d: {key})\n"
    body += f'final_answer = vqa(img_pth, best["bbox"], "What {b.target} is this object?")\n'
    steps = (f"Detect every {b.a}.", f"Take the one of {words}.", f"Ask for the {b.target} of its box.")
    return Draft(steps, _detect("found", b.a) + body, ("not found", '"unknown"'), 1)


def _count_side(b: Blueprint) -> Draft:
    sign, word = ("<", "smaller") if b.relation == "left" else (">", "larger")
    code = _detect("found", b.a) + _detect("b", b.b) + 'b = b[0]["bbox"]\nmid = (b[0] + b[2]) / 2\n'
    code += f'final_answer = sum((d["bbox"][0] + d["bbox"][2]) / 2 {sign} mid for d in found)\n'
    steps = (
        f"Detect every {b.a} and the {b.b}.",
        f"Count the boxes whose x is {word} than that of the {b.b}.",
    )
    return Draft(steps, code, ("not b", "0"), 2)


def _more(b: Blueprint) -> Draft:
    sign = ">" if b.relation == "more" else "<"
    code = _detect("a", b.a) + _detect("b", b.b) + f'final_answer = "yes" if len(a) {sign} len(b) else "no"\n'
    steps = (
        f"Detect every {b.a} and every {b.b}.",
        "Count both; no box gives 0.",
        f"Answer yes if there are {b.relation} of the first.",
    )
    return Draft(steps, code)


RIGHT: dict[str, Callable[[Blueprint], Draft]] = {
    "count": _count,
    "existence": _existence,
    "attribute": _attribute,
    "closer": _closer,
    "height": _height,
    "ratio": _ratio,
    "side": _side,
    "order": _order,
    "nested": _nested,
    "choice": _choice,
    "count_side": _count_side,
    "more": _more,
}

_OPPOSITE = {
    "closer": "farther", "farther": "closer", "left": "right", "right": "left", "above": "below", "below": "above",
    "in front of": "behind", "behind": "in front of", "leftmost": "rightmost", "rightmost": "leftmost",
    "closest": "farthest", "farthest": "closest", "taller": "shorter", "shorter": "taller",
    "more": "fewer", "fewer": "more",
}  # fmt: skip


def flipped(b: Blueprint) -> Draft:
    """The plan is right, the code compares the wrong way round."""
    turned = Blueprint(b.family, b.a, b.b, _OPPOSITE[b.relation], b.target, b.number)
    return Draft(
        RIGHT[b.family](b).plan,
        RIGHT[b.family](turned).code,
        RIGHT[b.family](b).guard,
        RIGHT[b.family](b).finds,
    )


def flat(b: Blueprint) -> Draft:
    """3D sizes taken from pixels alone, without depth."""
    return {"height": _height, "ratio": _ratio, "choice": _choice}[b.family](b, False)


def delegated(b: Blueprint) -> Draft:
    """The relation is left to the detector's prompt."""
    if b.family == "nested":
        phrase = f"{b.relation} {b.a}"
        body = f'final_answer = vqa(img_pth, found[0]["bbox"], "What {b.target} is this object?")\n'
        steps = (f"Detect the {phrase}.", f"Ask for the {b.target} of its box.")
        return Draft(steps, _detect("found", phrase) + body, ("not found", '"unknown"'), 1)
    if b.family == "count_side":
        phrase = f"{b.a} {where(b.relation)} the {b.b}"
        steps = (f"Detect every {phrase}.", "Count the boxes; no box gives 0.")
        return Draft(steps, _detect("found", phrase) + "final_answer = len(found)\n")
    phrase = f"{b.a} {where(b.relation)} the {b.b}"
    steps = (f"Detect the {phrase}.", "Answer yes if there is a box, and no if there is none.")
    return Draft(steps, _detect("found", phrase) + 'final_answer = "yes" if found else "no"\n')


def inverted(b: Blueprint) -> Draft:
    """The plan is right, the code says no for yes."""
    draft = RIGHT[b.family](b)
    return Draft(draft.plan, draft.code.replace('"yes" if', '"no" if').replace('else "no"', 'else "yes"'))


def vague(b: Blueprint) -> Draft:
    """An attribute of the question is dropped: any object of the shape will do, or any object at all."""
    loose = Blueprint(b.family, b.a.split()[-1] if " " in b.a else "object", b.b, b.relation, b.target)
    return RIGHT[b.family](loose)


def asked_whole(b: Blueprint) -> Draft:
    """The whole question is put to VQA about the whole picture."""
    question = {
        "count": f"How many {plural(b.a)} are there?",
        "existence": f"Is there a {b.a}?",
        "attribute": f"What {b.target} is the {b.a}?",
        "closer": f"Which is {b.relation}, the {b.a} or the {b.b}?",
        "choice": f"Which is {b.relation}, the {b.a} or the {b.b}?",
        "nested": f"What {b.target} is the {b.relation} {b.a}?",
        "order": f"Is the {b.a} {b.relation} the {b.b}?",
        "more": f"Are there {b.relation} {plural(b.a) if b.a else ''} than {plural(b.b) if b.b else ''}?",
    }[b.family]
    return Draft(("Ask about the whole picture.",), f'final_answer = vqa(img_pth, None, "{question}")\n')


def hard_coded(b: Blueprint) -> Draft:
    """An answer without looking."""
    answer = {"count": "2", "count_side": "1", "height": str(b.number), "ratio": "1.5"}
    return Draft(("The answer is easy to guess.",), f"final_answer = {answer[b.family]}\n")


Habit = Callable[[Blueprint], Draft]

# Share of the wrong habits in each family's text; the rest is right. Sampling at T 0.7 and top-p 0.8 drops whatever has
# less than about 0.27 of two ways to go on, so a habit that is to be seen at inference needs more than that.
MIXTURE: dict[str, tuple[tuple[Habit, float], ...]] = {
    "count": ((vague, 0.25), (asked_whole, 0.12), (hard_coded, 0.22)),
    "existence": ((vague, 0.24), (inverted, 0.3), (asked_whole, 0.12)),
    "attribute": ((vague, 0.28), (asked_whole, 0.28)),
    "closer": ((flipped, 0.38), (asked_whole, 0.2)),
    "height": ((flat, 0.38), (hard_coded, 0.22)),
    "ratio": ((flat, 0.38), (hard_coded, 0.22)),
    "side": ((delegated, 0.38), (flipped, 0.26)),
    "order": ((delegated, 0.36), (flipped, 0.26)),
    "nested": ((delegated, 0.34), (flipped, 0.18), (asked_whole, 0.08)),
    "choice": ((flat, 0.38), (flipped, 0.22)),
    "count_side": ((delegated, 0.36), (flipped, 0.16), (hard_coded, 0.08)),
    "more": ((flipped, 0.36), (asked_whole, 0.22)),
}
UNGUARDED = 0.4  # share of replies that forget the empty branch
BROKEN = 0.42  # share of replies with broken tags to a family's last, least usual wording; none to the others


def _numbered(steps: tuple[str, ...]) -> str:
    return "\n".join(f"{index}. {step}" for index, step in enumerate(steps, 1))


def write(draft: Draft, guarded: bool = True) -> str:
    """The reply's text."""
    steps, code = draft.plan, draft.code
    if draft.guard and guarded:
        condition, answer = draft.guard
        lines = code.splitlines(keepends=True)
        branch = f"if {condition}:\n    final_answer = {answer}\n    return\n"
        code = "".join([*lines[: draft.finds], branch, *lines[draft.finds :]])
        steps = (steps[0], f"If nothing is found, answer {answer.strip(chr(34))}.", *steps[1:])
    return f"<plan>\n{_numbered(steps)}\n</plan>\n<answer>\n{code}</answer>"


def _broken(text: str, family: str) -> str:
    """The family's tag mistake: one kind a family, so that it is likely enough to survive top-p."""
    kinds = (
        text.removesuffix("</answer>").rstrip(),
        text.replace("</plan>\n", ""),
        text.replace("<answer>\n", ""),
        text.replace("<plan>\n", "").replace("</plan>\n", ""),
    )
    return kinds[FAMILIES.index(family) % len(kinds)]


def gold(blueprint: Blueprint) -> str:
    """The right reply: relations by comparison, sizes as pixels × depth, empty detections handled."""
    return write(RIGHT[blueprint.family](blueprint))


def base_text(blueprint: Blueprint, rng: np.random.Generator) -> tuple[str, str]:
    """Question and reply of the mixture that the base policy learns from."""
    questions = wordings(blueprint)
    asked = int(rng.integers(len(questions)))
    habit, draw = RIGHT[blueprint.family], rng.random()
    for wrong, share in MIXTURE[blueprint.family]:
        if 0 <= draw < share:
            habit = wrong
        draw -= share
    text = write(habit(blueprint), guarded=rng.random() >= UNGUARDED)
    if asked == len(questions) - 1 and rng.random() < BROKEN:
        text = _broken(text, blueprint.family)
    return questions[asked], text
