"""Wordings of the development part: two a family, for choosing and repairing; training never sees them."""

WORDINGS: dict[str, tuple[str, ...]] = {
    "count": (
        "Give me the count of the {as_}.",
        "Look at the table: how many {as_} stand on it?",
    ),
    "existence": (
        "Would I find {an} {a} here?",
        "Say yes if the scene has {an} {a}, otherwise no.",
    ),
    "attribute": (
        "The {a} has what {target}?",
        "Look at the {a}: what {target} is it?",
    ),
    "closer": (
        "Between the {a} and the {b}, which one is {relation} to the viewer?",
        "Name the object that is {relation} to the camera: the {a} or the {b}.",
    ),
    "height": (
        "Suppose the {a} measures {number} cm in height; give the height of the {b} in cm.",
        "With the {a} being {number} cm high, how high is the {b}, in cm?",
    ),
    "ratio": (
        "Give the height of the {a} as a multiple of the height of the {b}.",
        "Compared with the {b}, how many times as tall is the {a}?",
    ),
    "side": (
        "Does the picture have the {a} {where} the {b}?",
        "True or false, yes or no: the {a} is {where} the {b}.",
    ),
    "order": (
        "Is it the case that the {a} is {relation} the {b}?",
        "Answer yes or no: the {a} is {relation} the {b}.",
    ),
    "nested": (
        "The {relation} {a} has what {target}?",
        "Look for the {relation} {a}: what {target} is it?",
    ),
    "choice": (
        "Between these, say which is {relation}. Options: {{{a}, {b}}}",
        "Compare the two heights: which object is {relation}? Options: {{{a}, {b}}}",
    ),
    "count_side": (
        "Give the number of {as_} standing {where} the {b}.",
        "Look {where} the {b}: how many {as_} are there?",
    ),
    "more": (
        "Is the number of {as_} {compared} than the number of {bs_}?",
        "Comparing {as_} with {bs_}, are there {relation} of the former?",
    ),
}
