"""ViperGPT (Surís et al., 2023): one Python program over image patches; a failed one becomes a question to the VLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from valor_ray.answer import ProgramRunner
from valor_ray.benchmarks.methods.engine import api, reply_of, run_over, why
from valor_ray.benchmarks.methods.method import FELL_BACK_FROM, Answers, Method, Setup, load
from valor_ray.benchmarks.methods.writer import filled, program_of, written
from valor_ray.errors import ValorError
from valor_ray.ports import Policy
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import ProgramResult, ProgramStatus, Query
from valor_ray.tools import ToolHost

FALLBACK = "def execute_command(image):\n    return ImagePatch(image).simple_query(QUESTION)"
_TO_WRITER = "[to the writer] "  # as in sandboxed/image_patch.py


class ViperTools:
    """A ToolHost that sends `llm_query` to the writer and all else to the tools."""

    def __init__(self, tools: ToolHost, writer: Policy, seed: int | None = None) -> None:
        self._tools, self._writer, self._seed = tools, writer, seed
        self.calls = 0  # of the writer
        self.failure: ValorError | None = None  # its last, which a program would turn into one of its own

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        prompt = str(args.get("prompt", ""))
        if tool == "vqa" and prompt.startswith(_TO_WRITER):
            self.calls += 1
            text = filled("viper_query", question=prompt.removeprefix(_TO_WRITER))
            try:
                return (await written(self._writer, text, self._seed)).strip()
            except ValorError as error:
                self.failure = error
                raise
        return await self._tools(tool, args)


async def run(
    program: str, question: str, sandbox: ProgramRunner, tools: ToolHost, size: tuple[int, int]
) -> ProgramResult:
    """What a program's execute_command answers about a picture of `size` (width, height)."""
    ending = f"final_answer = _result(execute_command, {question!r})"
    return await run_over(api("image_patch"), program, sandbox, tools, size, ending)


async def answered(
    program: str, question: str, sandbox: ProgramRunner, tools: ToolHost, size: tuple[int, int]
) -> Mapping[str, Any]:
    """A program's answer; where it fails, the VLM's to the whole question, and why under FELL_BACK_FROM."""
    result = await run(program, question, sandbox, tools, size)
    if result.status is ProgramStatus.OK:
        return reply_of(result, program)
    second = await run(FALLBACK.replace("QUESTION", repr(question)), question, sandbox, tools, size)
    if second.status is not ProgramStatus.OK:
        return reply_of(result, program)
    return {**reply_of(second, program), FELL_BACK_FROM: why(result)}


@asynccontextmanager
async def _open(setup: Setup) -> AsyncIterator[Answers]:
    """One program a question."""
    writer = setup.written()
    async with Sandbox(setup.config.sandbox) as sandbox:

        async def answer(query: Query) -> Mapping[str, Any]:
            picture = load(setup, query)
            seed, size = setup.seed_of(query.query_id), (picture.width, picture.height)
            said = await written(writer, filled("viper", question=query.question), seed)
            tools = ViperTools(setup.tools(picture), writer, seed)
            reply = await answered(program_of(said), query.question, sandbox, tools, size)
            if tools.failure is not None:
                raise tools.failure
            return {**reply, "writer_calls": 1 + tools.calls}

        yield answer


METHOD = Method(
    "viper",
    "ViperGPT: a program over image patches",
    _open,
    (
        "code-davinci-002 (code: gpt-3.5-turbo): the model of policy.endpoint, by a prompt of ours",
        'find: GLIP at .5, Mask R-CNN for "object": gd_detect, at the detector\'s threshold',
        "exists, verify_property: X-VLM at .6: vqa, yes or no",
        "best_text_match, best_image_match: X-VLM similarity: vqa, one of the options, and yes or no",
        "simple_query: BLIP-2: vqa",
        "compute_depth: median of MiDaS's inverse depth, larger is nearer: metres of depth, smaller is nearer",
        "llm_query: GPT-3: the writer",
        "VideoSegment: left out",
        "a failed program: the whole question to vqa, as in the paper; without_fallback counts these as wrong",
    ),
    falls_back=True,
)
