"""A small grammar of wordings that pre-training alone reads, so that the base policy meets each family in many ways.

`[a|b]` takes one of its ways, which may be empty. A claim stands in a frame that asks about it; any question may stand
in a carrier. Whoever wrote it knew the wordings of the other parts; `tests/tabletop/test_pretraining_wordings.py` holds
that none of development's or the held-out ones can come out of it.
"""

from __future__ import annotations

import re

import numpy as np

_CHOICE = re.compile(r"\[([^\[\]]*)\]")

# Of any question: {q} as it stands in a sentence, {Q} at the start of one.
CARRIERS = (
    "{Q}", "{Q}", "{Q}", "{Q}", "{Q}", "{Q}",
    "[Look at this picture.|Here is a picture.|One question.|Hello!|Please help me.] {Q}",
    "[I have a question|Tell me|Please say|Next question|About this picture|Now]: {q}",
    "[In this scene|In the image|On this table|From what you see], {q}",
    "{Q} [Please answer shortly.|Thank you.|Use the picture.|Give the answer only.]",
)  # fmt: skip

# Of claims, which are answered with yes or no.
FRAMES = (
    "is it [true|right|correct|so] that {s}?",
    "[would|will|could] you say that {s}?",
    "do you [think|agree|believe] that {s}?",
    "I [think|believe|guess] that {s}. Is this [so|true|right]?",
    "[please |]check [if|whether] {s}.",
    "[please |][find out|decide|work out|judge|see] [if|whether] {s}.",
    "{S}: is [that|this] [so|right|true|correct]?",
    "{S}. [Yes or no?|True?|Is it so?]",
    "[my friend|a child|the teacher] [thinks|believes|tells me|is sure] that {s}. Is [that|it] [true|so|right]?",
    "[could|can] it be that {s}?",
    "I [want to know|wonder|ask] [if|whether] {s}.",
    "can you [tell|confirm|verify] [if|whether|that] {s}?",
)  # fmt: skip

CLAIMS: dict[str, tuple[str, ...]] = {
    "existence": (
        "there is {an} {a} [here|in the scene|somewhere|in view|]",
        "{an} {a} is [present|visible|shown|there|on the table]",
        "the [scene|table|image] [contains|holds|includes] {an} {a}",
        "one [can see|sees|finds] {an} {a}",
        "at least one {a} is [visible|in the picture|shown]",
    ),
    "side": (
        "the {a} [is|stands|sits|lies|is placed|appears|is seen|is located] {where} the {b}",
        "{where} the {b} [stands|is|one sees] the {a}",
        "the {b} has the {a} {where} it",
    ),
    "order": (
        "the {a} [is|stands|sits|lies|is located] {relation} the {b}",
        "{relation} the {b} [stands|is|one finds] the {a}",
        "the {b} has the {a} {relation} it",
        "as the camera sees it the {a} is {relation} the {b}",
    ),
    "more": (
        "there are {relation} {as_} than {bs_} [here|in the scene|]",
        "the [table|scene|image] has {relation} {as_} than {bs_}",
        "the [count|amount|quantity] of {as_} is {compared} than [that|the one] of {bs_}",
        "[I|you|we] can count {relation} {as_} than {bs_}",
        "{relation} {as_} than {bs_} are [shown|visible|present]",
        "the {as_} are {compared_in_number} than the {bs_}",
        "there are {as_} in {compared} number than {bs_}",
    ),
}

