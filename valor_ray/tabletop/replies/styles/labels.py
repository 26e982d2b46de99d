"""One detection of all phrases; labels, comprehensions, dicts and loops tell its boxes apart."""

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
    found = pick(("found", "dets", "all_boxes"))
    if it.family in PAIRS:
        return (_by_dict if pick((True, False)) else _by_list)(it, pick, found)
    if it.family == "more":
        return _more(it, pick, found)
    if it.family == "count_side":
        return _count_side(it, pick, found)
    return _single(it, pick, found)


def _both(it: Intent, found: str) -> str:
    return detect(found, f"{it.a}, {it.b}")


def _by_dict(it: Intent, pick: Pick, found: str) -> Draft:
    """The surest box of each label."""
    find = _both(it, found) + "where = {}\n"
    find += f'for d in {found}:\n    where.setdefault(d["label"], d["bbox"])\n'
    values = pick(quantity(it))
    first = f'where["{it.a}"]'
    body = f"ref = depth(img_pth, {first})\n" if it.measure == "one depth" else ""
    body += f"{values} = {{}}\nfor name, box in where.items():\n"
    body += f"    {values}[name] = {measured(it, 'box', 'ref')}\n"
    body += conclude(it, pick, f'{values}["{it.a}"]', f'{values}["{it.b}"]')
    return Draft(find, "len(where) < 2", body)


def _labelled(it: Intent, found: str, name: str, phrase: str) -> str:
    return f'{name} = [d["bbox"] for d in {found} if d["label"] == "{phrase}"]\n'


def _by_list(it: Intent, pick: Pick, found: str) -> Draft:
    a, b = pick((("a", "b"), ("first", "second")))
    find = _both(it, found) + _labelled(it, found, a, it.a) + _labelled(it, found, b, it.b)
    value = pick(quantity(it))
    body = f"ref = depth(img_pth, {a}[0])\n" if it.measure == "one depth" else ""
    body += f"{value} = [{measured(it, 'box', 'ref')} for box in ({a}[0], {b}[0])]\n"
    return Draft(find, f"not {a} or not {b}", body + conclude(it, pick, f"{value}[0]", f"{value}[1]"))


def _more(it: Intent, pick: Pick, found: str) -> Draft:
    find = _both(it, found)
    if pick((True, False)):
        body = f'labels = [d["label"] for d in {found}]\n'
        m, n = f'labels.count("{it.a}")', f'labels.count("{it.b}")'
    else:
        body = f'number = {{"{it.a}": 0, "{it.b}": 0}}\nfor d in {found}:\n    number[d["label"]] += 1\n'
        m, n = f'number["{it.a}"]', f'number["{it.b}"]'
    return Draft(find, "", body + compare(it, pick, m, n))


def _count_side(it: Intent, pick: Pick, found: str) -> Draft:
    a, b = pick((("boxes", "mark"), ("things", "ref")))
    find = _both(it, found) + _labelled(it, found, a, it.a) + _labelled(it, found, b, it.b)
    sign = "<" if smaller(it) else ">"
    body = f"box = {b}[0]\nmid = {measured(it, 'box')}\n"
    kept = f"[box for box in {a} if {measured(it, 'box')} {sign} mid]"
    count = f"len({a})" if it.unfiltered else f"len({kept})"
    return Draft(find, f"not {b}", body + f"final_answer = {counted(it, count)}\n")


def _single(it: Intent, pick: Pick, found: str) -> Draft:
    find = detect(found, it.a)
    if it.family == "count":
        body = f"n = 0\nfor d in {found}:\n    n += 1\nfinal_answer = {counted(it, 'n')}\n"
        return Draft(find, "", body)
    find += f'boxes = [d["bbox"] for d in {found}]\n'
    if it.family == "existence":
        condition = f"len(boxes) >= {it.least}" if it.least > 1 else pick(("boxes", "len(boxes) > 0"))
        return Draft(find, "", decide(pick, condition, f'"{it.yes[0]}"', f'"{it.yes[1]}"'))
    if it.family == "attribute" or it.take_first:
        return Draft(find, "not boxes", f"final_answer = {look(it, pick, 'boxes[0]')}\n")
    value = f"{pick(quantity(it))}s"
    end = "min" if smaller(it) else "max"
    body = f"{value} = [{measured(it, 'box')} for box in boxes]\n"
    body += f"best = boxes[{value}.index({end}({value}))]\nfinal_answer = {look(it, pick, 'best')}\n"
    return Draft(find, "not boxes", body)
