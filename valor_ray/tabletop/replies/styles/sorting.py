"""Lists that are sorted, or searched with min and max, by a key."""

from __future__ import annotations

from valor_ray.tabletop.replies.express import (
    Draft,
    answers,
    compare,
    counted,
    decide,
    detect,
    look,
    measured,
    number,
    quantity,
    smaller,
)  # fmt: skip
from valor_ray.tabletop.replies.intent import PAIRS, Intent, Pick


def draft(it: Intent, pick: Pick) -> Draft:
    if it.family in PAIRS or it.family == "more":
        return _pair(it, pick)
    if it.family == "count_side":
        return _count_side(it, pick)
    return _single(it, pick)


def _ranked(it: Intent, pick: Pick, items: str, key: str) -> tuple[str, str]:
    """Statements that order the items, and the source of the one that the relation asks for."""
    low = smaller(it)
    if pick((True, False)) and not it.wrong_end:
        return f"best = {'min' if low else 'max'}({items}, key={key})\n", "best"
    if pick.turned():
        end = "-1" if low is not it.wrong_end else "0"
        return f"ranked = sorted({items}, key={key}, reverse=True)\n", f"ranked[{end}]"
    end = "0" if low is not it.wrong_end else "-1"
    return f"order = sorted({items}, key={key})\n", f"order[{end}]"


def _pair(it: Intent, pick: Pick) -> Draft:
    names, found = pick((("names", "found"), ("words", "hits")))
    find = f'{names} = ["{it.a}", "{it.b}"]\n{found} = [gd_detect(img_pth, name) for name in {names}]\n'
    if it.family == "more":
        body = f"counts = [len(d) for d in {found}]\n"
        return Draft(find, "", body + compare(it, pick, "counts[0]", "counts[1]"))
    values = f"{pick(quantity(it))}s"
    body = f'boxes = [d[0]["bbox"] for d in {found}]\n'
    body += "ref = depth(img_pth, boxes[0])\n" if it.measure == "one depth" else ""
    body += f"{values} = [{measured(it, 'box', 'ref')} for box in boxes]\n"
    if it.family in ("height", "ratio"):
        body += number(it, f"{values}[0]", f"{values}[1]")
        return Draft(find, f"not all({found})", body)
    order, best = _ranked(it, pick, "range(2)", f"lambda i: {values}[i]")
    first, second = answers(it)
    return Draft(find, f"not all({found})", body + order + decide(pick, f"{best} == 0", first, second))


def _count_side(it: Intent, pick: Pick) -> Draft:
    a, b = pick((("found", "mark"), ("hits", "ref")))
    find = detect(a, it.a) + detect(b, it.b)
    values = pick(("xs", "mids"))
    body = f'box = {b}[0]["bbox"]\nedge = {measured(it, "box")}\n'
    body += f'boxes = [d["bbox"] for d in {a}]\n'
    body += f"{values} = sorted({measured(it, 'box')} for box in boxes)\n"
    sign = "<" if smaller(it) is not it.wrong_end else ">"
    count = f"len({values})" if it.unfiltered else f"sum(x {sign} edge for x in {values})"
    return Draft(find, f"not {b}", body + f"final_answer = {counted(it, count)}\n")


def _single(it: Intent, pick: Pick) -> Draft:
    found = pick(("found", "hits"))
    find = detect(found, it.a)
    if it.family == "count":
        body = f'xs = sorted(d["bbox"][0] for d in {found})\nfinal_answer = {counted(it, "len(xs)")}\n'
        return Draft(find, "", body)
    if it.family == "existence":
        condition = f"any({found})" if it.least == 1 else f"len({found}) >= {it.least}"
        return Draft(find, "", decide(pick, condition, f'"{it.yes[0]}"', f'"{it.yes[1]}"'))
    if it.take_first:
        return Draft(find, f"not {found}", f"final_answer = {look(it, pick, found + _FIRST)}\n")
    if it.family == "attribute":
        area = "lambda box: (box[2] - box[0]) * (box[3] - box[1])"
        return Draft(
            find,
            f"not {found}",
            f'boxes = [d["bbox"] for d in {found}]\nbest = max(boxes, key={area})\n'
            f"final_answer = {look(it, pick, 'best')}\n",
        )
    order, best = _ranked(it, pick, "boxes", f"lambda box: {measured(it, 'box')}")
    body = f'boxes = [d["bbox"] for d in {found}]\n{order}final_answer = {look(it, pick, best)}\n'
    return Draft(find, f"not {found}", body)


_FIRST = '[0]["bbox"]'
