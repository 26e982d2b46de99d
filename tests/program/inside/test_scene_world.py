"""What tools answer in a symbolic scene, and where they end the run."""

from typing import Any

import pytest
from growth import linear

from valor_ray.program.inside.placeholders import vqa_answer
from valor_ray.program.inside.scene_words import Language
from valor_ray.program.inside.scene_world import Asked, SceneTools, Stop, about_one, unread_phrases
from valor_ray.records import BBox, SceneObject, SymbolicScene


def thing(noun: str, colour: str, bbox: BBox, depth_m: float) -> SceneObject:
    return SceneObject(noun, {"colour": colour, "shape": noun}, bbox, depth_m, 1.0, 1.0)


RED_BOX = thing("box", "red", (10.0, 10.0, 110.0, 62.0), 2.0)
BLUE_BOX = thing("box", "blue", (210.0, 110.0, 310.0, 160.0), 3.0)
BALL = thing("ball", "green", (410.0, 210.0, 460.0, 260.0), 4.0)
SCENE = SymbolicScene((1000, 800), (RED_BOX, BLUE_BOX, BALL))


def tools(question: str = "Is the red box closer than the ball?", reverse: bool = False) -> SceneTools:
    return SceneTools(SCENE, Asked.of(question, [SCENE], {}), reverse)


def vqa(prompt: str, bbox: Any = None, question: str = "Is the red box closer than the ball?") -> str:
    try:
        return str(tools(question).answer("vqa", {"bbox": bbox and list(bbox), "prompt": prompt}))
    except Stop as stop:
        assert stop.text[:20] in (prompt[:20], "??") and not stop.phrase
        return f"<{stop.kind}>"


def test_detections_come_in_the_scenes_order_or_in_reverse() -> None:
    one, other = tools(), tools(reverse=True)
    boxes = one.answer("gd_detect", {"prompt": "box"})
    assert boxes == [{"bbox": list(each.bbox), "label": "box"} for each in (RED_BOX, BLUE_BOX)]
    assert other.answer("gd_detect", {"prompt": "box"}) == boxes[::-1]
    assert one.ordered and other.ordered
    single = tools()
    assert len(single.answer("gd_detect", {"prompt": "red box"})) == 1 and not single.ordered


def test_each_phrase_labels_what_it_finds() -> None:
    labels = [each["label"] for each in tools().answer("gd_detect", {"prompt": "Ball, red box"})]
    assert labels == ["red box", "Ball"]


def test_detections_in_a_crop_are_in_pixels_of_the_crop() -> None:
    args = {"prompt": "box", "image_bbox": [200.0, 100.0, 400.0, 300.0]}
    assert tools().answer("gd_detect", args) == [{"bbox": [10.0, 10.0, 110.0, 60.0], "label": "box"}]


def test_a_phrase_that_the_scene_does_not_know_ends_the_run() -> None:
    host = tools()
    with pytest.raises(Stop):
        host.answer("gd_detect", {"prompt": "box, unicorn"})
    assert host.stop is not None and (host.stop.kind, host.stop.phrase) == ("undecided", "unicorn")


@pytest.mark.parametrize(
    ("bbox", "metres"),
    [
        (RED_BOX.bbox, 2.0),
        ((50.0, 30.0, 51.0, 31.0), 2.0),
        ((100.0, 50.0, 300.0, 150.0), 3.0),
        ((600.0, 600.0, 700.0, 700.0), 12.0),
    ],
)
def test_depth_is_that_of_the_object_that_the_box_overlaps_most(bbox: BBox, metres: float) -> None:
    assert tools().answer("depth", {"bbox": list(bbox)}) == metres


