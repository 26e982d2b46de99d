"""The little English that the checks share: words of attributes, singulars, clauses."""

from __future__ import annotations

import re

COLOURS = frozenset(
    "red green blue yellow purple orange cyan white black grey gray brown pink golden gold silver beige navy violet "
    "turquoise magenta teal maroon tan".split()
)
MATERIALS = frozenset(
    "wooden metal metallic plastic glass leather striped dotted plain floral paper stone brick ceramic".split()
)
SIZE_WORDS = (
    r"tall(?:er|est)?|short(?:er|est)?|height|heights|high(?:er|est)?|wide(?:r|st)?|width|narrow(?:er|est)?|"
    r"long(?:er|est)?|length|big(?:ger|gest)?|large(?:r|st)?|small(?:er|est)?|size|sizes|deep(?:er|est)?|volume|area|"
    r"thick(?:er|est)?|diameter|radius"
)
_IRREGULAR = {
    "boxes": "box", "shelves": "shelf", "people": "person", "men": "man", "women": "woman", "children": "child",
    "knives": "knife", "leaves": "leaf", "mice": "mouse", "feet": "foot", "teeth": "tooth", "halves": "half",
}  # fmt: skip
_STOP = frozenset(
    (
        "a an the of in on at to from by with without for and or if is are was were be been do does did can could "
        "has have had will would should there this that these those it its they them their which what who whose "
        "where when how many much more less fewer than as not no yes any all every each both either neither one "
        "ones two three same different picture image photo scene see seen visible show shown shows tell me give "
        "given choose pick count number answer options option times ratio camera us you we i my your our out into "
        "over between among other another so such only just also very most least far away side sides cm m meters "
        "metres centimeters centimetres feet inches mm would stand stands standing sit sits sitting placed place "
        "located find table left right above below behind front closer closest nearest nearer farther further "
        "farthest furthest leftmost rightmost left-most right-most next beside near under beneath top bottom "
        "colour color shape kind material whole object objects thing things item items "
    ).split()
)


def singular(word: str) -> str:
    """boxes → box; words that are singular stay."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def words(text: str) -> list[str]:
    """Lower-case words in the singular."""
    return [singular(word) for word in _plain_words(text)]


def _plain_words(text: str) -> list[str]:
    return re.findall(r"[a-z][a-z'-]*", text.lower())


def content_words(text: str) -> list[str]:
    """The words that name things and what they are like, in order, once each."""
    sized = re.compile(rf"^(?:{SIZE_WORDS})$")
    named = (singular(word) for word in _plain_words(text) if word not in _STOP and not sized.match(word))
    return list(dict.fromkeys(word for word in named if word not in _STOP))


def normal_phrase(text: str) -> str:
    """the Red boxes → red box"""
    text = re.sub(
        r"^(?:the|a|an|every|each|all|any|both|of|boxes of|instances of|visible)\s+", "", text.strip().lower()
    )
    again = re.sub(r"^(?:the|a|an|of|every|all)\s+", "", text)
    return " ".join(words(again))


def has(pattern: str, text: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", text) is not None


def plural_pattern(phrase: str) -> str:
    """A pattern of the phrase in singular or plural, its words joined by spaces or hyphens."""
    *head, noun = phrase.split() or [""]
    many = {one: several for several, one in _IRREGULAR.items()}.get(noun, "")
    forms = "|".join(re.escape(form) for form in (noun, noun + "s", noun + "es", many) if form)
    if noun.endswith("y"):
        forms += "|" + re.escape(noun[:-1] + "ies")
    return "[ -]".join([*map(re.escape, head), f"(?:{forms})"])
