"""Who sits on which GPU: the learner first and together, nobody on two chairs, and words where it does not fit."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.placement.nodes import Node, Place, assumed_nodes
from valor_ray.placement.training import placement, wanted_gpus


def settings(*words: str) -> Config:
    return Config.load("gpu", ["policy.replicas=1", *words])


def nodes(*gpus: int) -> list[Node]:
    return [Node.of(f"n{number}", count) for number, count in enumerate(gpus)]


def shared(a: Place, b: Place) -> bool:
    return a.node == b.node and bool(set(a.gpus) & set(b.gpus))


def test_eight_gpus_of_one_node_hold_four_and_four() -> None:
    places = placement(settings("policy.replicas=4"), nodes(8))
    assert [places[f"learner/{n}"].gpus for n in range(4)] == [(0,), (1,), (2,), (3,)]
    assert [places[f"policy/{n}"].gpus for n in range(4)] == [(4,), (5,), (6,), (7,)]
    eyes = [places["detector/0"], places["depth/0"]]
    assert all(place.gpus[0] < 4 for place in eyes)  # while the learner is not there


def test_the_learner_is_on_one_node_where_one_can_hold_it() -> None:
    places = placement(settings("grpo.workers=2", "policy.replicas=6"), nodes(2, 2, 2, 2))
    learner = {places[f"learner/{n}"].node for n in range(2)}
    assert len(learner) == 1
    working = [place for name, place in places.items() if name.startswith(("learner", "policy"))]
    assert len(working) == 8 and not any(shared(a, b) for a, b in combinations(working, 2))


def test_a_learner_that_no_node_holds_is_on_as_few_as_can_be() -> None:
    places = placement(settings("grpo.workers=4", "policy.replicas=1"), nodes(1, 3, 2))
    assert [places[f"learner/{n}"].node for n in range(4)] == ["n1", "n1", "n1", "n0"]


def test_engines_of_several_gpus_and_shares() -> None:
    words = ("grpo.workers=1", "policy.num_gpus=2", "policy.replicas=2")
    places = placement(settings(*words), nodes(6))
    assert places["policy/0"].gpus == (1, 2) and places["policy/1"].gpus == (3, 4)
    assert places["depth/0"] == Place("n0", (5,), 0.5) and places["detector/0"] == Place("n0", (5,), 0.25)
    halves = placement(settings("grpo.num_gpus=0.5", "policy.num_gpus=0.5", "grpo.workers=2"), nodes(2))
    assert halves["learner/0"].gpus == halves["learner/1"].gpus == (0,) and halves["policy/0"].gpus == (1,)


def test_without_evaluation_nobody_looks() -> None:
    assert set(placement(settings("grpo.eval_questions=0", "grpo.workers=1"), nodes(2))) == {
        "learner/0",
        "policy/0",
    }


@pytest.mark.parametrize(
    ("words", "gpus", "said"),
    [
        (
            ("grpo.workers=4",),
            (2,),
            r"The learner wants 4 x 1 GPUs, and 1 x 2 GPUs hold 2 .* --set grpo.workers=2",
        ),
        (("grpo.workers=2", "policy.replicas=3"), (4,), r"policy 2 wants 1 GPUs.*--set policy.replicas=2"),
        (
            ("grpo.workers=2", "policy.num_gpus=2"),
            (2, 1),
            r"policy 0 wants 2 GPUs, and of nodes of 2, 1 GPUs",
        ),
        (("policy.num_gpus=1.5",), (8,), r"policy.num_gpus 1.5: .* --set policy.num_gpus=1, or 2"),
        (
            ("grpo.workers=1", "detector.num_gpus=3"),
            (2,),
            r"detector 0 wants 3 GPUs.*smaller detector.num_gpus",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(
    words: tuple[str, ...], gpus: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        placement(settings(*words), nodes(*gpus))


def assumed(config: Config) -> int:
    return len(assumed_nodes(partial(placement, config), wanted_gpus(config)))


def test_as_many_nodes_are_assumed_as_are_needed() -> None:
    assert assumed(settings("policy.replicas=4")) == 1
    assert assumed(settings("policy.replicas=5")) == 2
    with pytest.raises(ConfigError, match="policy 0 wants 9 GPUs"):
        assumed(settings("policy.num_gpus=9"))


@pytest.mark.parametrize(
    ("profile", "gpus"), [("gpu", (8,)), ("gpu-1x80", (1,)), ("gpu-2", (2,)), ("gpu-4x8", (8,) * 4)]
)
def test_each_profile_takes_all_of_what_it_is_named_for(profile: str, gpus: tuple[int, ...]) -> None:
    places = placement(Config.load(profile, []), nodes(*gpus))
    taken = {(place.node, gpu) for name, place in places.items() if name[0] in "lp" for gpu in place.gpus}
    assert len(taken) == sum(gpus)
    assert len({place.node for name, place in places.items() if name.startswith("learner")}) == 1


def test_eyes_that_want_more_than_the_learner_has_take_what_is_free_too() -> None:
    words = (
        "grpo.workers=1",
        "policy.replicas=2",
        "detector.num_gpus=0.5",
        "detector.replicas=4",
        "depth.num_gpus=1",
    )
    places = placement(settings(*words), nodes(5))
    eyes = {gpu for name, place in places.items() if name[0] == "d" for gpu in place.gpus}
    assert eyes == {0, 3, 4}  # the learner's, and the two that nobody has
    with pytest.raises(ConfigError, match="depth 0 wants 1 GPUs"):
        placement(settings(*words, "detector.replicas=6"), nodes(5))


def test_a_model_of_an_evaluation_may_have_idle_gpus_and_the_learners_together() -> None:
    places = placement(settings("grpo.workers=1", "detector.num_gpus=1", "depth.num_gpus=2"), nodes(4))
    assert places["detector/0"].gpus == (2,) and places["depth/0"].gpus == (0, 3)
