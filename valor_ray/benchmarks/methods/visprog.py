"""VisProg (Gupta & Kembhavi, 2022): a program of one module call a line, written anew as Python for the sandbox.

Lines are parsed here (a call with names and texts, nothing else) and never evaluated here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from valor_ray.answer import ProgramRunner
from valor_ray.benchmarks.methods.engine import api, reply_of, run_over
from valor_ray.benchmarks.methods.method import Answers, Method, Setup, failed, load
from valor_ray.benchmarks.methods.writer import filled, program_of, written
from valor_ray.errors import ProgramError
from valor_ray.program.sandbox import Sandbox
from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.records import ProgramResult, ProgramStatus, Query
from valor_ray.tools import ToolHost

_CROPS = (
    "",
    "_LEFTOF",
    "_RIGHTOF",
    "_ABOVE",
    "_BELOW",
    "_FRONTOF",
    "_INFRONT",
    "_INFRONTOF",
    "_BEHIND",
    "_AHEAD",
)
MODULES: Mapping[str, tuple[str, ...]] = {  # and their arguments
    "LOC": ("image", "object"),
    "COUNT": ("box",),
    **{f"CROP{kind}": ("image", "box") for kind in _CROPS},
    "VQA": ("image", "question"),
    "EVAL": ("expr",),
    "RESULT": ("var",),
}
OURS: Mapping[str, tuple[str, ...]] = {"DEPTH": ("image", "box"), "SIZE": ("image", "box")}
RESULT = "FINAL_RESULT"
_NAMED = re.compile(r"\{(\w+)\}")
_MOST_LINES, _LONGEST = 200, 2000  # lines; characters of one


def translated(program: str, *, depths: bool = False) -> str:
    """The program as Python over sandboxed/modules.py, line by line. depths: with DEPTH and SIZE.

    Raises ProgramError that names the line: not one call, an unknown module, argument or name.
    """
    known, lines = {"IMAGE"}, program.splitlines()
    if len(lines) > _MOST_LINES:
        raise ProgramError(f"the program has {len(lines)} lines, at most {_MOST_LINES} are run")
    written = []
    for number, line in enumerate(lines, start=1):
        try:
            variable, python = _step(line.strip(), known, {**MODULES, **OURS} if depths else MODULES)
        except ValueError as error:
            raise ProgramError(f"line {number}: {error}") from None
        known |= {variable}
        written.append(python)
    if RESULT not in known:
        raise ProgramError(f"the program ends without {RESULT}=RESULT(var=…)")
    return "\n".join(written)


def _step(line: str, known: set[str], modules: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    """The variable that a line sets ("" of an empty line), and the line as Python. Raises ValueError."""
    if not line or line.startswith("#"):
        return "", ""
    if len(line) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    try:
        (statement,) = syntax_tree(line).body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("not VARIABLE=MODULE(argument=value, …)") from None
    match statement:
        case ast.Assign(
            targets=[ast.Name(id=variable)], value=ast.Call(func=ast.Name(id=module), args=[], keywords=given)
        ) if re.fullmatch(r"[A-Z][A-Z0-9_]*", variable):
            pass
        case _:
            raise ValueError("not VARIABLE=MODULE(argument=value, …), with the variable in capitals")
    if module not in modules:
        raise ValueError(f"there is no module {module}; there are {', '.join(modules)}")
    if variable in modules or variable == "IMAGE":
        raise ValueError(f"{variable} cannot be set")
    values = {each.arg: each.value for each in given}
    if tuple(values) != modules[module] and set(values) != set(modules[module]):
        raise ValueError(f"{module} takes {', '.join(modules[module])}")
    written = [f"{name}={_value(value, known)}" for name, value in values.items()]
    if module == "EVAL":
        written.append(_results(values["expr"], known))
    return variable, f"{variable} = {module}({', '.join(written)})"


def _value(value: ast.expr, known: set[str]) -> str:
    """A text, or the name of a result so far."""
    match value:
        case ast.Constant(value=str(text)):
            return repr(text)
        case ast.Name(id=name):
            return _known(name, known)
    raise ValueError("an argument is a text in quotes or the name of an earlier result")


def _results(expr: ast.expr, known: set[str]) -> str:
    """The results that an expression names."""
    if not isinstance(expr, ast.Constant) or not isinstance(expr.value, str):
        raise ValueError("EVAL takes a text")
    names = dict.fromkeys(_NAMED.findall(expr.value))
    return "values={" + ", ".join(f"{name!r}: {_known(name, known)}" for name in names) + "}"


def _known(name: str, known: set[str]) -> str:
    if name not in known:
        raise ValueError(f"{name} is no result so far")
    return name


async def run(
    program: str, sandbox: ProgramRunner, tools: ToolHost, size: tuple[int, int], *, depths: bool = False
) -> ProgramResult:
    """What a program answers about a picture of `size` (width, height); what is no program is rejected."""
    try:
        python = translated(program, depths=depths)
    except ProgramError as error:
        return ProgramResult(ProgramStatus.REJECTED, error=str(error))
    source = api("modules") + "\nIMAGE = image\n"
    return await run_over(source, python, sandbox, tools, size, f"final_answer = {RESULT}")


def _opening(prompt: str, depths: bool) -> Callable[[Setup], AbstractAsyncContextManager[Answers]]:
    @asynccontextmanager
    async def opened(setup: Setup) -> AsyncIterator[Answers]:
        """One program a question; no second try."""
        writer = setup.written()
        async with Sandbox(setup.config.sandbox) as sandbox:

            async def answer(query: Query) -> Mapping[str, Any]:
                picture = load(setup, query)
                text, seed = filled(prompt, question=query.question), setup.seed_of(query.query_id)
                program = program_of(await written(writer, text, seed))
                if not program:
                    return failed("", "The writer's reply holds no program", "malformed")
                size = (picture.width, picture.height)
                result = await run(program, sandbox, setup.tools(picture), size, depths=depths)
                return {**reply_of(result, program), "writer_calls": 1}

            yield answer

    return opened


_SUBSTITUTES = (
    "text-davinci-003, examples drawn from twenty: the model of policy.endpoint, by examples of ours, all of them",
    "LOC: OWL-ViT at .1: gd_detect, at the detector's threshold",
    "VQA: ViLT (code: BLIP): vqa",
    "no box: CROP_ABOVE and CROP_BELOW took the left half; here the whole image, as CROP does",
    "commas in texts: ended an argument; here they do not",
    "modules of tagging and editing: left out",
)
METHOD = Method("visprog", "VisProg: modules line by line", _opening("visprog", False), _SUBSTITUTES)
WITH_DEPTH = Method(
    "visprog-depth",
    "VisProg with DEPTH and SIZE",
    _opening("visprog_depth", True),
    ("no depth: DEPTH and SIZE over depth, which are ours; not the paper's VisProg", *_SUBSTITUTES),
)
