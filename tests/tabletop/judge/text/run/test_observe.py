"""What a program computes is told from its answers in made-up scenes."""

import numpy as np
import pytest

from valor_ray.program.parse import parse_reply
from valor_ray.tabletop.judge.text.run.observe import observe
from valor_ray.tabletop.judge.text.tasks.asked import task_of_question
from valor_ray.tabletop.judge.text.tasks.task import Kind
from valor_ray.tabletop.questions import FAMILIES, wordings
from valor_ray.tabletop.replies.write import STYLES, right
from valor_ray.tabletop.sample_questions import free_blueprint


@pytest.mark.parametrize("family", FAMILIES)
def test_right_programs_compute_the_questions_task(family: str) -> None:
    rng = np.random.default_rng(7)
    for style in STYLES:
        for _ in range(5):
            blueprint = free_blueprint(rng, family)
            code = parse_reply(right(blueprint, style, rng)).code
            seen = observe(code, ())
            for question in wordings(blueprint):
                task = task_of_question(question)
                assert task is not None, question
                near = [t for t in seen.tasks if abs(t.number - task.number) < 0.03 * task.number]
                assert any(
                    (t.kind, t.a, t.b, t.quantity, t.low, t.target)
                    == (task.kind, task.a, task.b, task.quantity, task.low, task.target)
                    for t in near
                ), (question, code, seen)


def test_constants_errors_and_the_unknown_are_told_apart() -> None:
    assert observe("final_answer = 3", ("box",)).constant
    assert "IndexError" in observe("final_answer = gd_detect(img_pth, 'box')[9]", ()).error
    assert observe("import os\nfinal_answer = 1", ()).unreadable
    one_more = observe("final_answer = len(gd_detect(img_pth, 'box')) + 1", ())
    assert not one_more.tasks and not one_more.constant
    assert [task.kind for task in observe("final_answer = len(gd_detect(img_pth, 'box'))", ()).tasks] == [
        Kind.COUNT
    ]


SIDE = """a, b = gd_detect(img_pth, "red box"), gd_detect(img_pth, "blue ball")
final_answer = "no"
if a and b:
    final_answer = "yes" if a[0]["bbox"][{}] < b[0]["bbox"][{}] else "no"
"""
GROUPS = """a, b = len(gd_detect(img_pth, "box")), len(gd_detect(img_pth, "ball"))
final_answer = "yes" if a < b{} else "no"
"""


def test_edges_of_two_sides_are_no_order_of_things_that_overlap() -> None:
    same, other = observe(SIDE.format(0, 0), ()), observe(SIDE.format(2, 0), ())
    assert {task.quantity for task in same.tasks} == {"x"} and not other.tasks


def test_a_group_of_none_is_a_number_like_any_other() -> None:
    assert {task.kind for task in observe(GROUPS.format(""), ()).tasks} == {Kind.MORE}
    assert not observe(GROUPS.format(" and a > 0"), ()).tasks


def test_what_is_looked_for_after_the_first_was_seen_is_in_the_scenes() -> None:
    code = """sizes = []
for phrase in ("red box", "blue ball"):
    hits = gd_detect(img_pth, phrase)
    if not hits:
        final_answer = 1.0
        return
    sizes.append(depth(img_pth, hits[0]["bbox"]))
final_answer = sizes[0] / sizes[1]
"""
    seen = observe(code, ())
    assert not seen.constant and any(task.kind is Kind.RATIO for task in seen.tasks)