QUESTIONS: dict[str, tuple[str, ...]] = {
    "count": (
        "[what|which] is the [count|amount|quantity|tally|total number] of {as_} [here|in the scene|in view|]?",
        "how many {as_} [do you see|do you count|can be seen|are visible|are shown|are present|stand here]?",
        "[find|state|say|report|determine|get] the number of {as_}.",
        "[please count|count up|add up|count] [all |all the |the |]{as_} [here|there are|you find|].",
        "in total, how many {as_} [are there|do you find]?",
        "{as_}: how many [are there|of them|do you see]?",
        "I [want|need] [the number|a count] of [all |the |]{as_}.",
        "can you count the {as_}?",
        "there are how many {as_}?",
        "of all things here, how many are {as_}?",
    ),
    "existence": (
        "do you [notice|find|spot|see] {an} {a} [anywhere|in this image|in view|]?",
        "is any {a} [visible|present|shown|to be seen]?",
        "any {as_} [here|in this scene|around]?",
        "[search|look] for {an} {a}: is there one?",
        "does the [scene|image|table] [have|contain|include|hold] {an} {a}?",
        "{an} {a}: is it [there|present|in the image]?",
    ),
    "attribute": (
        "[say|state|report|give|determine|find] the {target} of the {a}.",
        "of [which|what] {target} is the {a}?",
        "the {target} of the {a} is [what|which]?",
        "I [want|need|want to know] the {target} of the {a}.",
        "the {a}: [which|what] {target}?",
        "do you know the {target} of the {a}?",
        "[find|see|take] the {a} and [tell|give|name|say] its {target}.",
        "what {target} [would you say the {a} is|has the {a}|do you see on the {a}]?",
        "I [have|notice] {an} {a} here. What is its {target}?",
        "can you [tell|name|see] the {target} of the {a}?",
    ),
    "closer": (
        "[compare|take] the {a} and the {b}: which [one|object|of them] is {relation} [{off} the camera|{off} us|]?",
        "what is {relation} {off} [the camera|me|us]: the {a} or the {b}?",
        "out of the {a} and the {b}, [name|tell|pick|choose|find] the {relation} one.",
        "the {a} or the {b}: which [one |object |][stands|is|lies|sits] {relation} [{off} the camera|{off} us|]?",
        "is it the {a} or the {b} that is {relation} [{off} the camera|{off} us|]?",
        "seen from here, which is {relation}, the {a} or the {b}?",
        "[say|tell|decide] which of the {a} and the {b} is {relation} [{off} the camera|{off} us|].",
        "which [stands|is placed|sits] {relation} [{off} the camera|{off} us|], the {a} or the {b}?",
    ),
    "height": (
        "the {a} [is|measures|stands] {number} cm [tall|high]. [How tall|How high] is the {b} [in cm|in centimetres]?",
        "[knowing|assuming|supposing] that the {a} is {number} cm tall, [how tall|how high] is the {b} in cm?",
        "[knowing|assuming|supposing] that the {a} is {number} cm tall, find the height of the {b} in cm.",
        "what is the height in cm of the {b}, if [the height of the {a} is|the {a} has] {number} cm?",
        "[find|estimate|compute|calculate] the height of the {b} in cm; the {a} is {number} cm [tall|high].",
        "{number} cm is the height of the {a}. [What is|And] that of the {b}, in cm?",
        "using the {a} of {number} cm as a [scale|reference], how [tall|high] is the {b} in cm?",
        "how many [cm|centimetres] does the {b} measure, when the {a} [measures|has] {number} cm?",
        "let the {a} be {number} cm [tall|high]; then the {b} is how [tall|high] in cm?",
        "I know that the {a} is {number} cm [tall|high]. What about the {b}, in cm?",
    ),
    "ratio": (
        "what is the height of the {a} [over|relative to|compared to] [that|the height] of the {b}?",
        "[compute|find|estimate|calculate] the [ratio|quotient] of the heights of the {a} and the {b}.",
        "[compute|find|estimate|calculate] the height of the {a} [over|divided by] [that|the height] of the {b}.",
        "how much taller is the {a} than the {b}, as a [factor|ratio|multiple]?",
        "how many times does the {a} [exceed|surpass|top] the {b} in height?",
        "the {a} is how many times [as tall as|as high as|taller than] the {b}?",
        "in units of the height of the {b}, how [tall|high] is the {a}?",
        "[what|which] [factor|number] takes the height of the {b} to that of the {a}?",
        "what do you get when you divide the height of the {a} by that of the {b}?",
        "[dividing|divide] the height of the {a} by [that|the height] of the {b}: [what comes out|what is it]?",
        "expressed in heights of the {b}, how [tall|high] is the {a}?",
        "if the {b} had height one, how [tall|high] would the {a} be?",
        "[relative to|next to|against] the {b}, how many times [as tall|as high|taller] is the {a}?",
        "the {a} is taller than the {b} by [what|which] factor?",
        "[what|which] is the height ratio [of|between] the {a} [to|and] the {b}?",
        "[by|with] [what|which] number must one multiply the height of the {b} to get that of the {a}?",
        "[say|state|report|determine] how many times [as tall as|as high as|taller than] the {b} the {a} is.",
        "take the {b} as the unit: how many units [tall|high] is the {a}?",
        "I [want|need] the height of the {a} [divided by|over] that of the {b}.",
    ),
    "side": (
        "is the {a} [placed|located|shown|standing|sitting] {where} the {b}?",
        "[take|see|find] the {b}: is the {a} {where} it?",
        "does the {a} [stand|sit|come|lie] {where} the {b}?",
        "{where} the {b}, [is there|do you find|can one see] the {a}?",
        "[looking at|beside] the {b}, do you see the {a} {where} it?",
    ),
    "order": (
        "is the {a} [placed|located|standing|sitting] {relation} the {b}?",
        "[take|see|find] the {b}: is the {a} {relation} it?",
        "does the {a} [sit|come|lie] {relation} the {b}?",
        "{relation} the {b}, [is there|do you find] the {a}?",
        "[in the depth of the scene|on the floor|as to distance], is the {a} {relation} the {b}?",
    ),
    "nested": (
        "[say|state|report|give|determine|find] the {target} of the {relation} {a}.",
        "of [which|what] {target} is the {relation} {a}?",
        "the {target} of the {relation} {a} is [what|which]?",
        "I [need|want to know] the {target} of the {relation} {a}.",
        "the {relation} {a}: [which|what] {target}?",
        "among [the|all] {as_}, [which|what] {target} has the {relation} [one|]?",
        "[find|pick|choose|take] the {relation} of the {as_} and [name|tell|say] its {target}.",
        "there are several {as_}. [What|Which] {target} is the {relation} [one|of them]?",
        "[which|what] {target} has the {a} that is {relation}?",
        "can you [tell|name|see] the {target} of the {relation} {a}?",
    ),
    "choice": (
        "[which|what] [object|thing|one|of them|of both] is [the |]{relation}? Options: {options}",
        "[name|say|find|give|select|state] the {relation} [one|object|thing|of these|of both]. Options: {options}",
        "the {a} or the {b}: which is {relation}? Options: {options}",
        "is the {a} or the {b} {relation}? Options: {options}",
        "I [want|look for] the {relation} [one|object]. [What|Which] is it? Options: {options}",
        "which [would be|stands|looks|seems] {relation}? Options: {options}",
        "[options: |]{options}. [Which is|Name|Pick|What is] the {relation} [one|object|]?",
        "out of {options} [choose|pick|name] the {relation} one.",
        "given {options}, which [one |]is [the |]{relation}?",
    ),
    "count_side": (
        "how many {as_} [lie|sit|do you find|can be seen|are visible|are placed|do I see] {where} the {b}?",
        "{where} the {b}, how many {as_} [are there|do you see|stand]?",
        "[find|state|say|report|determine] the number of {as_} {where} the {b}.",
        "[what|which] is the [count|amount|total] of {as_} {where} the {b}?",
        "of all {as_}, how many are {where} the {b}?",
        "[take|find|see] the {b}: how many {as_} are {where} it?",
        "the {b} has how many {as_} {where} it?",
        "count [all |the |]{as_} that [are|stand|lie] {where} the {b}.",
        "{as_} {where} the {b}: how many?",
        "how many [of the|of all] {as_} [are|stand|lie|sit] {where} the {b}?",
        "[say|state|report] how many {as_} [there are|one finds|one sees] {where} the {b}.",
        "{where} the {b} there are how many {as_}?",
        "[with|taking] the {b} as the mark, how many {as_} are {where} it?",
        "starting from the {b}, count the {as_} {where} it.",
        "if [I|you] look {where} the {b}, how many {as_} [would be seen|can be found]?",
        "[I|we] [want|need] the number of [the |]{as_} {where} the {b}.",
        "only {where} the {b}: how many {as_}?",
        "{as_} [standing|lying|that are] {where} the {b}: [count them|how many are they].",
        "how many {as_} does the {b} have {where} it?",
        "how many {as_} are [{relation} of|on the {relation} of|on the {relation} side of] the {b}?",
        "count the {as_} [{relation} of|on the {relation} of|on the {relation} side of] the {b}.",
        "on the {relation} [side |]of the {b}, how many {as_} [are there|do you count]?",
        "can you count the {as_} {where} the {b}?",
    ),
    "more": (
        "is the [count|amount|quantity] of {as_} {compared} than [that|the one] of {bs_}?",
        "does the [scene|image|table] [hold|contain|have] {relation} {as_} than {bs_}?",
        "are there {relation} {as_} here than there are {bs_}?",
        "are {relation} {as_} than {bs_} [visible|present|shown|to be seen]?",
        "[{as_} or {bs_}|of {as_} and {bs_}]: are there {relation} of the first?",
        "do [I|you|we] [find|count|have] {relation} {as_} than {bs_}?",
        "counting both, are there {relation} {as_} than {bs_}?",
        "than {bs_}, are there {relation} {as_}?",
        "[compare|take|count] the {as_} and the {bs_}: are there {relation} of the first?",
        "are the {as_} {compared_in_number} than the {bs_}?",
        "[here|in this scene|in view], are {as_} {compared_in_number} than {bs_}?",
        "would [a count|counting] [give|show] {relation} {as_} than {bs_}?",
        "is the [count|amount|quantity] of {as_} the {compared} one, [beside|against] that of {bs_}?",
    ),
}  # fmt: skip


