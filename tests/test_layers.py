"""The house's arrows: steps know no Ray; nothing that answers, judges or trains can reach a tabletop answer (law 8)."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("valor_ray", "deployments", "jobs")
    for path in (ROOT / folder).rglob("*.py")
}
# Where answers, boxes and gold programs are made or read: evaluation, the demo's marking, and pre-training only.
TRUTH = {
    f"valor_ray.tabletop.{name}"
    for name in ("scenes", "render", "questions", "sample_questions", "habits", "dataset", "gold_check")
} | {f"valor_ray.benchmarks.{name}" for name in ("tabletop", "runner", "held_out")}
ANSWERING = (
    "valor_ray.answer",
    "valor_ray.tools",
    "valor_ray.wiring",
    "valor_ray.tabletop.judge.server",
    "deployments",
)
ANSWERING_PACKAGES = ("valor_ray.program.", "valor_ray.models.", "valor_ray.judges.", "deployments.")
# Rewards and GRPO, which work without labels, and what carries them.
TRAINING = (
    "valor_ray.reasoning.",
    "valor_ray.queries.",
    "valor_ray.judges.",
    "valor_ray.report.",
    "valor_ray.runs.",
    "deployments.",
)
# Who imports these can reach everything: they find the commands by name, and a command may evaluate.
DOORS = {
    name
    for name in MODULES
    if name == "valor_ray.cli"
    or (name.startswith("valor_ray.commands.") and name != "valor_ray.commands.options")
}


@cache
def imports(module: str) -> set[str]:
    """Every module that importing a module, and using what is in it, can import: at its top or inside functions."""
    return imports_of(MODULES[module].read_text())


def imports_of(source: str) -> set[str]:
    found = set()
    for node in walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """ast.walk without what runs only where a file is the program: nobody who imports it gets there."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
        children: Iterable[ast.AST] = node.orelse
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from walk(child)


@cache
def reached(module: str) -> set[str]:
    """All modules of ours that importing a module can bring in."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in MODULES and name not in seen:
            seen.add(name)
            waiting += imports(name)
    return seen


def test_nothing_that_answers_can_reach_the_truth() -> None:
    answering = [name for name in MODULES if name in ANSWERING or name.startswith(ANSWERING_PACKAGES)]
    assert len(answering) > 30 and set(ANSWERING) <= set(answering)
    assert {name: reached(name) & TRUTH for name in answering if reached(name) & TRUTH} == {}


def test_nothing_that_training_runs_with_can_reach_the_truth() -> None:
    training = [name for name in MODULES if name.startswith(TRAINING)]
    assert len(training) > 50
    assert {"valor_ray.reasoning.training.run", "deployments.reasoning", "deployments.serving"} <= set(
        training
    )
    assert set(MODULES) >= TRUTH | {"valor_ray.cli", "valor_ray.commands.train.reasoning"}
    closed = TRUTH | DOORS
    assert {name: reached(name) & closed for name in training if reached(name) & closed} == {}


def test_this_guard_sees_truth_where_it_is_used() -> None:
    assert reached("valor_ray.commands.evaluate.eval") & TRUTH
    assert reached("valor_ray.tabletop.pretrain.checkpoints") & TRUTH
    assert reached("valor_ray.commands.train.reasoning") & TRUTH


def test_this_guard_looks_into_functions_and_not_under_main() -> None:
    source = """
import a
def f():
    from b import c
if __name__ == "__main__":
    import d
else:
    import e
"""
    assert imports_of(source) == {"a", "b", "b.c", "e"}


def test_only_deployments_and_jobs_import_ray() -> None:
    users = {name for name in MODULES if any(i == "ray" or i.startswith("ray.") for i in imports(name))}
    assert users
    others = {name for name in users if not name.startswith(("deployments", "jobs"))}
    assert others == {"valor_ray.perf.judge_bench", "valor_ray.tabletop.pretrain.checkpoints"}


def test_records_and_ports_import_nothing_of_ours_but_records() -> None:
    ours = {
        i
        for name in ("valor_ray.records", "valor_ray.ports")
        for i in imports(name)
        if i.startswith("valor_ray")
    }
    assert {name for name in ours if not name.startswith("valor_ray.records")} == set()
