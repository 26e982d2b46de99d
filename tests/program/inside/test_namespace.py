"""Both paths give a program the same names; a warm worker gives fewer builtins, and keeps nothing of a program's."""

from typing import Any

from valor_ray.program import gate
from valor_ray.program.inside.namespace import BUILTINS, defined, forked_builtins, warm_builtins
from valor_ray.tools import SPELLINGS, stub_source

STUBS = compile(stub_source(), "<tools>", "exec")


def call(tool: str, args: dict[str, Any]) -> Any:
    return tool, args


def test_a_program_finds_tools_numpy_math_and_image() -> None:
    names = defined((640, 480), STUBS, call, {})
    given = {"img_pth", "np", "math", "image", "ToolError", "__name__", "__builtins__"}
    assert set(names) == set(SPELLINGS) | given
    assert names["image"].size == (640, 480)
    assert names["depth"]("image.png", [1, 2, 3, 4]) == (
        "depth",
        {"img_pth": "image.png", "bbox": [1, 2, 3, 4]},
    )


def test_two_programs_share_no_tool_function_and_no_globals() -> None:
    first, second = (defined((1, 1), STUBS, call, {}) for _ in range(2))
    for name in SPELLINGS:
        assert first[name] is not second[name]
        assert first[name].__globals__ is not second[name].__globals__


def test_a_warm_worker_has_the_builtins_that_the_gate_lets_through_and_import() -> None:
    assert set(warm_builtins()) == {*BUILTINS, "__import__"}
    assert not gate.passes("final_answer = open") and gate.passes("final_answer = len")
    assert {"open", "exit", "getattr"} <= set(forked_builtins())
