"""What a program computes: it is run in made-up scenes, and its answers are compared with those of every known task."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from typing import Any

from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.tabletop.judge.text.english import normal_phrase
from valor_ray.tabletop.judge.text.run.interpreter import run
from valor_ray.tabletop.judge.text.run.limits import Unreadable
from valor_ray.tabletop.judge.text.run.world import Tools, World, make_world
from valor_ray.tabletop.judge.text.tasks.task import QUANTITIES, Kind, Task

_ONE_EACH = tuple(range(10))  # seeds of scenes
_MANY = tuple(range(20, 26))
_UNEQUAL = ((1, 2), (3, 1), (2, 4), (4, 3), (1, 3), (2, 1))
_ONE_GROUP = (
    (0, 2),
    (2, 0),
    (0, 1),
)  # for MORE only: the rest may say whatever it likes of things that are not there
_WIDE = (70, 71, 72, 73, 74, 75)  # seeds of scenes whose things overlap along both axes
_MOST_PHRASES = 3
_TOLERANCE = 0.025  # relative, of a number that a program may have rounded


@dataclass(frozen=True)
class Run:
    world: World
    answer: Any
    error: str  # "" when the program ended well
    asked: tuple[tuple[bool, str], ...]


@dataclass
class Observed:
    """What running a program has shown."""

    unreadable: str = ""  # why nothing can be said
    error: str = ""  # what it died of in a scene that holds all it looks for
    constant: bool = False  # the same answer in all scenes
    tasks: list[Task] = field(default_factory=list)  # those whose answers it gives
    prompts: tuple[str, ...] = ()  # phrases it looks for, in normal form
    asked: tuple[tuple[bool, str], ...] = ()  # of vqa
    empty: dict[str, Any] = field(default_factory=dict)  # phrase that was missing ("" for all) -> answer
    crashes: str = ""  # what it dies of when a detection is empty


@lru_cache(maxsize=512)
def observe(code: str, planned: tuple[str, ...]) -> Observed:
    """Run a program in the judge's scenes; `planned`: phrases that its plan speaks of, in normal form.

    Some milliseconds. Raises nothing: what cannot be read is said.
    """
    try:
        return _observe(syntax_tree(code), planned)
    except Unreadable as reason:
        return Observed(unreadable=str(reason))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Observed(error="it is no Python")


def _observe(tree: ast.Module, planned: tuple[str, ...]) -> Observed:
    first, slots = _first_look(tree, planned)
    if not slots:
        return Observed(constant=True, error=first[0].error, asked=first[0].asked)
    runs = [_run_in(tree, make_world(seed, dict.fromkeys(slots, 1))) for seed in _ONE_EACH]
    prompts = tuple(dict.fromkeys(p for _, some in [first, *runs] for p in some))
    single = [one for one, _ in runs]
    seen = Observed(prompts=prompts, asked=single[0].asked)
    if error := next((one.error for one in single if one.error), ""):
        seen.error = error
        return seen
    many = list(_many(tree, slots))
    wide = [_run_in(tree, make_world(seed, dict.fromkeys(slots, 1), wide=True))[0] for seed in _WIDE]
    single += wide
    if error := next((one.error for one in many if one.error), ""):
        seen.error = error
        return seen
    _look_at_empty(tree, slots, seen)
    answers = {repr(one.answer) for one in [*single, *many]} | {repr(v) for v in seen.empty.values()}
    seen.constant = len(answers) == 1 and not seen.crashes
    phrases = tuple(dict.fromkeys([*prompts, *slots]))[: _MOST_PHRASES + 2]
    groups = _one_group(tree, slots)
    seen.tasks = [
        t for t in _fitting(phrases, single, many, seen) if t.kind is not Kind.MORE or _right(t, groups)
    ]
    return seen


def _first_look(
    tree: ast.Module, planned: tuple[str, ...]
) -> tuple[tuple[Run, tuple[str, ...]], tuple[str, ...]]:
    """A first run, and the phrases that it looks for: again as long as what it now finds makes it look for more."""
    slots = _slots(planned)
    for _ in range(_MOST_PHRASES + 1):
        first = _run_in(tree, make_world(0, dict.fromkeys(slots, 1)))
        before, slots = slots, _slots([*first[1], *planned])
        if slots == before:
            break
    return first, slots


def _slots(phrases: Iterable[str]) -> tuple[str, ...]:
    """The phrases that the scenes hold things for: without those that another's things carry as well."""
    apart = [p for p in dict.fromkeys(phrases) if p]
    words = {p: set(p.split()) - {"object", "thing", "item"} for p in apart}
    kept = [p for p in apart if not any(q != p and words[p] < words[q] for q in apart)]
    return tuple(kept[:_MOST_PHRASES])


