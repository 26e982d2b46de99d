"""Mining's models one after the other, then a learner on one node; words with what fits where they do not."""

from __future__ import annotations

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.placement.grounding import finetune_placement, mining_placement, wanted_gpus
from valor_ray.placement.nodes import NeverFits, Node, Place


def settings(*words: str, profile: str = "gpu") -> Config:
    return Config.load(profile, list(words))


def nodes(*gpus: int) -> list[Node]:
    return [Node.of(f"n{number}", count, here=not number) for number, count in enumerate(gpus)]


def test_the_detector_has_the_gpus_that_the_policy_had_before() -> None:
    places = mining_placement(settings(), nodes(4))
    assert [places[f"policy/{n}"].gpus for n in range(4)] == [(0,), (1,), (2,), (3,)]
    assert places["detector/0"] == Place("n0", (0,), 0.25) and len(places) == 5


def test_without_programs_to_write_no_policy_is_started() -> None:
    assert list(mining_placement(settings("policy.replicas=9"), nodes(1), programs=False)) == ["detector/0"]


def test_on_a_cpu_nobody_has_gpus() -> None:
    config = settings(profile="local")
    assert mining_placement(config, []) == finetune_placement(config, [], mines=True) == {}
    assert wanted_gpus(config) == 0


@pytest.mark.parametrize("profile", ["gpu", "gpu-1x24", "gpu-1x80", "gpu-2", "gpu-4x8"])
def test_each_profile_mines_and_fine_tunes_on_what_it_is_named_for(profile: str) -> None:
    sizes = {"gpu": (8,), "gpu-2": (2,), "gpu-4x8": (8, 8, 8, 8)}.get(profile, (1,))
    config = settings(profile=profile)
    places = finetune_placement(config, nodes(*sizes), mines=True)
    learner = [place for name, place in places.items() if name.startswith("learner")]
    assert len(learner) == config.finetune.workers and len({place.node for place in learner}) == 1
    assert {name.partition("/")[0] for name in places} == {"policy", "detector", "learner"}
    assert wanted_gpus(config) <= sum(sizes)


@pytest.mark.parametrize(
    ("words", "gpus", "said"),
    [
        (("policy.replicas=5",), (4,), r"policy.replicas 5 .* 1 x 4 GPUs hold 4 .*policy.replicas=4, .*num_gpus=0.5"),
        (("policy.replicas=3", "policy.num_gpus=0.6"), (2,), r"hold 2 .*policy.replicas=2, --set policy.num_gpus=0.5"),
        (("policy.num_gpus=3", "policy.replicas=2"), (4,), r"hold 1 .*policy.replicas=1, --set policy.num_gpus=2"),
        (("policy.num_gpus=4", "policy.replicas=1"), (2, 1), r"nodes of 2, 1 GPUs hold 0.*--set policy.num_gpus=2"),
        (("policy.num_gpus=0", "detector.num_gpus=1"), (), r"detector.* 0 GPUs hold 0.*num_gpus=0 \(the CPU works\)"),
        (("policy.num_gpus=1.5",), (8,), r"policy.num_gpus 1.5: .*--set policy.num_gpus=1, or 2"),
        (("detector.num_gpus=2.5",), (8,), r"detector.num_gpus 2.5: .*--set detector.num_gpus=2, or 3"),
    ],
)  # fmt: skip
def test_mining_that_does_not_fit_is_refused_with_what_would(
    words: tuple[str, ...], gpus: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        mining_placement(settings(*words), nodes(*gpus))
    _follow(str(refused.value), words, gpus)


def _follow(said: str, words: tuple[str, ...], gpus: tuple[int, ...]) -> None:
    """What is advised last fits."""
    advised = said.rpartition("--set ")[2].partition(" ")[0].rstrip(",.")
    mining_placement(settings(*words, "detector.num_gpus=0", advised), nodes(*(gpus or (8,))))


@pytest.mark.parametrize(
    ("words", "gpus", "said"),
    [
        (("finetune.workers=4",), (2,), r"hold 2 of the learner's .*workers=2 --set finetune.batch=4, or .*gpus=0.5"),
        (("finetune.workers=3", "finetune.num_gpus=0.6"), (2,), r"workers=2 --set finetune.batch=3, or .*gpus=0.5"),
        (("finetune.workers=3", "finetune.num_gpus=3"), (8,), r"workers=2 --set finetune.batch=3, or .*num_gpus=2"),
        (("finetune.workers=2",), (), r"0 GPUs hold 0 .*Give --set finetune.num_gpus=0 \(the CPU works\)"),
        (("finetune.num_gpus=1.2",), (8,), r"finetune.num_gpus 1.2: .*--set finetune.num_gpus=1, or 2"),
        (("policy.replicas=9",), (8,), r"policy.replicas 9 x"),  # mining comes first
    ],
)  # fmt: skip
def test_fine_tuning_that_does_not_fit_is_refused_with_what_would(
    words: tuple[str, ...], gpus: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        finetune_placement(settings(*words), nodes(*gpus), mines=any("policy" in word for word in words))


def test_a_learner_of_a_run_at_a_url_is_on_the_drivers_machine_or_nowhere() -> None:
    config = settings("finetune.workers=2")
    assert finetune_placement(config, nodes(2, 8), here=True)["learner/1"].node == "n0"
    assert finetune_placement(config, nodes(2, 8))["learner/1"].node == "n0"  # the smaller one
    with pytest.raises(
        NeverFits, match=r"0 GPUs on the machine of this command, where the learner of a run at a URL"
    ):
        finetune_placement(config, nodes(0, 8), here=True)
    assert finetune_placement(config, nodes(0, 8))["learner/0"].node == "n1"
