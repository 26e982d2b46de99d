"""Helper functions: detection and measure are defined first, then used."""

from __future__ import annotations

from valor_ray.tabletop.replies.express import (
    Draft,
    compare,
    conclude,
    counted,
    decide,
    look,
    measured,
    quantity,
    smaller,
)  # fmt: skip
from valor_ray.tabletop.replies.intent import PAIRS, Intent, Pick


def draft(it: Intent, pick: Pick) -> Draft:
    finder = pick(("find", "boxes_of", "get_boxes"))
    head = f"def {finder}(name):\n"
    head += '    return [d["bbox"] for d in gd_detect(img_pth, name)]\n'
    if it.family in PAIRS:
        return _pair(it, pick, head, finder)
    if it.family == "more":
        return _more(it, pick, finder)
    if it.family == "count_side":
        return _count_side(it, pick, head, finder)
    return _single(it, pick, head, finder)


def _measure(it: Intent, name: str, shared: str = "") -> str:
    return f"def {name}(box):\n    return {measured(it, 'box', shared)}\n"


def _pair(it: Intent, pick: Pick, head: str, finder: str) -> Draft:
    a, b = pick((("a", "b"), ("one", "other")))
    value = pick(quantity(it))
    find = head + _measure(it, value, "ref") + f'{a} = {finder}("{it.a}")\n{b} = {finder}("{it.b}")\n'
    body = f"ref = depth(img_pth, {a}[0])\n" if it.measure == "one depth" else ""
    if it.family in ("height", "ratio") or pick((True, False)):
        body += f"x = {value}({a}[0])\ny = {value}({b}[0])\n" + conclude(it, pick, "x", "y")
    else:
        body += conclude(it, pick, f"{value}({a}[0])", f"{value}({b}[0])")
    return Draft(find, f"not {a} or not {b}", body)


def _more(it: Intent, pick: Pick, finder: str) -> Draft:
    counter = pick(("number", "count_of", "how_many"))
    find = f"def {counter}(name):\n    return len(gd_detect(img_pth, name))\n"
    m, n = pick((("m", "n"), ("first", "second")))
    find += f'{m} = {counter}("{it.a}")\n{n} = {counter}("{it.b}")\n'
    return Draft(find, "", compare(it, pick, m, n))


def _count_side(it: Intent, pick: Pick, head: str, finder: str) -> Draft:
    value = pick(quantity(it))
    a, b = pick((("boxes", "ref"), ("things", "mark")))
    find = head + _measure(it, value) + f'{a} = {finder}("{it.a}")\n{b} = {finder}("{it.b}")\n'
    sign = "<" if smaller(it) else ">"
    kept = f"[box for box in {a} if {value}(box) {sign} {value}({b}[0])]"
    body = f"kept = {a if it.unfiltered else kept}\nfinal_answer = {counted(it, 'len(kept)')}\n"
    return Draft(find, f"not {b}", body)


def _single(it: Intent, pick: Pick, head: str, finder: str) -> Draft:
    boxes = pick(("boxes", "things"))
    find = head + f'{boxes} = {finder}("{it.a}")\n'
    if it.family == "count":
        return Draft(find, "", f"final_answer = {counted(it, f'len({boxes})')}\n")
    if it.family == "existence":
        condition = pick((f"len({boxes}) >= {it.least}", f"len({boxes}) > {it.least - 1}"))
        return Draft(find, "", decide(pick, condition, f'"{it.yes[0]}"', f'"{it.yes[1]}"'))
    asker = f"def ask(box):\n    return {look(it, pick, 'box')}\n"
    if it.family == "attribute" or it.take_first:
        return Draft(asker + find, f"not {boxes}", f"final_answer = ask({boxes}[0])\n")
    value = pick(quantity(it))
    end = "min" if smaller(it) else "max"
    body = f"best = {end}({boxes}, key={value})\nfinal_answer = {look(it, pick, 'best')}\n"
    return Draft(_measure(it, value) + find, f"not {boxes}", body)
