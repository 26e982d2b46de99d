import pytest

from valor_ray.config.finetune import FinetuneConfig
from valor_ray.grounding.learner.schedule import learning_rate

CONFIG = FinetuneConfig(learning_rate=1e-4, final_learning_rate=1e-6, warmup_steps=10)


def test_the_warm_up_warms_up_by_step():
    rates = [learning_rate(CONFIG, step, 200) for step in range(11)]
    assert rates[:10] == pytest.approx([1e-5 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(1e-4)


def test_then_a_cosine_to_the_final_rate():
    rates = [learning_rate(CONFIG, step, 200) for step in range(10, 200)]
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(CONFIG, 105, 200) == pytest.approx((1e-4 + 1e-6) / 2)
    assert 1e-6 < rates[-1] < 1.1e-6


def test_a_short_run_warms_up_for_a_tenth():
    assert learning_rate(CONFIG, 1, 20) == pytest.approx(1e-4)
    assert learning_rate(CONFIG, 0, 3) == pytest.approx(1e-4)
