"""VADAR's API: signatures from a few questions, then bodies, each tried on stubs and repaired or dropped."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from valor_ray.answer import ProgramRunner
from valor_ray.benchmarks.methods.engine import api, run_over, why
from valor_ray.benchmarks.methods.writer import filled, program_of, written
from valor_ray.errors import ConfigError
from valor_ray.ports import Policy
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.runs.record_file import replace_text

FILE = "api.json"  # in the run folder
REPAIRS = 5
_STUB_SIZE = (1000, 500)  # of the blank picture, px
_NO_NAME = re.compile(r"NameError: name '(_\w+)' is not defined")
_STUBS = {"int": "25", "str": "''", "float": "1.0", "bool": "False", "tuple": "(50, 50)"}
_BOX = "[25, 25, 50, 50]"


@dataclass(frozen=True)
class Function:
    """One function of an API. source: all of it; of a signature, docstring alone for a body."""

    name: str
    source: str


@dataclass(frozen=True)
class Api:
    questions: tuple[str, ...]  # that it was written from
    functions: tuple[Function, ...]  # that passed their test
    dropped: tuple[str, ...]  # names of those that did not
    calls: int  # of the writer

    @property
    def source(self) -> str:
        return "\n\n".join(each.source for each in self.functions)

    @property
    def signatures(self) -> str:
        return "\n\n".join(_head(each.source) for each in self.functions)


def load(out: Path) -> Api | None:
    """The API of an earlier start; None where there is none. Raises ConfigError when its file is damaged."""
    path = out / FILE
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        functions = tuple(Function(str(each["name"]), str(each["source"])) for each in kept["functions"])
        return Api(tuple(kept["questions"]), functions, tuple(kept["dropped"]), int(kept["calls"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"Cannot read {path} ({error!r}). Give another --out.") from error


def save(out: Path, made: Api) -> None:
    """Raises StorageError."""
    replace_text(out / FILE, json.dumps(asdict(made), indent=1, ensure_ascii=False) + "\n")


async def write_api(questions: Sequence[str], writer: Policy, sandbox: ProgramRunner) -> Api:
    """Signatures in one call, then each body in one to six. Raises PolicyError, ProgramError."""
    listed = "\n".join(f"- {question}" for question in questions)
    said = await written(writer, filled("vadar_signatures", predefined=predefined(), questions=listed))
    work = _Writing(read_signatures(program_of(said)), writer, sandbox)
    for name in work.signatures:
        await work.body(name, ())
    done = tuple(work.done.values())
    return Api(
        tuple(questions), done, tuple(n for n in work.signatures if n not in work.done), work.calls + 1
    )


class _Writing:
    """The bodies so far. One after the other: a body may call those before it."""

    def __init__(self, signatures: Sequence[Function], writer: Policy, sandbox: ProgramRunner) -> None:
        self.signatures = {each.name: each for each in signatures}
        self.done: dict[str, Function] = {}
        self.tried: set[str] = set()
        self.calls = 0
        self._writer, self._sandbox = writer, sandbox

    async def body(self, name: str, above: tuple[str, ...]) -> None:
        """Write and test one function; what it calls and is not written yet comes first. above: who waits for it."""
        if name in self.tried or name in above:
            return
        signature, wrong = self.signatures[name], "nothing yet"
        others = "\n\n".join(each.source for each in self.signatures.values() if each.name != name)
        for _ in range(REPAIRS + 1):
            text = filled(
                "vadar_body", predefined=predefined(), others=others, signature=signature.source, wrong=wrong
            )
            self.calls += 1
            source = program_of(await written(self._writer, text))
            failure = await self._failure(name, source)
            lacking = _NO_NAME.search(failure or "")
            if lacking and lacking[1] in self.signatures and lacking[1] not in (name, *above, *self.tried):
                await self.body(lacking[1], (*above, name))
                failure = await self._failure(name, source)
            if failure is None:
                self.done[name] = Function(name, source)
                break
            wrong = f"{source}\n\n{failure}"
        self.tried.add(name)

    async def _failure(self, name: str, source: str) -> str | None:
        """Why a body does not pass its test: called once on stubs, over placeholder tools."""
        try:
            defined = {each.name: each for each in _functions(source)}
            arguments = stubs(defined[name])
        except (KeyError, SyntaxError, ValueError, MemoryError, RecursionError) as error:
            return f"It does not define {name}: {error}"
        before = "\n\n".join(each.source for each in self.done.values())
        program = f"{before}\n\n{source}\n\n{name}({arguments})\nfinal_answer = 1"
        tools = PlaceholderTools(_STUB_SIZE)
        return why(await run_over(api("predefined"), program, self._sandbox, tools, _STUB_SIZE))


def read_signatures(text: str) -> list[Function]:
    """The functions of a reply whose names begin with one underscore, first of each name; [] of what is no Python."""
    try:
        found = _functions(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    ours = [each for each in found if re.fullmatch(r"_[a-z]\w*", each.name)]
    return list(
        {each.name: Function(each.name, _head(ast.unparse(each))) for each in reversed(ours)}.values()
    )[::-1]


def stubs(function: ast.FunctionDef) -> str:
    """Arguments for a trial call, by what the annotations and names of parameters say."""
    return ", ".join(_stub(each) for each in function.args.args)


def _stub(parameter: ast.arg) -> str:
    kind = ast.unparse(parameter.annotation).lower() if parameter.annotation else ""
    name = parameter.arg.lower()
    if "image" in name or "image" in kind:
        return "image"
    if kind in _STUBS:
        return _STUBS[kind]
    if kind.startswith("tuple"):
        return _STUBS["tuple"]
    if name.endswith("box") or "box" in kind.removeprefix("list["):
        return f"[{_BOX}]" if kind.startswith("list[list") else _BOX
    return f"[{_BOX}]" if kind.startswith("list") else _BOX if "box" in name else "''"


def predefined() -> str:
    """The functions that there are, as signatures with their docstrings."""
    return "\n\n".join(_head(ast.unparse(each)) for each in _functions(api("predefined")))


def _functions(text: str) -> list[ast.FunctionDef]:
    return [node for node in syntax_tree(text).body if isinstance(node, ast.FunctionDef)]


def _head(source: str) -> str:
    """A function's first line and docstring."""
    (function, *_) = _functions(source)
    said = ast.get_docstring(function)
    function.body = [ast.Expr(ast.Constant(said or "")), ast.Expr(ast.Constant(...))]
    return ast.unparse(ast.fix_missing_locations(function))
