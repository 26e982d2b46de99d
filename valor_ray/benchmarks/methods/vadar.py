"""VADAR (Marsili et al., 2025): agents write an API from a few questions, then for each question a program over it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from valor_ray.answer import ProgramRunner
from valor_ray.benchmarks.methods.engine import api, reply_of, run_over, why
from valor_ray.benchmarks.methods.method import Answers, Method, Setup, load
from valor_ray.benchmarks.methods.vadar_api import REPAIRS, Api, predefined, save, write_api
from valor_ray.benchmarks.methods.vadar_api import load as load_api
from valor_ray.benchmarks.methods.writer import filled, program_of, written
from valor_ray.errors import ConfigError
from valor_ray.ports import Policy
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult, ProgramStatus, Query
from valor_ray.tools import ToolHost

_QUESTIONS, _SEED = 10, 42  # that an API is written from, and how they are drawn


async def run(
    program: str, functions: str, sandbox: ProgramRunner, tools: ToolHost, size: tuple[int, int]
) -> ProgramResult:
    """What a program over an API (`functions`: its source) answers about a picture of `size` (width, height)."""
    return await run_over(f"{api('predefined')}\n{functions}", program, sandbox, tools, size)


async def answered(
    question: str,
    made: Api,
    writer: Policy,
    sandbox: ProgramRunner,
    tools: ToolHost,
    size: tuple[int, int],
    seed: int | None = None,
) -> Mapping[str, Any]:
    """A program's answer; one that fails goes back to its writer with the error, up to REPAIRS times."""
    wrong, asked = "nothing yet", 0
    while True:
        blanks = {
            "predefined": predefined(),
            "functions": made.signatures,
            "question": question,
            "wrong": wrong,
        }
        program = program_of(await written(writer, filled("vadar_program", **blanks), seed))
        asked += 1
        result = await run(program, made.source, sandbox, tools, size)
        if result.status is ProgramStatus.OK or asked > REPAIRS:
            return {**reply_of(result, program), "writer_calls": asked}
        wrong = f"{program}\n\n{why(result)}"


def questions_from(path: Path, asked: Sequence[Query]) -> list[str]:
    """Ten questions of a file, a question a line, drawn alike at every start.

    Raises ConfigError when there is no such file, it holds none, or one of them is asked in this run.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--api-questions {path} cannot be read: {error}.") from error
    questions = list(dict.fromkeys(line for line in lines if line))
    if not questions:
        raise ConfigError(f"--api-questions {path} holds no question.")
    tested = {_plain(query.question) for query in asked}
    if both := [question for question in questions if _plain(question) in tested]:
        raise ConfigError(
            f"--api-questions {path} holds {len(both)} questions that this run asks ({both[0]!r}): the API must be "
            "written from others. Give questions of a training split, or of rows beyond --limit."
        )
    return random.Random(_SEED).sample(questions, min(_QUESTIONS, len(questions)))


def _plain(question: str) -> str:
    return " ".join(question.casefold().split())


@asynccontextmanager
async def _open(setup: Setup) -> AsyncIterator[Answers]:
    """The API first, kept in OUT; then a program a question."""
    writer = setup.written()
    assert setup.api_questions is not None
    questions = questions_from(setup.api_questions, setup.asked)
    async with Sandbox(setup.config.sandbox) as sandbox:
        made = load_api(setup.out)
        if made is not None and list(made.questions) != questions:
            raise ConfigError(
                f"--out {setup.out} holds an API of other --api-questions. Give each its own --out."
            )
        if made is None:
            made = await write_api(questions, writer, sandbox)
            save(setup.out, made)
        api_of_run = made

        async def answer(query: Query) -> Mapping[str, Any]:
            picture = load(setup, query)
            size = (picture.width, picture.height)
            tools, seed = setup.tools(picture), setup.seed_of(query.query_id)
            return await answered(query.question, api_of_run, writer, sandbox, tools, size, seed)

        yield answer


METHOD = Method(
    "vadar",
    "VADAR: an API, then programs over it",
    _open,
    (
        "GPT-4o everywhere: the model of policy.endpoint, by prompts of ours",
        "loc: GroundingDINO-T at .25/.25 (CLEVR, GQA: Molmo's points): gd_detect, at the detector's threshold",
        "depth: UniDepthV2 at the centre pixel: depth, median of the box's central half",
        "vqa: GPT-4o, a red box drawn on the picture: vqa of the box's crop",
        "SAM2's masks (CLEVR, GQA): left out; sizes are those of boxes",
        "questions of the signature agent: ten of the benchmark: ten of --api-questions, none of them tested",
        "a program's early return became an assignment: here it returns",
    ),
    api_questions=True,
)