def _run_in(tree: ast.Module, world: World) -> tuple[Run, tuple[str, ...]]:
    tools = Tools(world)
    answer, error = None, ""
    try:
        names = run(tree, tools.defined())
        if "final_answer" not in names or names["final_answer"] is None:
            error = "final_answer is never set"
        answer = names.get("final_answer")
    except Exception as reason:  # noqa: BLE001, the program's own mistake, whatever it is
        error = f"{type(reason).__name__}: {reason}"
    phrases = tuple(dict.fromkeys(normal_phrase(prompt) for prompt in tools.prompts))
    return Run(world, answer, error, tuple(tools.asked)), phrases


def _many(tree: ast.Module, slots: Sequence[str]) -> Iterator[Run]:
    """Several of one phrase beside one of the others, each phrase in turn, and unequal numbers of two."""
    for place, phrase in enumerate(slots[:2]):
        for seed in _MANY if len(slots) == 1 else _MANY[:4]:
            counts = dict.fromkeys(slots, 1) | {phrase: 2 + seed % 3}
            yield _run_in(tree, make_world(seed + 40 * place, counts))[0]
    if len(slots) == 2:
        for seed, numbers in enumerate(_UNEQUAL, 60):
            yield _run_in(tree, make_world(seed, dict(zip(slots, numbers, strict=True))))[0]


def _one_group(tree: ast.Module, slots: Sequence[str]) -> list[Run]:
    """None of the one, some of the other: numbers like any others."""
    if len(slots) != 2:
        return []
    scenes = [dict(zip(slots, numbers, strict=True)) for numbers in _ONE_GROUP]
    return [_run_in(tree, make_world(seed, counts))[0] for seed, counts in enumerate(scenes, 80)]


def _right(task: Task, runs: Iterable[Run]) -> bool:
    return all(_same(one.answer, _expected(task, one.world)) for one in runs)


def _look_at_empty(tree: ast.Module, slots: Sequence[str], seen: Observed) -> None:
    missing = [("", dict.fromkeys(slots, 0))]
    if len(slots) > 1:
        missing += [(phrase, dict.fromkeys(slots, 1) | {phrase: 0}) for phrase in slots]
    for phrase, counts in missing:
        one, _ = _run_in(tree, make_world(5, counts))
        if one.error:
            seen.crashes = one.error
        else:
            seen.empty[phrase] = one.answer


def _fitting(phrases: Sequence[str], single: list[Run], many: list[Run], seen: Observed) -> Iterator[Task]:
    """The tasks whose answer is the program's in every scene."""
    everywhere = [*single, *many]
    for a in phrases:
        for task in (Task(Kind.COUNT, a), Task(Kind.EXISTS, a), Task(Kind.EXISTS, a, negated=True)):
            if all(_same(one.answer, _expected(task, one.world)) for one in everywhere) and _empty_fits(
                task, seen
            ):
                yield task
        for target in ("colour", "shape"):
            plain = Task(Kind.ASK, a, target=target)
            if all(
                _same(one.answer, _expected(plain, one.world))
                for one in single
                if len(one.world.named(a)) == 1
            ):
                yield from _asked(plain, single, many)
    for a, b in permutations(phrases, 2):
        yield from _pairs(a, b, single, everywhere)


def _asked(plain: Task, single: list[Run], many: list[Run]) -> Iterator[Task]:
    """The end from which a thing is taken where there are several; plans that speak of one thing leave that open."""
    if not any(len(one.world.named(plain.a)) > 0 for one in single):
        return
    ends = [
        Task(Kind.EXTREME, plain.a, quantity=quantity, low=low, target=plain.target)
        for quantity in QUANTITIES
        for low in (True, False)
    ]
    fitting = [
        end for end in ends if all(_same(one.answer, _expected(end, one.world)) for one in [*many, *single])
    ]
    yield from [*fitting, plain]


