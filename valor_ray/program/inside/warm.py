"""Inside the sandbox: a worker that runs one gated program after the other, each in fresh namespaces.

It answers tool calls itself, from placeholder worlds or symbolic scenes, so that a whole survey, or a tour of scenes,
is one message in and one out. What it says is checked by the driver like everything that comes out of the sandbox.
Standard library, numpy and our tools only.
"""

from __future__ import annotations

import copy
import sys
import traceback
from types import CodeType
from typing import Any, NamedTuple

from valor_ray.errors import ToolError as ToolRefusal
from valor_ray.program.inside import protocol
from valor_ray.program.inside.channel import Channel, ToolError, calling_line, failing_line, message_of
from valor_ray.program.inside.namespace import Call, defined, warm_builtins
from valor_ray.program.inside.placeholders import PlaceholderTools, World
from valor_ray.program.inside.scene_words import scene_from_json
from valor_ray.program.inside.scene_world import Asked, SceneTools, Stop
from valor_ray.program.inside.values import answer_to_json, arguments_to_json
from valor_ray.program.inside.wrap import compile_program
from valor_ray.records import SymbolicScene
from valor_ray.tools import check_call
from valor_ray.untrusted.cut import cut_arguments


class _Over(BaseException):
    """A limit was passed; no gated program can catch it."""

    def __init__(self, error: str, line: int | None = None) -> None:
        super().__init__(error)
        self.line = line


class _Output:
    """sys.stdout of one run, up to a limit."""

    encoding = "utf-8"

    def __init__(self, limit: int) -> None:
        """limit: bytes of UTF-8."""
        self._parts: list[bytes] = []
        self._room = limit
        self._limit = limit

    @property
    def text(self) -> str:
        return b"".join(self._parts).decode("utf-8", "ignore")

    def write(self, text: str) -> int:
        data = text[: self._room + 1].encode("utf-8", "replace")
        self._parts.append(data[: self._room])
        if len(data) > self._room:
            self._room = 0
            raise _Over(f"the program printed more than {self._limit >> 10} KiB")
        self._room -= len(data)
        return len(text)

    def flush(self) -> None:
        pass


def serve(stubs: CodeType, channel: Channel) -> None:
    """Run what the driver sends, one program after the other, until it closes the socket."""
    builtins = warm_builtins()
    scenes = _Scenes("", (), None)
    while True:
        request = channel.receive()
        if "scenes" in request:
            if request["scenes"] != scenes.text:  # those of one question come one after the other
                scenes = _Scenes.read(request["scenes"])
            results = _tour(request, scenes, stubs, builtins)
        else:
            results = _survey(request, stubs, builtins)
        channel.send({"t": "surveyed", "results": results})


class _Scenes(NamedTuple):
    """The scenes of a question, as no program ever holds them."""

    text: str
    scenes: tuple[SymbolicScene, ...]
    asked: Asked | None

    @classmethod
    def read(cls, text: str) -> _Scenes:
        told = protocol.decode(text.encode("ascii"))
        scenes = tuple(map(scene_from_json, told["scenes"]))
        return cls(text, scenes, Asked.of(told["question"], scenes, told["words"]))


def _tour(request: dict[str, Any], known: _Scenes, stubs: CodeType, builtins: dict[str, Any]) -> list[Any]:
    """One or two results for each scene, the second with detections in reverse; up to the first limit."""
    try:
        compiled = compile_program(request["code"])
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return [[_result("rejected", error=f"the program does not parse: {error}")]]
    asked = known.asked
    assert asked is not None
    results: list[list[dict[str, Any]]] = []
    for scene in known.scenes:
        in_scene = request | {"size": scene.image_size}
        tools = SceneTools(scene, asked)
        results.append([_run(compiled, stubs, in_scene, tools, builtins)])
        if tools.ordered and results[-1][0]["status"] == "ok":
            results[-1].append(
                _run(compiled, stubs, in_scene, SceneTools(scene, asked, reverse=True), builtins)
            )
        if results[-1][-1]["status"] in ("killed", "memory"):
            break
    return results


