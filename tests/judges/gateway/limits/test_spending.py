"""A limit in dollars over several gateways, as events."""

from __future__ import annotations

import random

from valor_ray.judges.gateway.limits.spending import Purse, Spending


def purse(owner: str = "one", out: int = 0, owed: float = 0.0, each: float = 0.1, most: float = 1.0) -> Purse:
    return Purse(owner, "m", most, each, out, owed)


def test_what_is_out_and_owed_counts_as_spent() -> None:
    spending = Spending(0.35)
    assert spending.grant(purse(owed=0.05), 3) == 3
    assert spending.grant(purse("two"), 16) == 3 and not spending.is_over()
    assert spending.grant(purse("two", out=3), 16) == 0 and not spending.is_over()


def test_it_is_over_when_nothing_is_out() -> None:
    spending = Spending(0.95)
    assert spending.grant(purse(), 1) == 0 and spending.is_over()
    assert spending.grant(purse(most=2.0), 1) == 1


def test_permits_that_were_not_used_and_gateways_that_died_hold_nothing_back() -> None:
    spending = Spending(0.0)
    assert spending.grant(purse(), 10) == 10
    assert spending.grant(purse("two"), 1) == 0
    assert spending.grant(purse(out=2), 1) == 1 and spending.grant(purse("two"), 16) == 7
    spending.forget("two")
    assert spending.grant(purse(out=3), 16) == 7


def test_nothing_that_happens_spends_more_than_the_limit() -> None:
    rng = random.Random(0)
    for _ in range(50):
        spending, out = Spending(0.0), {"one": 0, "two": 0, "three": 0}
        for _ in range(200):
            owner = rng.choice(list(out))
            if out[owner] and rng.random() < 0.5:
                out[owner] -= 1
                spending.paid(rng.uniform(0, 0.1))
            else:
                out[owner] += spending.grant(purse(owner, out[owner]), rng.randint(1, 5))
            assert spending.spent_usd + 0.1 * sum(out.values()) <= 1.0 + 1e-9
