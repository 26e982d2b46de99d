"""The house's arrows: steps know no Ray; nothing that answers, judges or trains can reach a tabletop answer (law 8)."""

import ast
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
} | {"valor_ray.benchmarks.tabletop", "valor_ray.benchmarks.runner"}
ANSWERING = (
    "valor_ray.answer",
    "valor_ray.tools",
    "valor_ray.wiring",
    "valor_ray.tabletop.judge.server",
    "deployments",
)
ANSWERING_PACKAGES = ("valor_ray.program.", "valor_ray.models.", "valor_ray.judges.", "deployments.")
TRAINING = "valor_ray.reasoning"  # rewards and GRPO, which work without labels


def imports(module: str) -> set[str]:
    """Every module that a module imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


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


def test_no_label_free_training_can_reach_the_truth() -> None:
    training = [name for name in MODULES if name == TRAINING or name.startswith(f"{TRAINING}.")]
    assert len(training) > 10
    assert {name: reached(name) & TRUTH for name in training if reached(name) & TRUTH} == {}


def test_this_guard_sees_truth_where_it_is_used() -> None:
    assert reached("valor_ray.commands.eval") & TRUTH
    assert reached("jobs.pretrain_tabletop") & TRUTH


def test_only_deployments_and_jobs_import_ray() -> None:
    users = {name for name in MODULES if any(i == "ray" or i.startswith("ray.") for i in imports(name))}
    assert users
    assert {name for name in users if not name.startswith(("deployments", "jobs"))} == set()


def test_records_and_ports_import_nothing_of_ours_but_records() -> None:
    ours = {
        i
        for name in ("valor_ray.records", "valor_ray.ports")
        for i in imports(name)
        if i.startswith("valor_ray")
    }
    assert {name for name in ours if not name.startswith("valor_ray.records")} == set()