def _survey(request: dict[str, Any], stubs: CodeType, builtins: dict[str, Any]) -> list[dict[str, Any]]:
    """One result per world, up to the first that the program does not survive."""
    try:
        compiled = compile_program(request["code"])
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return [_result("rejected", error=f"the program does not parse: {error}")]
    size = (request["size"][0], request["size"][1])
    results: list[dict[str, Any]] = []
    for world in request["worlds"]:
        tools = PlaceholderTools(size, World(**{**world, "boxes": tuple(world["boxes"])}))
        results.append(_run(compiled, stubs, request, tools, builtins))
        if results[-1]["status"] != "ok":
            break
    return results


def _run(
    compiled: CodeType,
    stubs: CodeType,
    request: dict[str, Any],
    tools: PlaceholderTools | SceneTools,
    builtins: dict[str, Any],
) -> dict[str, Any]:
    """The result of one run, in a namespace of its own, which ends with it."""
    calls: list[list[Any]] = []
    output = _Output(request["output"])
    sys.stdout = sys.stderr = output
    size = (request["size"][0], request["size"][1])
    names = defined(size, stubs, _caller(tools, request, calls), dict(builtins))
    result: dict[str, Any]
    try:
        exec(compiled, names)
        result = _finished(names.get("final_answer"))
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)
        result = _result("memory")
    except _Over as over:
        result = _result("killed", error=str(over), line=over.line)
    except BaseException as error:  # noqa: BLE001 the process boundary: whatever a program raises is its result
        line = failing_line(error.__traceback__)
        result = _result("error", error=f"{type(error).__name__}: {message_of(error)}", line=line)
    if isinstance(tools, SceneTools):
        return result if tools.stop is None else _stopped(tools.stop)
    if request["trace"]:
        result |= {"trace": calls, "output": output.text}
    else:
        result["answer"] = None
    return result


def _caller(tools: PlaceholderTools | SceneTools, request: dict[str, Any], calls: list[list[Any]]) -> Call:
    """The `_call` behind every tool function: checked as the driver would, answered on the spot."""
    size, most, trace = tuple(request["size"]), request["calls"], request["trace"]
    made = 0

    def call(name: str, given: dict[str, Any]) -> Any:
        nonlocal made
        try:
            args = arguments_to_json(name, given)
        except ValueError as error:
            raise ToolError(str(error)) from None
        line = calling_line() if trace or made >= most else 0
        if made >= most:
            raise _Over(f"the program made more than {most} tool calls", line)
        made += 1
        tool = name
        try:
            tool, args = check_call(name, args, size)
            result = tools.answer(tool, args)
        except ToolRefusal as refusal:
            calls.append([tool, cut_arguments(args), None, line, str(refusal)])
            raise ToolError(str(refusal)) from None
        except Stop as stop:
            raise _Over(stop.text, line) from None
        if trace:  # a copy: the program may change what it was given
            calls.append([tool, args, copy.deepcopy(result), line, None])
        return result

    return call


def _finished(answer: Any) -> dict[str, Any]:
    if answer is None:
        return _result("error", error="the program ended without setting final_answer")
    try:
        return _result("ok", answer=answer_to_json(answer))
    except ValueError as error:
        return _result("error", error=str(error))


def _stopped(stop: Stop) -> dict[str, Any]:
    """What the scene's text does not tell, or a question handed on: whatever the program made of it."""
    return _result(stop.kind, error=stop.text) | {"phrase": stop.phrase}


def _result(status: str, *, answer: Any = None, error: str = "", line: int | None = None) -> dict[str, Any]:
    text = error[:500].encode("utf-8", "replace").decode("utf-8")
    return {"status": status, "answer": answer, "error": text, "line": line}
