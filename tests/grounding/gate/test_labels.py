"""The gate's labels are the one exception to law 8: nothing that learns can reach them, only the choice of weights."""

import pytest
from house import House, sources

GATE, LEARNER = "valor_ray.grounding.gate", "valor_ray.grounding.learner"
CHOICE = f"{LEARNER}.select"  # asks the gate about candidates after learning
HOUSE = House(sources())


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def reach_labels(house: House) -> set[str]:
    """Modules of the learner, but the choice, that importing can bring to the gate."""
    return {
        name
        for name in house
        if within(name, LEARNER)
        and name != CHOICE
        and any(within(other, GATE) for other in house.reached(name))
    }


def test_nothing_that_learns_can_reach_the_gate() -> None:
    assert any(within(name, GATE) for name in HOUSE)
    assert reach_labels(HOUSE) == set()


def test_sets_and_mining_cannot_either() -> None:
    for room in ("valor_ray.grounding.dataset", "valor_ray.grounding.mine", "valor_ray.models"):
        users = {name for name in HOUSE if within(name, room)}
        assert users
        assert not any(within(other, GATE) for name in users for other in HOUSE.reached(name))


def test_the_gate_reaches_nothing_that_learns() -> None:
    assert not any(
        within(other, LEARNER) for name in HOUSE if within(name, GATE) for other in HOUSE.reached(name)
    )


@pytest.mark.parametrize("label", [f"{GATE}.general", f"{GATE}.coco_map"])
def test_the_guard_catches_labels_in_what_learns(label: str) -> None:
    users = [name for name in HOUSE if within(name, LEARNER) and name not in (LEARNER, CHOICE)]
    if not users:
        pytest.skip("no learner yet")
    assert users[0] in reach_labels(HOUSE.with_import(users[0], label))
