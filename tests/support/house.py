"""The house's arrows as data: which module can import which, read from sources without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("valor_ray", "deployments", "jobs")


def sources() -> dict[str, str]:
    """The text of every module of ours, by dotted name; a package's is that of its __init__."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


class House:
    """Who imports whom, for given sources: tests plant imports in a copy and see them caught."""

    def __init__(self, texts: Mapping[str, str], imports: Mapping[str, set[str]] | None = None) -> None:
        """imports: of modules that have been read already."""
        self._texts = texts
        self._imports: dict[str, set[str]] = dict(imports or {})

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def with_import(self, module: str, imported: str) -> House:
        """The same house with one more import, inside a function of a module."""
        planted = f"{self._texts[module]}\n\ndef _planted():\n    import {imported}\n"
        others = {name: self.imports(name) for name in self._texts if name != module}
        return House({**self._texts, module: planted}, others)

    def imports(self, module: str) -> set[str]:
        """Every name that importing a module, and using what is in it, can import: at its top or inside functions."""
        if module not in self._imports:
            self._imports[module] = imports_of(self._texts[module])
        return self._imports[module]

    def ours(self, module: str) -> set[str]:
        """The modules of ours among them."""
        return {name for name in self.imports(module) if name in self._texts and name != module}

    def reached(self, module: str) -> set[str]:
        """All modules of ours that importing a module can bring in, itself included."""
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self.ours(name)
        return seen

    def circles(self, of: Mapping[str, str] | None = None) -> list[set[str]]:
        """Groups of modules that can all reach each other; of: the room of each module, then circles of rooms."""
        place = {name: name if of is None else of[name] for name in self._texts}
        arrows: dict[str, set[str]] = {name: set() for name in place.values()}
        for name in self._texts:
            inits = {other for other in self.ours(name) if _only_named_on_the_way(other, self.ours(name))}
            arrows[place[name]] |= {place[other] for other in self.ours(name) - inits}
        return [group for group in _strongly_connected(arrows) if len(group) > 1]


def imports_of(source: str) -> set[str]:
    names = set()
    for node in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """ast.walk without what runs only where a file is the program: nobody who imports it gets there."""
    if isinstance(node, ast.If) and _is_main(node.test):
        children: Iterable[ast.AST] = node.orelse
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from walk(child)


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and ast.unparse(test) == "__name__ == '__main__'"


def _only_named_on_the_way(package: str, others: set[str]) -> bool:
    """Whether a package stands there only since a module in it is imported: `from a.b import c` names a.b too."""
    return any(other.startswith(f"{package}.") for other in others)


def _strongly_connected(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of nodes that reach each other; small graphs only: each node's reach is worked out by itself."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(arrows[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += arrows[name]
        return seen

    reaches = {name: reach(name) for name in arrows}
    groups: list[set[str]] = []
    for name in arrows:
        group = {name} | {other for other in reaches[name] if name in reaches[other]}
        if group not in groups:
            groups.append(group)
    return groups
