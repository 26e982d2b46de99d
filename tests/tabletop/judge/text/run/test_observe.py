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
