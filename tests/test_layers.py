"""The house's arrows point one way; steps know no Ray; what answers, judges or trains reaches no answer (law 8)."""

import pytest
from house import ROOT, House, imports_of, sources

HOUSE = House(sources())

# Top to bottom: a room imports itself and rooms below it. A module belongs to the room with the longest fitting name.
ROOMS = (
    "jobs",
    "valor_ray.__main__",
    "valor_ray.cli",
    "valor_ray.commands",
    "valor_ray.improve",
    "valor_ray.perf",
    "valor_ray.demo",
    "deployments",
    "valor_ray.benchmarks",
    "valor_ray.tabletop",  # the offline world: knows all that is below; law 8 guards who may know it
    "valor_ray.stopping",
    "valor_ray.asking",
    "valor_ray.selecting",
    "valor_ray.reasoning.planning",
    "valor_ray.reasoning.training",
    "valor_ray.reasoning.learner",
    "valor_ray.reasoning.scoring",
    "valor_ray.reasoning",
    "valor_ray.grounding.finetune",
    "valor_ray.grounding.mine",
    "valor_ray.grounding.learner",
    "valor_ray.grounding.gate",
    "valor_ray.grounding.dataset",
    "valor_ray.grounding",
    "valor_ray.queries",
    "valor_ray.report",
    "valor_ray.reasoning.scenes",  # the page of a run draws them
    "valor_ray.wiring",
    "valor_ray.doctor",
    "valor_ray.answer",
    "valor_ray.repairs",
    "valor_ray.writers",
    "valor_ray.judges.boxes",
    "valor_ray.judges",
    "valor_ray.judges.gateway",
    "valor_ray.judges.gateway.limits",
    "valor_ray.judges.gateway.call",
    "valor_ray.program",
    "valor_ray.program.inside",
    "valor_ray.program.walls",
    "valor_ray.models",
    "valor_ray.tools",
    "valor_ray.client",
    "valor_ray.images",
    "valor_ray.decoding",
    "valor_ray.depth_map",
    "valor_ray.runs",
    "valor_ray.placement",
    "valor_ray.rows",
    "valor_ray.measure",
    "valor_ray.config",
    "valor_ray.ports",
    "valor_ray.records",
    "valor_ray.errors",
    "valor_ray.untrusted",
    "valor_ray",
)
# (module, what it imports although that stands above it): why
EXCEPTIONS: dict[tuple[str, str], str] = {}

# Where answers, boxes and gold programs are made or read: evaluation, the demo's marking, and pre-training only.
TRUTH = {
    f"valor_ray.tabletop.{name}"
    for name in (
        *("scenes", "render", "questions", "sample_questions", "replies", "dataset", "gold_check"),
        *("wordings", "truth_of_programs", "measure_scenes", "measure_stopping", "mining", "finetune"),
    )
} | {name for name in HOUSE if name.startswith("valor_ray.benchmarks.")}
# Who imports these can reach everything: they find the commands by name, and a command may evaluate.
DOORS = {
    name
    for name in HOUSE
    if name == "valor_ray.cli"
    or (name.startswith("valor_ray.commands.") and name != "valor_ray.commands.options")
}
# The rooms that work without labels: answering, rewards, GRPO, and what carries them.
PROTECTED = (
    "valor_ray.answer",
    "valor_ray.repairs",
    "valor_ray.asking",
    "valor_ray.selecting",
    "valor_ray.stopping",
    "valor_ray.tools",
    "valor_ray.images",
    "valor_ray.decoding",
    "valor_ray.wiring",
    "valor_ray.client",
    "valor_ray.config",
    "valor_ray.runs",
    "valor_ray.queries",
    "valor_ray.program",
    "valor_ray.models",
    "valor_ray.judges",
    "valor_ray.writers",
    "valor_ray.reasoning",
    "valor_ray.grounding",
    "valor_ray.report",
    "valor_ray.tabletop.judge.server",
    "deployments",
)
RAY = {  # who imports Ray beside deployments and jobs, and why
    "valor_ray.perf.serve": "measures the detector behind Serve",
    "valor_ray.perf.judge_bench": "measures gateway replicas on a real Ray",
    "valor_ray.perf.scaling.mock_parts": "stands in for policy and judge behind Serve",
    "valor_ray.perf.scaling.rollouts": "measures rollout workers on a real Ray",
    "valor_ray.tabletop.pretrain.checkpoints": "the body of jobs/pretrain_tabletop.py",
}


