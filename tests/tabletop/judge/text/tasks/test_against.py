"""What a plan states against a task is a fault; what it leaves unsaid is none."""

import pytest

from valor_ray.tabletop.judge.text.plan import read_plan
from valor_ray.tabletop.judge.text.tasks.against import against, another_thing
from valor_ray.tabletop.judge.text.tasks.task import Kind, Task

LEFT = Task(Kind.COMPARE, "red box", "blue ball", "x", low=True)
BEHIND = Task(Kind.COMPARE, "red box", "blue ball", "depth", low=False)
SCALE = Task(Kind.SCALE, "red box", "blue ball", "real height", number=20)

SILENT = [
    (LEFT, "Fetch the two of them; without one, it is a no. The rest is a matter of which comes earlier."),
    (LEFT, "A smaller x for the red box means yes, and anything else means no."),
    (LEFT, "The red box is left of the blue ball when its centre has the smaller x."),
    (BEHIND, "Let the depth tool decide; a thing that is not there makes it a no."),
    (
        SCALE,
        "One unit of pixels times metres is worth 20 cm over that of the red box; the blue ball follows.",
    ),
    (
        Task(Kind.MORE, "box", "ball", low=True),
        "The answer is yes when the first number falls below the second.",
    ),
    (
        Task(Kind.COUNT, "box"),
        "Gather the boxes into a list. Its size is the whole number that was asked for.",
    ),
]
STATED = [
    (
        LEFT,
        "Say yes when the x of the red box is larger than that of the blue ball, otherwise no.",
        "other way round",
    ),
    (LEFT, "Measure the depth of both; yes if the red box has the smaller one.", "depth"),
    (LEFT, "The red box is left of the blue ball if its x is the larger.", "other way round"),
    (BEHIND, "Say yes if the area of the red box is the smaller.", "size"),
    (SCALE, "Compute heights as pixels times depth and multiply the known 35 cm by their ratio.", "35"),
    (SCALE, "Take the heights of both boxes in pixels; their ratio carries the 20 cm over.", "pixels alone"),
    (
        Task(Kind.COUNT, "box"),
        "Detect the boxes and the balls and answer yes if there are more boxes.",
        "yes or no",
    ),
    (Task(Kind.ASK, "box", target="colour"), "Detect the box and ask for its shape.", "shape"),
]


@pytest.mark.parametrize(("task", "plan"), SILENT)
def test_words_that_nobody_listed_are_no_fault(task: Task, plan: str) -> None:
    assert against(read_plan(plan), task) == ""


@pytest.mark.parametrize(("task", "plan", "reason"), STATED)
def test_a_fault_that_the_plan_states_is_named(task: Task, plan: str, reason: str) -> None:
    assert reason in against(read_plan(plan), task)


def test_a_thing_is_lost_when_another_is_named_in_its_place() -> None:
    both = {"red box", "blue ball"}
    assert another_thing(read_plan("Look at both things and compare them."), "red box", both) == ""
    assert "green box" in another_thing(read_plan("Detect the green box and the blue ball."), "red box", both)
    assert "drops red" in another_thing(read_plan("Count the balls."), "red ball", {"red ball"})
