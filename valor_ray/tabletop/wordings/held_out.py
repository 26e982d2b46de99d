"""Wordings of the held-out part: three a family, written without sight of any but the training ones. Only evaluation
reads them, in data. (The third of `more` and the first of `side` are exceptions: whoever wrote them knew the grammar.)
"""

WORDINGS: dict[str, tuple[str, ...]] = {
    "count": (
        "Looking over the table, how many {as_} do you find?",
        "{As_}: how many of them are in this photo?",
        "If you counted every {a} here, what number would you get?",
    ),
    "existence": (
        "Is at least one {a} visible here?",
        "Would I find {an} {a} among the things on the table?",
        "I am looking for {an} {a}; is one present in this photo?",
    ),
    "attribute": (
        "Look at the {a} and give its {target}.",
        "Can you say what {target} the {a} is?",
        "There is {an} {a} on the table; what is its {target}?",
    ),
    "closer": (
        "Between the {a} and the {b}, which one sits {relation} {off} the viewer?",
        "Does the {a} or the {b} lie {relation} {off} the point where the photo was taken?",
        "Compare the distances of the {a} and the {b} from the camera and name the {relation} one.",
    ),
    "height": (
        "Suppose the {a} measures {number} cm from bottom to top; what would the height of the {b} be in cm?",
        "Taking {number} cm as the height of the {a}, work out the height of the {b} in cm.",
        "I know that the {a} stands {number} cm high, so how many cm high does the {b} stand?",
    ),
    "ratio": (
        "Compared with the {b}, how many times as high is the {a}?",
        "If the {b} were one unit tall, how many units tall would the {a} be?",
        "What number must the height of the {b} be multiplied by to give the height of the {a}?",
    ),
    "side": (
        "Comparing their places in this photo, is the {a} {where} the {b}?",
        "Would someone looking at this photo find the {a} {where} the {b}?",
        "Please check if the {a} is positioned {where} the {b}.",
    ),
    "order": (
        "Has the {a} been placed {relation} the {b}?",
        "From where the viewer stands, would you say that the {a} is {relation} the {b}?",
        "Am I right that the {a} sits {relation} the {b}?",
    ),
    "nested": (
        "Find the {relation} {a} and state its {target}.",
        "Among the {as_} shown, one is {relation}; what is its {target}?",
        "I would like to know what {target} the {relation} {a} is.",
    ),
    "choice": (
        "If the {a} and the {b} stood side by side, which would be {relation}? Options: {{{a}, {b}}}",
        "One of these objects is {relation} than the other; name it. Options: {{{a}, {b}}}",
        "Would you say that the {a} or the {b} is {relation}? Options: {{{a}, {b}}}",
    ),
    "count_side": (
        "If you look {where} the {b}, how many {as_} do you find?",
        "{As_} {where} the {b}: how many are there?",
        "Taking only the {as_} that lie {where} the {b}, what is their total number?",
    ),
    "more": (
        "If you counted both kinds, would you get {relation} {as_} than {bs_}?",
        "Yes or no: this photo has {relation} {as_} than {bs_}.",
        "Suppose you compare the numbers of {as_} and {bs_}: is the first one {compared}?",
    ),
}
