"""Tools over one symbolic scene: what gd_detect, depth and vqa answer where there is text in place of a picture.

A detector does not decide relations: words of place and comparison in a phrase ("leftmost", "closest", "to the left of
the blue ball", "tallest") are passed over, together with what follows them. What the scene's text cannot tell ends the
run, at no charge to the program. Loaded in the sandbox, where the fast path answers tool calls in the process; the
driver answers those of the fork path from here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valor_ray.errors import ValorError
from valor_ray.program.inside.placeholders import OPTIONS
from valor_ray.program.inside.scene_words import GENERIC, LONGEST_PHRASE, Language, Reading, tokens
from valor_ray.records import BBox, SceneObject, SymbolicScene
from valor_ray.tools import split_phrases

UNDECIDED, HANDED_ON = "undecided", "handed_on"
_WHOLE = 0.9  # share of the picture from which on a box is the whole of it
_FAR = 3.0  # depth of the background, in depths of the farthest object
_EITHER = re.compile(r"\b([\w-]{1,40}),? or (?:an? |the )?([\w-]{1,40})\s{0,4}\?? ?$", re.IGNORECASE)
_IN_PICTURE = re.compile(r"\b(in|of|on) (the|this) (picture|image|photo(graph)?|scene)\b", re.IGNORECASE)
_COUNT = re.compile(r"\b(how many|number of|count)\b", re.IGNORECASE)
_YES_NO = re.compile(r"^\s*(is|are|does|do|can|has|have|was|were|could)\b", re.IGNORECASE)
# fmt: off
_SAYS_LITTLE = frozenset(tokens(
    "a an the this that these those it its is are was were be been do does did has have can could would what which who "
    "how you we i us me see seen show shown tell name say give answer please there here in on of at to for from or and "
    "picture image photo photograph scene box crop region area visible present look looks like look color colour short "
    "word one with yes no only question shot frame view main called identify describe kind made out as any some thing "
    "object item stuff if by"
)) - frozenset(tokens("colour"))
_RELATIONS = {  # word of a question that a prompt must share to hand it on -> one spelling for each meaning
    word: group.split()[0]
    for group in (
        "closer closest near nearer nearest", "farther farthest further furthest", "left leftmost", "right rightmost",
        "above higher highest", "below under lower lowest", "front", "behind", "tall taller tallest height high",
        "short shorter shortest", "wide wider widest width", "narrow narrower narrowest",
        "more most big bigger biggest large larger largest", "fewer fewest less small smaller smallest",
        "long longer longest length", "ratio time", "same equal", "different", "distance", "next", "deep deeper depth",
    )
    for word in group.split()
}
# fmt: on
_COMPARING = frozenset(_RELATIONS.values())
_KINDS = frozenset(("shape", "type", "sort", "category"))  # without an attribute of that name: the noun


class Stop(ValorError):
    """Ends a run: the scene's text does not tell, or the program handed the question on."""

    def __init__(self, kind: str, text: str, phrase: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.text, self.phrase = (
            each[:500].encode("utf-8", "replace").decode("utf-8") for each in (text, phrase)
        )


@dataclass(frozen=True)
class Asked:
    """A question with the words of its scenes: shared by the runs of one program."""

    language: Language
    content: frozenset[str]  # words of the question that tell what it asks

    def handed_on_by(self, content: frozenset[str]) -> bool:
        """Whether a prompt of that content leaves to vqa what the program is to find out.

        It covers the question; or all of its relations and measures, and names something that the question names.
        """
        relations = self.content & _COMPARING
        things = (self.content & content) - _COMPARING
        covered = bool(relations) and relations <= content and bool(things)
        return bool(self.content) and (covered or self.content <= content)

    @classmethod
    def of(cls, question: str, scenes: Sequence[SymbolicScene], words: Mapping[str, Sequence[str]]) -> Asked:
        language = Language(scenes, words)
        return cls(language, _content(question, language))


class SceneTools:
    """A ToolHost for one run in one scene. Boxes are those of the scene, in its order, or in reverse."""

    def __init__(self, scene: SymbolicScene, asked: Asked, reverse: bool = False) -> None:
        self._scene, self._asked = scene, asked
        self._objects = scene.objects[::-1] if reverse else scene.objects
        self.stop: Stop | None = None  # the first one; the run is over then, whatever the program makes of it
        self.ordered = False  # whether a detection gave several boxes, so that their order may matter

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        return self.answer(tool, args)

    def answer(self, tool: str, args: dict[str, Any]) -> Any:
        """The JSON result of a call whose name and arguments come from `check_call`. Raises Stop."""
        try:
            if tool == "gd_detect":
                return self._detect(split_phrases(args["prompt"]), args.get("image_bbox"))
            if tool == "depth":
                return self._depth(args["bbox"])
            return self._vqa(args["bbox"], args["prompt"])
        except Stop as stop:
            self.stop = self.stop or stop
            raise

    def _detect(self, phrases: tuple[str, ...], crop: list[float] | None) -> list[dict[str, Any]]:
        readings = [(phrase, self._read(phrase)) for phrase in phrases]
        detections = []
        for thing in self._objects:
            box = list(thing.bbox) if crop is None else _inside(thing.bbox, crop)
            for phrase, reading in readings if box else ():
                if reading.fits(thing):
                    detections.append({"bbox": list(box or ()), "label": phrase})
        self.ordered = self.ordered or len(detections) > 1
        return detections

    def _read(self, phrase: str) -> Reading:
        reading = self._asked.language.read(phrase)
        if reading is None:
            raise Stop(UNDECIDED, phrase, phrase if len(phrase) <= LONGEST_PHRASE else "")
        return reading

    def _depth(self, box: list[float]) -> float:
        thing = self._at(box)
        return thing.depth_m if thing else _FAR * max((o.depth_m for o in self._scene.objects), default=1.0)

    def _at(self, box: list[float]) -> SceneObject | None:
        """The object that the box overlaps most."""
        shares = [(_overlap(thing.bbox, box), thing) for thing in self._scene.objects]
        share, thing = max(shares, key=lambda pair: pair[0], default=(0.0, None))
        return thing if share > 0 else None

    def _vqa(self, box: list[float] | None, prompt: str) -> str:
        width, height = self._scene.image_size
        if box is None or (box[2] - box[0]) * (box[3] - box[1]) >= _WHOLE * width * height:
            answer = self._about_all(prompt)
        else:
            thing = self._at(box)
            answer = None if thing is None else about_one(thing, prompt, self._asked.language)
            if answer is None and self._asked.handed_on_by(_content(prompt, self._asked.language)):
                raise Stop(HANDED_ON, prompt)
        if answer is None:
            raise Stop(UNDECIDED, prompt)
        return answer

    def _about_all(self, prompt: str) -> str | None:
        language, asked = self._asked.language, self._asked
        content = _content(prompt, language)
        if asked.handed_on_by(content):
            raise Stop(HANDED_ON, prompt)
        if content & _COMPARING:
            return None
        fitting = _fitting(self._scene.objects, prompt, language)
        if fitting is None:  # "what colour is this?"
            nothing = (
                not set(tokens(prompt)) - _SAYS_LITTLE - {word for key in language.attributes for word in key}
            )
            return about_one(self._largest(self._scene.objects), prompt, language) if nothing else None
        if _COUNT.search(prompt):
            return str(len(fitting))
        if _YES_NO.search(prompt):
            return "yes" if fitting else "no"
        return about_one(self._largest(fitting), prompt, language) if fitting else None

    def _largest(self, things: Sequence[SceneObject]) -> SceneObject:
        """Of whom vqa speaks when a prompt does not say which."""
        return max(things, key=lambda thing: _overlap(thing.bbox, thing.bbox))


def about_one(thing: SceneObject, prompt: str, language: Language) -> str | None:
    """vqa about one object: the attribute that the prompt names, its noun, yes or no. None: not told by its text."""
    words = tokens(prompt)
    if _COUNT.search(prompt):
        return None
    if _RELATIONS.keys() & set(words):
        return _attribute_first(thing, words, language)
    if options := _options(prompt, language):
        own = _known_of(thing)
        fitting = [text for text, meant in options if meant & own]
        return fitting[0] if len(fitting) == 1 else None
    if _YES_NO.match(prompt):
        reading = _phrase_in(prompt, language)
        return None if reading is None else ("yes" if reading.fits(thing) else "no")
    if "what" not in words and "which" not in words and not _named_attributes(words, language):
        return None
    names = _named_attributes(words, language)
    if len(names) == 1:
        return thing.attributes.get(next(iter(names)))
    rest = set(words) - _SAYS_LITTLE - _KINDS
    return thing.noun if not names and not rest else None


def _attribute_first(thing: SceneObject, words: Sequence[str], language: Language) -> str | None:
    """Of "what colour is the leftmost box?": its colour; place and comparison tell which one, and the box has told."""
    asks = [at for at, word in enumerate(words) if word in ("what", "which")]
    asked = words[asks[0] + 1 : asks[0] + 4] if len(asks) == 1 else ()
    asked = [word for word in asked if word not in ("is", "the")][:1]
    names = _named_attributes(asked, language)
    return thing.attributes.get(next(iter(names))) if len(names) == 1 else None


def unread_phrases(
    phrases: Sequence[str], scenes: Sequence[SymbolicScene], words: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Those that the scenes cannot decide yet: a judge is to say what they mean. In order, without repeats."""
    language = Language(scenes, words)
    return tuple(dict.fromkeys(phrase for phrase in phrases if language.read(phrase) is None))


def _options(prompt: str, language: Language) -> list[tuple[str, set[str]]]:
    """(text, what it means) for each choice of "red or blue?" and "Options: {red, blue}", if all are known words."""
    texts: list[str] = []
    if listed := OPTIONS.search(prompt):
        texts = [part.strip(" '\"") for part in listed[1].split(",") if part.strip()]
    elif either := _EITHER.search(prompt.rstrip()):
        before = re.findall(r"(?<![\w-])([\w-]++),", prompt[: either.start()])
        texts = [*before, either[1], either[2]]
    meant = [(text.casefold(), _meaning(tokens(text), language)) for text in texts]
    return meant if len(meant) > 1 and all(values for _, values in meant) else []


def _meaning(words: tuple[str, ...], language: Language) -> set[str]:
    return {value.casefold() for value in language.value_of(words) | language.noun_of(words)}


def _known_of(thing: SceneObject) -> set[str]:
    return {value.casefold() for value in (*thing.attributes.values(), thing.noun)}


def _named_attributes(words: Sequence[str], language: Language) -> set[str]:
    """Attributes of the scenes that these words name: "what colour", "of what material", "made of"."""
    names = {name for key, name in language.attributes.items() if set(key) <= set(words)}
    for word in words:
        for key, name in language.attributes.items():
            if len(key) == 1 and key[0] in ALIKE_NAMES.get(word, ()):
                names.add(name)
    return names


ALIKE_NAMES = {  # word of a prompt -> attributes that it may stand for
    "colour": ("colour", "hue"), "made": ("material",), "form": ("shape",), "substance": ("material",),
    "type": ("kind", "type", "category"), "kind": ("kind", "type", "category"), "sort": ("kind", "type"),
    "category": ("kind", "type"), "texture": ("material", "pattern"), "hue": ("colour",),
}  # fmt: skip


def _phrase_in(prompt: str, language: Language) -> Reading | None:
    """The thing of which a yes/no or counting prompt speaks. None also where it speaks of two, or of what is not."""
    words = tokens(_IN_PICTURE.sub("", prompt))
    if {"not", "or", "and"} & set(words):
        return None
    known = [word for word in words if language.noun_of((word,)) or language.value_of((word,))]
    attributes = {word for key in language.attributes for word in key}
    passed = (_SAYS_LITTLE | attributes | {"many", "number", "count"}) - GENERIC
    return language.read(" ".join(word for word in words if word in known or word not in passed))


def _fitting(objects: Sequence[SceneObject], prompt: str, language: Language) -> list[SceneObject] | None:
    reading = _phrase_in(prompt, language)
    return None if reading is None else [thing for thing in objects if reading.fits(thing)]


def _content(text: str, language: Language) -> frozenset[str]:
    """Its words that name things, values, attributes, relations and counting, one spelling for each."""
    words = tokens(_IN_PICTURE.sub("", text))
    content = {_RELATIONS[word] for word in words if word in _RELATIONS}
    content |= {"count"} if _COUNT.search(text) else set()
    known = {
        part
        for table in (language.nouns, language.values, language.attributes)
        for key in table
        for part in key
    }
    for word in words:
        if word in known and word not in _RELATIONS:
            content.add(word)
        else:
            content |= {min(_meaning((word,), language))} if _meaning((word,), language) else set()
    if content & {"closer", "farther", "front", "behind"}:
        content -= {"deep"}  # "in depth, is it behind …?"
    return frozenset(content)


def _overlap(a: BBox, b: Sequence[float]) -> float:
    """Pixels that two boxes share."""
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def _inside(box: BBox, crop: list[float]) -> list[float] | None:
    """The box in pixels of the crop, if at least half of it is there."""
    if 2 * _overlap(box, crop) < (box[2] - box[0]) * (box[3] - box[1]):
        return None
    left, top, right, bottom = crop
    x1, y1, x2, y2 = box
    return [max(x1, left) - left, max(y1, top) - top, min(x2, right) - left, min(y2, bottom) - top]
