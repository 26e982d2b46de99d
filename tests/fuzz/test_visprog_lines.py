"""Whatever a writer sends as a VisProg program is refused in words, or becomes Python that calls modules only."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from valor_ray.benchmarks.methods.visprog import MODULES, OURS, translated
from valor_ray.errors import ProgramError

NAMES = st.sampled_from(
    ["IMAGE", "BOX0", "ANSWER0", "LOC", "a", "__import__", "FINAL_RESULT", "{BOX0}", "'x'", "3", "(", ""]
)
CALLS = st.builds(
    lambda name, module, first, second, key: f"{name}={module}({key}={first}, {second})",
    NAMES,
    st.sampled_from([*MODULES, *OURS, "eval", "open"]),
    NAMES,
    st.one_of(NAMES, st.builds(lambda value: f"object={value}", NAMES)),
    st.sampled_from(["image", "box", "expr", "var", "*", ""]),
)
PROGRAMS = st.lists(st.one_of(CALLS, st.text(max_size=40)), max_size=6).map("\n".join)


@given(PROGRAMS)
def test_lines_become_calls_of_modules_or_a_refusal(program: str) -> None:
    text = f"{program}\nFINAL_RESULT=RESULT(var=IMAGE)"
    try:
        python = translated(text, depths=True)
    except ProgramError as refused:
        assert str(refused).startswith(("line ", "the program "))
        return
    for node in ast.walk(ast.parse(python)):
        assert not isinstance(node, ast.Attribute | ast.Import | ast.ImportFrom | ast.Lambda | ast.Subscript)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name) and node.func.id in {*MODULES, *OURS}
