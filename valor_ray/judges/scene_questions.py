"""What a judge is asked for the scene tests: what a question names, its answer in made-up scenes, what a phrase names.

No picture, no program and no known answer is part of it: the judge's own answers are what programs are tested by
(docs/design/scenes.md). Ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from valor_ray.judges.scene_listing import write_scenes
from valor_ray.judges.sections import write_sections
from valor_ray.measure.answers import normalise, number
from valor_ray.program.inside.scene_words import singular
from valor_ray.records import JudgeReply, JudgeRequest, NamedThing, QuestionThings, SymbolicScene

THINGS, ANSWERS, WORDS = "scene_things", "scene_answers", "scene_words"  # the heads
YES_NO, COUNT, NUMBER, WORD = ANSWER_KINDS = ("yes or no", "count", "number", "word")  # QuestionThings.answer
CANNOT_TELL = "cannot tell"
MAX_THINGS = 6  # that a question may name; more make no small scenes
MAX_ATTRIBUTES = 6  # of a thing, and of a question
MAX_VALUES = 12  # of an attribute
MAX_OTHERS = 12
MAX_TERM = 40  # characters of a noun, an attribute's name or its value
MAX_ANSWER = 80  # characters of an answer
_TERM = re.compile(r"\w[\w '/-]*")  # what the listing can hold: none of its own signs
_UNIT = re.compile(r"\s*(?:[a-z%°²³\"']{1,12})$")

Given = str | int | float  # an answer, of the type that measure.answers.is_right compares


def _record(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object that holds all of these properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


_TEXT = {"type": "string"}
_THING = _record(
    {
        "noun": _TEXT,
        "attributes": _list(_record({"name": _TEXT, "value": _TEXT})),
        "several": {"type": "boolean"},
    }
)
SCHEMAS: dict[str, dict[str, Any]] = {
    THINGS: _record(
        {
            "things": _list(_THING),
            "attributes": _list(_record({"name": _TEXT, "values": _list(_TEXT)})),
            "others": _list(_TEXT),
            "answer": {"type": "string", "enum": list(ANSWER_KINDS)},
        }
    ),
    ANSWERS: _record(
        {"scenes": _list(_record({"scene": {"type": "integer"}, "working": _TEXT, "answer": _TEXT}))}
    ),
    WORDS: _record({"clear": {"type": "boolean"}, "nouns": _list(_TEXT)}),
}


def things_request(question: str) -> JudgeRequest:
    """What does the question name? Asked once a question; read by `read_things`."""
    return _request(THINGS, {"question": question})


def answers_request(question: str, scenes: Sequence[SymbolicScene], asking: int) -> JudgeRequest:
    """The question's answer in each scene, all in one call; read by `read_answers`.

    Askings (0, 1) of one question differ in the order of scenes and of the objects in them, and so in their cache
    keys: a listing that is misread is seldom misread twice in the same way. A scene keeps its number in both.
    """
    listing = write_scenes(scenes, f"{asking}\0{question}")
    return _request(ANSWERS, {"question": question, "scenes": listing})


def words_request(phrase: str, nouns: Sequence[str]) -> JudgeRequest:
    """Which of the nouns does a detection phrase name? Asked once a phrase and scene words; read by `read_words`."""
    return _request(WORDS, {"phrase": phrase, "nouns": "\n".join(nouns)})


def read_things(reply: JudgeReply) -> QuestionThings | str:
    """What the question names, or the reason why there are no scenes for it. Raises nothing, whatever was said."""
    said = reply.content
    if said is None:
        return reply.missing or "the judge gave no answer"
    try:
        things = tuple(map(_thing, _items(said, "things", MAX_THINGS)))
        values = {
            _term(each.get("name")): tuple(dict.fromkeys(map(_term, _items(each, "values", MAX_VALUES))))
            for each in _items(said, "attributes", MAX_ATTRIBUTES)
        }
        others = [_noun(each) for each in _items(said, "others", MAX_OTHERS)]
    except _Odd as odd:
        return str(odd)
    answer = said.get("answer")
    if answer not in ANSWER_KINDS:
        return f"the judge named no kind of answer: {str(answer)[:40]!r}"
    if not things:
        return "no made-up scene can hold what the question asks about"
    named = {thing.noun for thing in things}
    kept = tuple(noun for noun in dict.fromkeys(others) if noun and noun not in named)
    once = tuple(thing for at, thing in enumerate(things) if thing not in things[:at])
    return QuestionThings(once, values, kept, str(answer))


def read_answers(reply: JudgeReply, things: QuestionThings, count: int) -> list[Given | None] | str:
    """The answers in the order of the scenes, or why there are none. Raises nothing, whatever was said.

    Typed as measure.answers.is_right wants the truth: "yes" or "no", int, float, or a word. None: the judge cannot
    tell, did not answer for the scene, answered twice and differently, or in no such form.
    """
    said = reply.content
    if said is None:
        return reply.missing or "the judge gave no answer"
    entries = said.get("scenes")
    if not isinstance(entries, list) or len(entries) > 4 * count:
        return f"the judge gave no list of {count} answers"
    answers: dict[int, Given | None] = {}
    for entry in entries:
        scene = entry.get("scene") if isinstance(entry, Mapping) else None
        if not isinstance(scene, int) or isinstance(scene, bool) or not 1 <= scene <= count:
            continue
        answer = _answer(entry.get("answer"), things.answer)
        answers[scene] = answer if answers.get(scene, answer) == answer else None
    return [answers.get(scene) for scene in range(1, count + 1)]


def read_words(reply: JudgeReply, nouns: Sequence[str]) -> tuple[str, ...] | str:
    """The nouns that the phrase names, in the order of `nouns`; () when it names none; or why the judge did not say."""
    if reply.content is None:
        return reply.missing or "the judge gave no answer"
    said = reply.content.get("nouns")
    if reply.content.get("clear") is not True:
        return "the judge cannot tell what the phrase names"
    if not isinstance(said, list):
        return "the judge gave no list of names"
    fitting = {each.strip().lower() for each in said[: 4 * len(nouns)] if isinstance(each, str)}
    return tuple(noun for noun in nouns if noun in fitting)


@cache
def prompt_version(head: str) -> str:
    """Changes with everything that the judge is told: part of the cache key (law 4)."""
    told = "\0".join((_prompt(head), json.dumps(SCHEMAS[head], sort_keys=True)))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@cache
def _prompt(head: str) -> str:
    return files("valor_ray").joinpath("prompts", f"judge_{head}.txt").read_text(encoding="utf-8").strip()


def _request(head: str, sections: Mapping[str, str]) -> JudgeRequest:
    return JudgeRequest(
        head=head,
        version=prompt_version(head),
        messages=(
            {"role": "system", "content": _prompt(head)},
            {"role": "user", "content": write_sections(sections)},
        ),
        schema=SCHEMAS[head],
    )


class _Odd(Exception):
    """What the judge said is not of the form that was asked for; says why."""


def _items(record: Any, name: str, most: int) -> list[Any]:
    items = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(items, list):
        raise _Odd(f"the judge gave no list of {name}")
    if len(items) > most:
        raise _Odd(f"the judge named {len(items)} {name}; at most {most} fit into a small scene")
    if name in ("things", "attributes") and not all(isinstance(item, Mapping) for item in items):
        raise _Odd(f"the judge's {name} are not objects")
    return items


def _thing(said: Any) -> NamedThing:
    pairs = _items(said, "attributes", MAX_ATTRIBUTES)
    several = said.get("several")
    if not isinstance(several, bool):
        raise _Odd("the judge did not say whether a thing is one or several")
    attributes = {_term(pair.get("name")): _term(pair.get("value")) for pair in pairs}
    return NamedThing(_noun(said.get("noun")), attributes, several)


def _term(said: Any) -> str:
    """A noun, name or value as the listing writes it: lower case, single spaces."""
    term = " ".join(said[: 4 * MAX_TERM].lower().split()) if isinstance(said, str) else ""
    if not _TERM.fullmatch(term) or len(term) > MAX_TERM:
        raise _Odd(f"the judge named something that cannot stand in a scene: {str(said)[:40]!r}")
    return term


def _noun(said: Any) -> str:
    """The singular without an article; "" for any object."""
    if said == "":
        return ""
    words = re.sub(r"^(?:an?|the) (?=\w)", "", _term(said)).split()
    noun = " ".join([*words[:-1], singular(words[-1])])
    return "" if noun in ("object", "thing", "item") else noun


def _answer(said: Any, kind: str) -> Given | None:
    """An answer typed by its kind, or None."""
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        return None
    if kind in (COUNT, NUMBER):
        value = number(_UNIT.sub("", said.strip().lower()[:MAX_ANSWER]) if isinstance(said, str) else said)
        if value is None or value < 0:
            return None
        if kind == NUMBER:
            return value
        return int(value) if value == int(value) and value < 1e6 else None
    word = normalise(said[:MAX_ANSWER]) if isinstance(said, str) else ""
    if kind == YES_NO:
        return word if word in ("yes", "no") else None
    return word if word and word != CANNOT_TELL else None
