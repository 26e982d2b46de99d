"""Who gets a seat, and who is handed back."""

from __future__ import annotations

import asyncio

from valor_ray.models.vllm.seats import Seats


def test_batches_go_in_while_a_seat_is_free_and_the_others_are_handed_back() -> None:
    async def check() -> list[bool]:
        places, leave, sat = Seats(8), asyncio.Event(), []

        async def batch(since: float) -> None:
            async with places.of(6, since, patience_s=0.05) as there:
                sat.append(there)
                if there:
                    await leave.wait()

        inside = [asyncio.create_task(batch(since)) for since in range(3)]
        await asyncio.sleep(0.2)
        leave.set()
        await asyncio.gather(*inside)
        await batch(2)
        return sat

    assert asyncio.run(check()) == [True, True, False, True]


def test_who_waits_goes_in_when_somebody_leaves_also_when_that_failed() -> None:
    async def check() -> bool:
        places = Seats(1)

        async def fails() -> None:
            async with places.of(1, 0.0):
                await asyncio.sleep(0.05)
                raise ValueError

        failing = asyncio.create_task(fails())
        await asyncio.sleep(0.01)
        async with places.of(4, 1.0, patience_s=5) as there:
            assert isinstance((await asyncio.gather(failing, return_exceptions=True))[0], ValueError)
            return there

    assert asyncio.run(check())


def test_who_was_asked_for_first_goes_in_first_also_after_it_was_handed_back() -> None:
    async def check() -> list[float]:
        places, order = Seats(1), list[float]()

        async def batch(since: float) -> None:
            async with places.of(1, since, patience_s=5) as there:
                assert there
                order.append(since)
                await asyncio.sleep(0.01)

        await asyncio.gather(*(batch(since) for since in (5.0, 3.0, 4.0, 1.0)))
        return order

    assert asyncio.run(check()) == [5.0, 1.0, 3.0, 4.0]  # the first one found the engine empty
