"""Any text is a program or is refused with a reason; what may be said in a module may be said in a program."""

import ast
import sys
from types import CodeType

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from programs import programs

from valor_ray.program import gate
from valor_ray.program.inside import execution
from valor_ray.program.inside.execution import Ended
from valor_ray.program.phrases import detection_phrases

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")
KEYWORDS = """\
def f(x): return yield await async for while if else elif try except finally with as import from * global nonlocal
class match case lambda del x y : int = 1 Δ 数 ﬁ '\\N{DEGREE SIGN}' ' " ''' ( ) [ ] { } ; , . -> := == # _ 0x1g 1_000
exit() final_answer gd_detect(img_pth,'cup') f'{x}' b''"""
ODD = ["\n", "\n    ", "\n\n  ", "\t", "\\\n", "\r\n", "\ufeff", "\0", "\ud800", "\u3000"]
TEXTS = st.lists(st.sampled_from([*KEYWORDS.split(), *ODD]), max_size=40).map(" ".join)


def compiled(code: str) -> CodeType | Ended:
    before = sys.getrecursionlimit()
    try:
        return execution.compiled(code)
    finally:
        sys.setrecursionlimit(before)


@given(TEXTS | st.text(st.characters(codec=None), max_size=60) | programs())
def test_any_text_is_compiled_or_refused_with_a_reason(code: str) -> None:
    result = compiled(code)
    if isinstance(result, Ended):
        assert result.status == "rejected" and result.error.startswith("the program does not parse: ")
        assert result.error.encode() and len(result.error) <= 500
    assert isinstance(gate.passes(code), bool)
    assert all(isinstance(phrase, str) for phrase in detection_phrases(code).phrases)


@given(programs())
def test_what_a_module_may_say_a_program_may_say(code: str) -> None:
    assume("return" not in code)
    try:
        compile(ast.parse(code), "<module>", "exec", dont_inherit=True)
    except SyntaxError as error:
        assume("annotated name" in str(error.msg))
    assert isinstance(compiled(code), CodeType)
