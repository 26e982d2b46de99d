"""Wordings of the held-out part: three a family, each built in its own way. Only evaluation reads them, in data."""

WORDINGS: dict[str, tuple[str, ...]] = {
    "count": (
        "I would like to know how many {as_} this scene contains.",
        "If somebody took all the {as_} away, how many things would they carry?",
        "{As_}: what is their total?",
    ),
    "existence": (
        "I am looking for {an} {a}; is one present?",
        "Among the things on the table, is any of them {an} {a}?",
        "Has somebody put {an} {a} on this table?",
    ),
    "attribute": (
        "I see one {a}; describe its {target} in one word.",
        "There is {an} {a} on the table. Its {target} is what?",
        "How would you describe the {a} as to its {target}?",
    ),
    "closer": (
        "I hold the camera. Would I say that the {a} or that the {b} is {relation} to me?",
        "Two things, the {a} and the {b}: decide which of them lies {relation} from where the picture was taken.",
        "Measured from the lens, the {relation} one of the {a} and the {b} is which?",
    ),
    "height": (
        "I measured the {a} at {number} cm from bottom to top. Estimate the same for the {b}, in cm.",
        "Take {number} cm as the true height of the {a}, then work out how many cm high the {b} stands.",
        "What would a ruler show in cm for the height of the {b}, when it shows {number} cm for that of the {a}?",
    ),
    "ratio": (
        "Taking the height of the {b} as 1, how much is the height of the {a}?",
        "Stack copies of the {b}: how many of them, as a decimal number, reach the height of the {a}?",
        "Divide how tall the {a} is by how tall the {b} is and give the result.",
    ),
    "side": (
        "I point at the {b}. Would the {a} lie {where} it in the image?",
        "Relative to the {b}, is the position of the {a} in the image {where} it?",
        "Someone claims that the {a} is found {where} the {b}; are they right?",
    ),
    "order": (
        "Someone says that the {a} is placed {relation} the {b}; are they right?",
        "If I walked from the camera into the scene, would I find the {a} {relation} the {b}?",
        "Relative to the {b}, is the {a} {relation} it?",
    ),
    "nested": (
        "Consider every {a} and take the {relation} one. Its {target} is what?",
        "Out of all the {as_}, the {relation} one has which {target}?",
        "I want the {target} of just one {a}, the {relation}.",
    ),
    "choice": (
        "Put the two side by side: the {relation} would be which? Options: {{{a}, {b}}}",
        "A shelf needs the {relation} of two things; which one do you take? Options: {{{a}, {b}}}",
        "{{{a}, {b}}} are the options; answer with the {relation}.",
    ),
    "count_side": (
        "Starting from the {b}, look only at what lies {where} it. The {as_} there add up to how many?",
        "I keep just those {as_} that are {where} the {b}; how many do I keep?",
        "{As_} located {where} the {b}: what is their total?",
    ),
    "more": (
        "I count the {as_}, then the {bs_}. Is the first number {compared}?",
        "Someone claims that {as_} are {compared_in_number} than {bs_} here; are they right?",
        "Set the {as_} against the {bs_}: do we have {relation} of the first kind?",
    ),
}
