"""Parsing beside other threads: Python's own fault is not the program's."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from valor_ray.program import gate
from valor_ray.program.parse import parse_reply
from valor_ray.program.phrases import detection_phrases
from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.tabletop.judge.text.run.observe import observe

CODE = 'final_answer = len(gd_detect(img_pth, "red box"))'


@pytest.fixture
def disturbed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every other parse fails as it does where another thread parses too."""
    calls: list[str] = []
    parse = ast.parse

    def fails(source: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(source)
        if len(calls) % 2:
            raise SystemError("AST constructor recursion depth mismatch (before=186, after=240)")
        return parse(source, *args, **kwargs)

    monkeypatch.setattr(ast, "parse", fails)
    return calls


def test_a_program_is_read_although_another_thread_parses(disturbed: list[str]) -> None:
    gate.passes.cache_clear()
    observe.cache_clear()
    assert ast.dump(syntax_tree("a = 1")) and gate.passes(CODE)
    assert detection_phrases(CODE).phrases == ("red box",)
    assert parse_reply(f"<plan>\n1. Count.\n</plan>\n<answer>\n```python\n{CODE}\n```\n</answer>").well_formed
    assert not observe(CODE, ("red box",)).error
    assert len(disturbed) >= 8


def test_what_python_never_reads_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: str) -> Any:
        raise SystemError("mismatch")

    with pytest.raises(SyntaxError):
        syntax_tree("a = ")
    monkeypatch.setattr(ast, "parse", fails)
    with pytest.raises(SystemError):
        syntax_tree("a = 1")
