"""Both paths give a program the same names; a warm worker gives fewer builtins, and keeps nothing of a program's."""

import sys
from typing import Any

import pytest

from valor_ray.program import gate
from valor_ray.program.inside.namespace import (
    BUILTINS,
    EXITS,
    IMPORTABLE,
    SYS,
    NothingElse,
    defined,
    forked_builtins,
    warm_builtins,
)
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
    assert set(warm_builtins()) == {*BUILTINS, *EXITS, "__import__"}
    assert not gate.passes("final_answer = open") and gate.passes("final_answer = len")
    assert {"open", "exit", "getattr"} <= set(forked_builtins())


def test_sys_is_a_way_out_and_the_numbers_of_this_python() -> None:
    assert warm_builtins()["__import__"]("sys") is forked_builtins()["__import__"]("sys") is SYS
    assert (SYS.maxsize, SYS.argv, SYS.stdout) == (sys.maxsize, [""], sys.stdout)
    with pytest.raises(SystemExit) as leaving:
        SYS.exit(0)
    assert leaving.value.code == 0
    assert not {"modules", "path", "executable", "orig_argv", "prefix", "_getframe", "flags"} & set(dir(SYS))


def test_a_refused_import_names_all_that_may_be_imported_within_the_length_of_an_error() -> None:
    with pytest.raises(ModuleNotFoundError) as refused:
        NothingElse.find_spec("torchvision.transforms.functional")
    said = f"ModuleNotFoundError: {refused.value}"
    assert all(name in said for name in IMPORTABLE) and len(said) < 500