def drawn(family: str, rng: np.random.Generator) -> str:
    """A template of the family, with the blanks of `questions.blanks` still in it."""
    whole, claims = QUESTIONS[family], CLAIMS.get(family, ())
    place = int(rng.integers(len(whole) + 2 * len(claims)))
    if place < len(whole):
        question = _chosen(whole[place], rng)
    else:
        claim = _chosen(claims[(place - len(whole)) % len(claims)], rng)
        question = _put(_chosen(FRAMES[rng.integers(len(FRAMES))], rng), "s", claim)
    return _put(_chosen(CARRIERS[rng.integers(len(CARRIERS))], rng), "q", question)


def _chosen(text: str, rng: np.random.Generator) -> str:
    """One way of each choice; spaces that an empty way leaves are taken out."""

    def one(match: re.Match[str]) -> str:
        ways = match[1].split("|")
        return ways[rng.integers(len(ways))]

    text = re.sub(r" +", " ", _CHOICE.sub(one, text))
    return re.sub(r" ([?.,:;])", r"\1", text).strip()


def _put(frame: str, name: str, text: str) -> str:
    """`text` in the frame's blank, with a capital where the blank's name has one."""
    return frame.replace(f"{{{name}}}", text).replace(f"{{{name.upper()}}}", _capital(text))


def _capital(text: str) -> str:
    """A blank at the start gets the capital when it is filled: `{as_}` becomes `{As_}`."""
    return text[:1].upper() + text[1:] if text[:1] != "{" else f"{{{text[1].upper()}{text[2:]}"