def room_of(module: str) -> str:
    return max(
        (room for room in ROOMS if module == room or module.startswith(f"{room}.")), key=len, default=""
    )


def upward(house: House) -> set[tuple[str, str]]:
    """Imports of a room that stands above the importing one."""
    place = {room: number for number, room in enumerate(ROOMS)}
    return {
        (module, other)
        for module in house
        for other in house.ours(module)
        if place[room_of(other)] < place[room_of(module)]
    }


def truth_in_reach(house: House) -> dict[str, set[str]]:
    """What protected modules can reach of answers, or of doors to everything."""
    closed = TRUTH | DOORS
    protected = [name for name in house if within(name, PROTECTED)]
    return {name: reached for name in protected if (reached := house.reached(name) & closed)}


def within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def ray_users(house: House) -> set[str]:
    """Modules outside deployments and jobs that import Ray."""
    return {
        name
        for name in house
        if not within(name, ("deployments", "jobs"))
        and any(imported.split(".")[0] == "ray" for imported in house.imports(name))
    }


def test_every_module_has_a_room_and_every_room_a_module() -> None:
    assert {name for name in HOUSE if not room_of(name)} == set()
    assert {room_of(name) for name in HOUSE} == set(ROOMS)


def test_a_room_imports_only_rooms_below_it() -> None:
    assert upward(HOUSE) == set(EXCEPTIONS)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert HOUSE.circles() == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert HOUSE.circles({name: room_of(name) for name in HOUSE}) == []


def test_nothing_that_answers_judges_or_trains_can_reach_the_truth() -> None:
    protected = [name for name in HOUSE if within(name, PROTECTED)]
    assert len(protected) > 120 and {room for room in PROTECTED if room not in set(HOUSE)} == set()
    assert {"valor_ray.reasoning.training.run", "deployments.reasoning", "deployments.serving"} <= set(
        protected
    )
    assert set(HOUSE) >= TRUTH | DOORS
    assert truth_in_reach(HOUSE) == {}


@pytest.mark.parametrize("room", PROTECTED)
def test_the_guard_catches_truth_planted_in_a_protected_room(room: str) -> None:
    module = max(name for name in HOUSE if within(name, (room,)))
    for forbidden in ("valor_ray.tabletop.dataset", "valor_ray.commands.evaluate.eval"):
        caught = truth_in_reach(HOUSE.with_import(module, forbidden))
        assert forbidden in caught[module]


@pytest.mark.parametrize(
    ("module", "above"),
    [
        ("valor_ray.records", "valor_ray.config.tree"),
        ("valor_ray.judges.gateway.gateway", "valor_ray.judges.vqa"),
        ("valor_ray.reasoning.learner.grpo_trainer", "valor_ray.reasoning.training.run"),
        ("valor_ray.reasoning.reward", "deployments.scoring"),
        ("valor_ray.commands.train.score", "jobs.score"),
    ],
)
def test_the_guard_catches_an_import_that_goes_up(module: str, above: str) -> None:
    assert (module, above) in upward(HOUSE.with_import(module, above))


def test_the_guard_catches_circles() -> None:
    planted = HOUSE.with_import("valor_ray.errors", "valor_ray.runs.folder")
    assert any({"valor_ray.errors", "valor_ray.runs.folder"} <= group for group in planted.circles())


def test_the_guard_sees_truth_where_it_is_used() -> None:
    for user in ("commands.evaluate.eval", "commands.train.reasoning", "tabletop.pretrain.checkpoints"):
        assert HOUSE.reached(f"valor_ray.{user}") & TRUTH


def test_the_guard_looks_into_functions_and_not_under_main() -> None:
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
    assert any(imported.split(".")[0] == "ray" for imported in HOUSE.imports("deployments.serving"))
    assert ray_users(HOUSE) == set(RAY)
    assert "valor_ray.answer" in ray_users(HOUSE.with_import("valor_ray.answer", "ray.data"))


def test_no_folder_of_code_has_more_than_twelve_files() -> None:
    folders = {
        path.parent
        for folder in ("valor_ray", "deployments", "jobs")
        for path in (ROOT / folder).rglob("*.py")
    }
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if (count := sum(path.is_file() for path in folder.iterdir())) > 12
    }
    assert crowded == {}


def test_no_file_is_longer_than_450_lines() -> None:
    assert {name: lines for name, text in sources().items() if (lines := text.count("\n")) > 450} == {}
