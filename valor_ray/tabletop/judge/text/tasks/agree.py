"""Whether a plan says a task: its operation, its measurement, the sense of its comparison, its numbers and names.

Used twice: with the task that a question asks (is the plan one for it?) and with the task that a program computes (does
the program do what the plan says?). Every answer is True, False, or None where the plan does not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from valor_ray.tabletop.judge.text.english import has, plural_pattern
from valor_ray.tabletop.judge.text.plan import Plan
from valor_ray.tabletop.judge.text.tasks.facts import Fact, facts, mark
from valor_ray.tabletop.judge.text.tasks.task import Kind, Task

COUNTING = (
    r"count\w*|how many|number of|numbers of|len|length of the list|tally|total|sum|"
    r"add up|quantit\w+|cardinality|size of (?:the|each) list"
)
DIVIDING = r"divid\w*|ratio|quotient|over|per|/|times|factor|fraction|proportion\w*|relative"
_SORT = re.compile(
    r"\b(?:sort\w*|order(?:ed|ing|s)?|rank\w*|arrang\w*|lin(?:e|ed|ing) (?:\w+ ){0,2}up|"
    r"line-?up|queue\w*)\b"
)
_LAST = re.compile(r"\b(?:last|final|end|terminal|tail|rear|bottom|back)\b|\[-1\]")
_FIRST = re.compile(r"\b(?:first|front|head|top|start|beginning|initial|leading|leads)\b|\[0\]")


def _about_what_is_there(sentence: str) -> str:
    """Without the clauses about an empty detection."""
    clauses = re.split(r"(?<=[,():])", sentence)
    return (
        "".join(clause for clause in clauses if not has(_ABSENT, clause))
        if has(_ABSENT, sentence)
        else sentence
    )


_ABSENT = (
    r"missing|empty|absent|not (?:found|detected|there|present|visible)|nothing|"
    r"none|isn't found|can't be found|cannot be found|without|undetected|unseen|unless|lack\w*|"
    r"no (?!otherwise|if|when|else|and|or)[\w§]+"
)
_DIFFERENCE = re.compile(
    r"§[ab][^§]{0,40}(?: - |\bminus\b|\bless(?! than))"
    r"[^§]{0,40}§[ab]|\b(?:subtract\w*|difference|gap|delta|sign|surplus|clearance|"
    r"margin|excess|positive|negative)\b"
)


_UPWARDS = re.compile(r"high|low|bottom")
_OF_NUMBER = (
    r"(?:high|low)\w* (?:\w+ )?(?:y|values?|coordinates?|numbers?|centres?|midpoints?)|"
    r"(?:y|values?|coordinates?) (?:\w+ ){0,2}(?:high|low)\w*"
)


@dataclass(frozen=True)
class Vote:
    """One comparison that the plan words."""

    fits: bool  # it is the task's
    why: str  # the sentence
    measured: bool  # in words of a number (smaller, largest), not of the relation itself (left, closer)


class Saying:
    """A plan read for one task's things."""

    def __init__(self, plan: Plan, task: Task) -> None:
        self.plan, self.task = plan, task

    @cached_property
    def first(self) -> str:
        """Which of the two the plan names first."""
        if not self.task.b:
            return "a"
        at = {}
        for name, phrase in (("a", self.task.a), ("b", self.task.b)):
            match = re.search(rf"\b{plural_pattern(phrase)}\b", self.plan.text)
            at[name] = match.start() if match else len(self.plan.text)
        return "a" if at["a"] <= at["b"] else "b"

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        roles = {}
        if self.task.kind is Kind.COUNT_SIDE:
            roles = {"reference|anchor|landmark|pivot|boundary": "b"}
        elif self.task.kind is Kind.SCALE:
            roles = {"reference(?: object)?|known (?:object|one)": "a", "target|unknown(?: one)?": "b"}
        ordered = bool(_SORT.search(self.plan.text))
        return tuple(
            mark(s, self.task.a, self.task.b, self.first, roles, ordered) for s in self.plan.sentences
        )

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        readable = (_about_what_is_there(s) for s in self.sentences if not _DIFFERENCE.search(s))
        return tuple(fact for sentence in readable for fact in facts(sentence))

    def sense(self) -> tuple[bool | None, str]:
        """Does the plan compare, choose or divide the way the task does? None where it does not say, or says both.

        A plan that says "above when its y is the larger" says what it will do by "larger", whatever it calls that.
        """
        votes = list(self._votes())
        measured = [vote for vote in votes if vote.measured] or votes
        wrong = next((vote.why for vote in measured if not vote.fits), "")
        if wrong and any(vote.fits for vote in measured):
            return None, f"the plan says both: {wrong[:80]!r}"
        if wrong:
            return False, f"the other way round: {wrong[:90]!r}"
        return (True, "") if votes else (None, "the plan does not say which way")

    def _votes(self) -> Iterator[Vote]:
        kind = self.task.kind
        if kind in (Kind.RATIO, Kind.SCALE):
            top = "b" if kind is Kind.SCALE else "a"
            worded = list(self.fractions())
            yield from (Vote(over == top, sentence, True) for over, sentence in worded)
            if kind is Kind.SCALE and not worded:
                yield from (Vote(fits, sentence, True) for fits, sentence in self._scaled())
            return
        mine = [fact for fact in self.facts if self._about(fact)]
        yield from (Vote(fits, sentence, False) for fits, sentence in self._definitions(mine))
        mine = [fact for fact in mine if not self._defines(fact)] or mine
        for group in ([f for f in mine if f.quantity], [f for f in mine if not f.quantity]):
            reads = {
                Kind.COMPARE: self._yes_no, Kind.MORE: self._yes_no, Kind.COUNT_SIDE: self._one_side,
                Kind.CHOICE: self._choice, Kind.EXTREME: self._extreme,
            }.get(kind)  # fmt: skip
            if reads is not None:
                yield from (
                    Vote(fits, sentence, not group[0].quantity) for fits, sentence in reads(group) if group
                )

    def _one_side(self, mine: list[Fact]) -> Iterator[tuple[bool, str]]:
        for fact in mine:
            yield ((fact.lower() or ("a" if fact.less else "b")) == "a") == self.task.low, fact.sentence

    def _scaled(self) -> Iterator[tuple[bool, str]]:
        """Scale the height of the one by the given size of the other: the one is what is asked for."""
        for sentence in self.sentences:
            match = re.search(r"\b(?:scal\w+|convert\w*|multipl\w+|rescal\w+)\b[^§]{0,60}§([ab])", sentence)
            if match and not re.search(r"depth", sentence) and sentence.count("§") == 1:
                yield match[1] == "b", sentence

    def _about(self, fact: Fact) -> bool:
        """Words of another measurement say nothing about this one."""
        wanted = self.task.quantity.removeprefix("real ")
        if self.task.kind is Kind.MORE:
            return fact.quantity == ""
        if fact.quantity and fact.quantity != wanted:
            return False
        if wanted == "y" and _UPWARDS.match(fact.word) and not has(_OF_NUMBER, fact.sentence):
            return False  # "the higher one" of a picture has the lower y
        return not (
            fact.quantity == "" and _SORT.search(fact.sentence) and has("score|confidence", fact.sentence)
        )

    def _defines(self, fact: Fact) -> bool:
        """Smaller depth is closer: two words of which one explains the other."""
        same = [other for other in self.facts if other.sentence == fact.sentence]
        explains = re.search(
            r"\b(?:means?|is|are|indicates?|implies|signif\w+|corresponds?|so|i\.?e\.?|because|since)\b|=|->",
            fact.sentence,
        )
        named = any(other.subject or other.against for other in same)
        return (
            len(same) == 2
            and {bool(other.quantity) for other in same} == {True, False}
            and bool(explains)
            and not named
        )

    def _definitions(self, mine: list[Fact]) -> Iterator[tuple[bool, str]]:
        for fact in mine:
            if fact.quantity and self._defines(fact):
                other = next(o for o in self.facts if o.sentence == fact.sentence and not o.quantity)
                if not _SORT.search(fact.sentence) and other.less != fact.less:
                    yield False, fact.sentence

    def _yes_no(self, mine: list[Fact]) -> Iterator[tuple[bool, str]]:
        decided = [fact for fact in mine if fact.outcome and fact.lower()] or mine
        for fact in decided:
            lower = fact.lower()
            if not lower:
                continue
            if fact.outcome == "no":
                lower = "ab".replace(lower, "")
            yield (lower == "a") == self.task.low, fact.sentence

    def _choice(self, mine: list[Fact]) -> Iterator[tuple[bool, str]]:
        decided = [fact for fact in mine if fact.deciding] or mine
        for fact in decided:
            lower = fact.lower()
            if _SORT.search(fact.sentence):
                yield from self._extreme([fact])
            elif fact.chosen and lower:
                yield (fact.chosen == lower) == self.task.low, fact.sentence
            else:
                yield fact.less == self.task.low, fact.sentence

    def _extreme(self, mine: list[Fact]) -> Iterator[tuple[bool, str]]:
        for fact in mine:
            less = fact.less
            if _SORT.search(fact.sentence):
                place_of = next((i for i, s in enumerate(self.sentences) if fact.sentence[:30] in s), 0)
                after = " ".join(self.sentences[place_of : place_of + 2])
                if not _FIRST.search(after) and not _LAST.search(after):
                    continue
                if _LAST.search(after) and not _FIRST.search(after):
                    less = not less
                spans = [other for other in mine if other.sentence == fact.sentence]
                if len(spans) > 1 and fact is not spans[0]:
                    continue  # from nearest to farthest: the first word says where it begins
            yield less == self.task.low, fact.sentence

    def fractions(self) -> Iterator[tuple[str, str]]:
        """(the thing above the line, sentence) of every quotient that the plan words."""
        between = r"[^§.;]{0,70}?"
        patterns = (
            rf"divid\w* {between}§(?P<top>[ab]){between}\b(?:by|over)\b{between}§(?P<under>[ab])",
            rf"§(?P<top>[ab]){between}(?:\bdivided by\b|/|\bover\b|÷){between}§(?P<under>[ab])",
            (
                rf"(?:ratio|quotient|fraction|"
                rf"proportion){between}§(?P<top>[ab]){between}(?:\bto\b|\band\b|:|/|\bover\b|"
                rf"\bby\b){between}§(?P<under>[ab])"
            ),
            rf"how many times{between}§(?P<top>[ab]){between}(?:\bthan\b|\bas\b|\bof\b){between}§(?P<under>[ab])",
            (
                rf"§(?P<top>[ab]){between}\b(?:relative to|in units of|as a multiple of|"
                rf"against)\b{between}§(?P<under>[ab])"
            ),
            r"§(?P<top>[ab]) \(?(?:is |as |being )?(?:the )?numerator|"
            r"§(?P<under>[ab]) \(?(?:is |as |being )?(?:the )?denominator",
            r"numerator (?:is |= |: |of |from )(?:the )?§(?P<top>[ab])|"
            r"denominator (?:is |= |: |of |from )(?:the )?§(?P<under>[ab])",
            rf"divide (?:it |this |the (?:result|product) )?{between}by {between}§(?P<under>[ab])",
        )
        for sentence in self.sentences:
            for pattern in patterns:
                match = re.search(pattern, sentence)
                if match and match.groupdict().get("top") != match.groupdict().get("under"):
                    named = match.groupdict()
                    yield named.get("top") or "ab".replace(named["under"], ""), sentence
                    break