def _pairs(a: str, b: str, single: list[Run], everywhere: list[Run]) -> Iterator[Task]:
    together = [one for one in everywhere if one.world.named(a) and one.world.named(b)]
    if all(
        _same(one.answer, _expected(Task(Kind.MORE, a, b), one.world))
        for one in together
        if _differ(a, b, one)
    ):
        yield Task(Kind.MORE, a, b)
    if all(
        _same(one.answer, _expected(Task(Kind.MORE, a, b, low=False), one.world))
        for one in together
        if _differ(a, b, one)
    ):
        yield Task(Kind.MORE, a, b, low=False)
    lone = [one for one in single if one.world.named(a) and one.world.named(b)]
    if not lone:
        return
    anchored = [one for one in everywhere if one.world.named(a) and len(one.world.named(b)) == 1]
    for quantity in QUANTITIES:
        for low in (True, False):
            side = Task(Kind.COUNT_SIDE, a, b, quantity, low)
            if all(_same(one.answer, _expected(side, one.world)) for one in anchored):
                yield side
            for kind in (Kind.COMPARE, Kind.CHOICE):
                task = Task(kind, a, b, quantity, low)
                if all(_same(one.answer, _expected(task, one.world)) for one in lone):
                    yield task
        yield from _scaled(a, b, quantity, lone)


def _differ(a: str, b: str, one: Run) -> bool:
    return len(one.world.named(a)) != len(one.world.named(b))


def _scaled(a: str, b: str, quantity: str, lone: list[Run]) -> Iterator[Task]:
    """number × b / a, with the number read off the scene where it is surest."""
    shares, wide = [], 0.0
    for one in lone:
        said = _number(one.answer)
        if said is None:
            return
        share = one.world.named(b)[0].measure(quantity) / one.world.named(a)[0].measure(quantity)
        shares.append((said, share))
    said, share = max(shares)
    number = said / share
    wide = 0.51 if all(float(value).is_integer() for value, _ in shares) else 0.0
    if number <= 0:
        return
    for said, share in shares:
        if abs(said - number * share) > max(
            _TOLERANCE * number * share, 0.051 if number * share > 0.5 else 0.006, 1.1 * wide
        ):
            return
    if wide and max(said for said, _ in shares) < 4:
        return
    if abs(number - 1) < 0.03 and not wide:
        yield Task(Kind.RATIO, b, a, quantity)
    yield Task(Kind.SCALE, a, b, quantity, number=number)


def _expected(task: Task, world: World) -> Any:
    ours, others = world.named(task.a), world.named(task.b) if task.b else []
    q, low = task.quantity, task.low
    match task.kind:
        case Kind.COUNT:
            return len(ours)
        case Kind.EXISTS:
            return "yes" if bool(ours) != task.negated else "no"
        case Kind.ASK:
            return _attribute(ours[0], task.target)
        case Kind.EXTREME:
            if not ours:
                return None
            return _attribute((min if low else max)(ours, key=lambda thing: thing.measure(q)), task.target)
        case Kind.MORE:
            return "yes" if (len(ours) < len(others) if low else len(ours) > len(others)) else "no"
        case Kind.COUNT_SIDE:
            mark = others[0].measure(q)
            return sum((thing.measure(q) < mark) == low for thing in ours if thing is not others[0])
        case Kind.COMPARE:
            return "yes" if (ours[0].measure(q) < others[0].measure(q)) == low else "no"
        case _:
            return task.a if (ours[0].measure(q) < others[0].measure(q)) == low else task.b


def _attribute(thing: Any, target: str) -> str:
    return str(thing.colour if target == "colour" else thing.noun)


def _empty_fits(task: Task, seen: Observed) -> bool:
    if task.kind is Kind.COUNT or seen.crashes:
        return True
    wanted = "yes" if task.negated else "no"
    return "" not in seen.empty or _same(seen.empty[""], wanted)


def said(answer: Any) -> str:
    """An answer as text: case, closing punctuation and an article do not matter; True is yes."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    text = str(answer).strip(" .,!\"'`").lower()
    return {"true": "yes", "false": "no"}.get(text, text)


def _number(answer: Any) -> float | None:
    if isinstance(answer, bool) or not isinstance(answer, int | float | str):
        return None
    try:
        return float(answer)
    except ValueError:
        return None


def _same(answer: Any, expected: Any) -> bool:
    if isinstance(expected, int):
        number = _number(answer)
        return number is not None and number == expected
    if isinstance(expected, str):
        text = said(answer) if isinstance(answer, str | bool) else ""
        return text == expected or (" " in text and normal_phrase(text) == expected)
    return False
