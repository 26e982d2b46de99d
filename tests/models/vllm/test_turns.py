import asyncio

from valor_ray.models.vllm.turns import Turns


def test_who_wants_the_engine_alone_waits_for_those_inside_and_is_not_overtaken() -> None:
    order: list[str] = []

    async def shared(turns: Turns, name: str) -> None:
        async with turns.shared():
            order.append(f"{name} in")
            await asyncio.sleep(0.01)
            order.append(f"{name} out")

    async def alone(turns: Turns) -> None:
        async with turns.alone():
            order.append("alone in")
            await asyncio.sleep(0.01)
            order.append("alone out")

    async def run() -> None:
        turns = Turns()
        await asyncio.gather(shared(turns, "a"), shared(turns, "b"), alone(turns), shared(turns, "c"))

    asyncio.run(run())
    assert order == ["a in", "b in", "a out", "b out", "alone in", "alone out", "c in", "c out"]
