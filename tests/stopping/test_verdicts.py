"""Which heads are asked of held-back replies, whatever the reward is made of."""

from valor_ray.config.judging import RewardConfig
from valor_ray.stopping.verdicts import text_weights


def test_text_heads_are_weighted_as_in_training() -> None:
    weights = RewardConfig(logic=0.4, syntax=0.1, attribute=0, spatial=0, adherence=0, scenes=0.5)
    text = text_weights(weights)
    assert {head.value: weight for head, weight in text.weights().items()} == {"logic": 0.8, "syntax": 0.2}


def test_where_training_asks_none_the_papers_weights_hold() -> None:
    assert (
        text_weights(RewardConfig(logic=0, attribute=0, spatial=0, adherence=0, syntax=0.1, scenes=0.9))
        == RewardConfig()
    )
