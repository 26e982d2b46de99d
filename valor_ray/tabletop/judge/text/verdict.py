"""The offline judge's verdict on one request: sections in, reason and verdict out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from valor_ray.judges.sections import read_sections
from valor_ray.tabletop.judge.text.adherence import judge_adherence
from valor_ray.tabletop.judge.text.attribute import judge_attribute
from valor_ray.tabletop.judge.text.judged import Judged, cannot_tell
from valor_ray.tabletop.judge.text.logic import judge_logic
from valor_ray.tabletop.judge.text.plan import read_plan
from valor_ray.tabletop.judge.text.question import read_question
from valor_ray.tabletop.judge.text.spatial import judge_spatial
from valor_ray.tabletop.judge.text.tasks.asked import task_of_question

HEADS = ("logic", "attribute", "spatial", "adherence")
_ABOUT_QUESTION = {"logic": judge_logic, "attribute": judge_attribute, "spatial": judge_spatial}


def judge(head: str, message: str) -> Judged:
    """The verdict of one head on the sections of a judge's message."""
    return judge_sections(head, read_sections(message))


def judge_sections(head: str, sections: Mapping[str, str]) -> Judged:
    wanted = ("plan", "program") if head == "adherence" else ("plan", "question")
    if missing := [name for name in wanted if name not in sections]:
        return cannot_tell(f"the message has no section {missing[0]!r}")
    plan = read_plan(sections["plan"])
    if head == "adherence":
        return judge_adherence(plan, sections["program"])
    question = sections["question"]
    return _ABOUT_QUESTION[head](read_question(question), plan, task_of_question(question))


def turned(judged: Judged, head: str, message: str, noise: float, seed: int) -> Judged:
    """The verdict turned round with probability `noise`, always the same for the same message."""
    if judged.verdict is None or noise <= 0:
        return judged
    digest = hashlib.sha256(f"{seed} {head} {message}".encode("utf-8", "replace")).digest()
    if int.from_bytes(digest[:8], "big") / 2**64 >= noise:
        return judged
    return Judged(not judged.verdict, judged.reason)
