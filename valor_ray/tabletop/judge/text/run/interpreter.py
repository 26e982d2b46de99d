"""A small interpreter of the programs' Python: it walks the syntax tree over plain values, within a budget.

The judge's process has no sandbox, so nothing is compiled or executed: every node kind, builtin, method and module
name is on a list (library.py), every step is counted and every value's size checked (limits.py). What is not on a list
raises Unreadable, from which no verdict follows. The program's own mistakes are the exceptions that Python would raise.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from valor_ray.tabletop.judge.text.run import library
from valor_ray.tabletop.judge.text.run.expressions import CONTROL, Break, Continue, Expressions, Return, Scope
from valor_ray.tabletop.judge.text.run.limits import Unreadable


def run(tree: ast.Module, defined: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program with the given names (tools, img_pth) defined; its names afterwards.

    Raises Unreadable, or the exception that the program would have died of.
    """
    interpreter = Interpreter(defined)
    try:
        interpreter.body(tree.body, interpreter.top)
    except Return:
        pass
    except (Break, Continue) as error:
        raise Unreadable("a loop's word outside a loop") from error
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    return interpreter.top.names


class Interpreter(Expressions):
    # statements

    def body(self, nodes: list[ast.stmt], scope: Scope) -> None:
        for node in nodes:
            self.step()
            do = getattr(self, f"do_{type(node).__name__}", None)
            if do is None:
                raise Unreadable(type(node).__name__)
            do(node, scope)

    def do_Expr(self, node: ast.Expr, scope: Scope) -> None:
        self.eval(node.value, scope)

    def do_Pass(self, node: ast.Pass, scope: Scope) -> None:
        pass

    def do_Assign(self, node: ast.Assign, scope: Scope) -> None:
        value = self.eval(node.value, scope)
        for target in node.targets:
            self.assign(target, value, scope)

    def do_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self.assign(node.target, self.eval(node.value, scope), scope)

    def do_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        target = node.target
        before = self.eval(_loaded(target), scope)
        value = self.binary(node.op, before, self.eval(node.value, scope))
        if isinstance(before, list) and isinstance(value, list):
            before[:] = value  # += changes the list itself
            value = before
        self.assign(target, value, scope)

    def do_If(self, node: ast.If, scope: Scope) -> None:
        self.body(node.body if self.eval(node.test, scope) else node.orelse, scope)

    def do_For(self, node: ast.For, scope: Scope) -> None:
        for value in list(library.items(self.eval(node.iter, scope))):
            self.assign(node.target, value, scope)
            try:
                self.body(node.body, scope)
            except Break:
                return
            except Continue:
                continue
        self.body(node.orelse, scope)

    def do_While(self, node: ast.While, scope: Scope) -> None:
        while self.eval(node.test, scope):
            self.step()
            try:
                self.body(node.body, scope)
            except Break:
                return
            except Continue:
                continue
        self.body(node.orelse, scope)

    def do_Break(self, node: ast.Break, scope: Scope) -> None:
        raise Break

    def do_Continue(self, node: ast.Continue, scope: Scope) -> None:
        raise Continue

    def do_Return(self, node: ast.Return, scope: Scope) -> None:
        raise Return(self.eval(node.value, scope) if node.value is not None else None)

    def do_FunctionDef(self, node: ast.FunctionDef, scope: Scope) -> None:
        if node.decorator_list or any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node)):
            raise Unreadable("a decorated or generator function")
        scope.set(node.name, self.function(node.args, node.body, scope))

    def do_Global(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        scope.elsewhere.update(node.names)

    do_Nonlocal = do_Global

    def do_Import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            scope.set(alias.asname or alias.name, self._module(alias.name))

    def do_ImportFrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        names = self._module(node.module or "").names
        for alias in node.names:
            if alias.name not in names:
                raise Unreadable(f"{node.module}.{alias.name}")
            scope.set(alias.asname or alias.name, names[alias.name])

    def _module(self, name: str) -> library.Module:
        if name not in library.MODULES:
            raise Unreadable(f"import {name}")
        return library.MODULES[name]

    def do_Assert(self, node: ast.Assert, scope: Scope) -> None:
        if not self.eval(node.test, scope):
            raise AssertionError

    def do_Raise(self, node: ast.Raise, scope: Scope) -> None:
        raised = self.eval(node.exc, scope) if node.exc is not None else RuntimeError()
        if isinstance(raised, type) and issubclass(raised, Exception):
            raise raised
        raise (
            raised
            if isinstance(raised, Exception)
            else TypeError("exceptions must derive from BaseException")
        )

    def do_Delete(self, node: ast.Delete, scope: Scope) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                scope.names.pop(target.id, None)
            elif isinstance(target, ast.Subscript):
                del self.eval(target.value, scope)[self.eval(target.slice, scope)]

    def do_Try(self, node: ast.Try, scope: Scope) -> None:
        try:
            try:
                self.body(node.body, scope)
            except CONTROL:
                raise
            except Exception as error:  # noqa: BLE001, the program's own
                self._handle(node.handlers, error, scope)
            else:
                self.body(node.orelse, scope)
        finally:
            self.body(node.finalbody, scope)

    def _handle(self, handlers: list[ast.ExceptHandler], error: Exception, scope: Scope) -> None:
        for handler in handlers:
            kinds = self.eval(handler.type, scope) if handler.type is not None else Exception
            if isinstance(error, kinds):
                if handler.name:
                    scope.set(handler.name, error)
                self.body(handler.body, scope)
                return
        raise error


def _loaded(target: ast.expr) -> ast.expr:
    """The same place, to be read."""
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    raise Unreadable("+= of an attribute")
