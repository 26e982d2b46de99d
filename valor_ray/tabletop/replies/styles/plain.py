"""Straight lines: one detection a phrase, one variable a value."""

from __future__ import annotations

from valor_ray.tabletop.replies.express import (
    Draft,
    compare,
    conclude,
    counted,
    decide,
    detect,
    look,
    measured,
    quantity,
    smaller,
)  # fmt: skip
from valor_ray.tabletop.replies.intent import PAIRS, Intent, Pick


def draft(it: Intent, pick: Pick) -> Draft:
    if it.family in PAIRS:
        return _pair(it, pick)
    if it.family == "more":
        return _more(it, pick)
    if it.family == "count_side":
        return _count_side(it, pick)
    return _single(it, pick)


def _pair(it: Intent, pick: Pick) -> Draft:
    a, b = pick((("a", "b"), ("first", "second")))
    find = detect(a, it.a) + detect(b, it.b)
    body = f'{a} = {a}[0]["bbox"]\n{b} = {b}[0]["bbox"]\n'
    what = pick(quantity(it))
    one, other = pick(((f"{what}_a", f"{what}_b"), (f"{what}1", f"{what}2")))
    shared = f"depth(img_pth, {a})"
    body += f"{one} = {measured(it, a, shared)}\n{other} = {measured(it, b, shared)}\n"
    return Draft(find, f"not {a} or not {b}", body + conclude(it, pick, one, other))


def _more(it: Intent, pick: Pick) -> Draft:
    a, b = pick((("a", "b"), ("first", "second")))
    find = detect(a, it.a) + detect(b, it.b)
    if pick((True, False)):
        return Draft(find, "", compare(it, pick, f"len({a})", f"len({b})"))
    m, n = pick((("m", "n"), ("n1", "n2")))
    return Draft(find, "", f"{m} = len({a})\n{n} = len({b})\n" + compare(it, pick, m, n))


def _count_side(it: Intent, pick: Pick) -> Draft:
    found, b = pick((("found", "b"), ("things", "mark")))
    find = detect(found, it.a) + detect(b, it.b)
    mid = pick(("mid", "edge"))
    body = f'{b} = {b}[0]["bbox"]\n{mid} = {measured(it, b)}\n'
    if it.unfiltered:
        return Draft(find, f"not {b}", body + f"final_answer = {counted(it, f'len({found})')}\n")
    sign = "<" if smaller(it) else ">"
    body += f'n = 0\nfor d in {found}:\n    box = d["bbox"]\n'
    body += f"    if {measured(it, 'box')} {sign} {mid}:\n        n += 1\n"
    return Draft(find, f"not {b}", body + f"final_answer = {counted(it, 'n')}\n")


def _single(it: Intent, pick: Pick) -> Draft:
    found = pick(("found", "things", "hits"))
    find = detect(found, it.a)
    if it.family == "count":
        return Draft(find, "", f"final_answer = {counted(it, f'len({found})')}\n")
    if it.family == "existence":
        condition = found if it.least == 1 else f"len({found}) >= {it.least}"
        return Draft(find, "", decide(pick, condition, f'"{it.yes[0]}"', f'"{it.yes[1]}"'))
    if it.family == "attribute" or it.take_first:
        return Draft(
            find, f"not {found}", f'box = {found}[0]["bbox"]\nfinal_answer = {look(it, pick, "box")}\n'
        )
    return Draft(find, f"not {found}", _extreme(it, pick, found))


def _extreme(it: Intent, pick: Pick, found: str) -> str:
    """A loop that keeps the best so far."""
    sign = "<" if smaller(it) else ">"
    body = f'best = {found}[0]["bbox"]\nfor d in {found}:\n    box = d["bbox"]\n'
    body += f"    if {measured(it, 'box')} {sign} {measured(it, 'best')}:\n        best = box\n"
    return body + f"final_answer = {look(it, pick, 'best')}\n"