UNDECIDED, HANDED_ON = "<undecided>", "<handed_on>"


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("What colour is this object?", "red"),
        ("What is the color of this box?", "red"),
        ("colour?", "red"),
        ("Which shape does it have?", "box"),
        ("What is this?", "box"),
        ("What kind of object is this?", "box"),
        ("Is this red?", "yes"),
        ("Is it a red box?", "yes"),
        ("Is it a blue box?", "no"),
        ("Is this object a sphere?", "no"),
        ("Is it red or blue?", "red"),
        ("Is this a box or a ball?", "box"),
        ("What colour is it? Options: {blue, red, green}", "red"),
        ("Is it blue or green?", UNDECIDED),
        ("Is it made of wood?", UNDECIDED),
        ("What material is it?", UNDECIDED),
        ("What colour and shape is it?", UNDECIDED),
        ("How tall is it?", UNDECIDED),
        ("Is it left of the ball?", UNDECIDED),
        ("Is it not red?", UNDECIDED),
        ("How many are there?", UNDECIDED),
        ("Is it open?", UNDECIDED),
        ("é" * 2000, UNDECIDED),
        ("\ud800?", UNDECIDED),
    ],
)
def test_vqa_about_an_object_reads_its_text_and_no_more(prompt: str, answer: str) -> None:
    assert vqa(prompt, RED_BOX.bbox) == answer


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("How many boxes are there?", "2"),
        ("Count the blue boxes in the picture.", "1"),
        ("Is there a ball?", "yes"),
        ("Is there a red ball in the image?", "no"),
        ("What colour is the ball?", "green"),
        ("What colour is the box?", "red"),  # of the larger one, as vqa would speak of one of them
        ("What colour is this object?", "red"),
        ("What is this?", "box"),
        ("What material is the ball?", UNDECIDED),
        ("Is the ball left of the red box?", UNDECIDED),
        ("Which is closer to the camera?", UNDECIDED),
        ("Is the ball closer?", HANDED_ON),
        ("Is there a unicorn?", UNDECIDED),
        ("Is the red box closer than the ball?", HANDED_ON),
        ("Of ball and red cube, which is nearer to us?", HANDED_ON),
    ],
)
def test_vqa_about_the_picture_counts_and_tells_who_hands_the_question_on(prompt: str, answer: str) -> None:
    assert vqa(prompt) == answer
    assert vqa(prompt, (0.0, 0.0, 1000.0, 800.0)) == answer


@pytest.mark.parametrize(
    ("question", "prompt"),
    [
        ("How many red boxes are on the table?", "Count the red boxes."),
        ("Is there a ball in the picture?", "Can you see a ball?"),
        ("Tell me the colour of the ball.", "What colour is the ball?"),
        ("Are there more boxes than balls?", "Does the picture show more boxes than balls?"),
        ("Is the number of boxes smaller than that of balls?", "Are there fewer boxes than balls?"),
        ("With the ball being 30 cm high, how high is the red box?", "How tall is the red box in cm?"),
        (
            "Between these, say which is shorter: the ball, the red box",
            "Which is shorter, the ball or the red box?",
        ),
    ],
)
def test_handing_on_is_seen_through_other_words(question: str, prompt: str) -> None:
    assert vqa(prompt, question=question) == HANDED_ON


@pytest.mark.parametrize(
    ("question", "prompt", "answer"),
    [
        ("Is the red box behind the ball?", "Is the red box behind the green ball?", HANDED_ON),
        ("In depth, is the red box behind the ball?", "Is the red box behind the ball?", HANDED_ON),
        ("Is the red box behind the ball?", "Is this behind the ball?", HANDED_ON),
        ("Is the red box behind the ball?", "Is it left of the ball?", UNDECIDED),
        ("Is the red box behind the ball?", "Is it red?", "yes"),
        ("How many boxes are behind the ball?", "How many boxes are behind the ball?", HANDED_ON),
        ("What colour is the leftmost box?", "What colour is the leftmost box?", "red"),
        ("What colour is the box left of the ball?", "What is the color of the box left of the ball?", "red"),
        ("What shape is the closest red object?", "Which shape has the closest red object?", "box"),
        ("What colour is the leftmost box?", "Which box is leftmost, and what colour is it?", HANDED_ON),
        ("What is the colour of the ball?", "What material is it?", UNDECIDED),
    ],
)
def test_vqa_about_an_object_tells_who_hands_the_question_on(question: str, prompt: str, answer: str) -> None:
    assert vqa(prompt, RED_BOX.bbox, question=question) == answer


def test_vqa_about_the_background_is_undecided() -> None:
    assert vqa("What colour is it?", (600.0, 600.0, 700.0, 700.0)) == UNDECIDED


def test_phrases_to_ask_about_are_known_before_anything_runs() -> None:
    phrases = ["red box", "unicorn", "carton", "unicorn"]
    assert unread_phrases(phrases, [SCENE], {"carton": ["box"]}) == ("unicorn",)


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "a ",
        "red or ",
        "option{",
        "option",
        " ",
        "x or y ",
        "-",
        "how ",
        "is it ",
        "number of ",
        "a, or ",
    ],
)
def test_reading_a_prompt_takes_time_in_proportion_to_its_length(part: str) -> None:
    language = Language([SCENE])

    def read(size: int) -> None:
        prompt = f"or a{part * (size // len(part))}."
        vqa_answer(prompt, 0)
        about_one(RED_BOX, prompt, language)

    assert linear(read, 16_000)
