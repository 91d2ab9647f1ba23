"""A queue that serves owners in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from memagent.serve.slots import Slots


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


async def hold(slots: Slots, owner: str, order: list[str], gate: asyncio.Event) -> None:
    async with slots.take(owner):
        order.append(owner)
        await gate.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_owner_with_the_fewest_slots_comes_next() -> None:
    async def test() -> None:
        slots, order, gates = Slots(2), list[str](), [asyncio.Event() for _ in range(6)]
        owners = ["a", "a", "a", "a", "b", "b"]
        tasks = []
        for owner, gate in zip(owners, gates, strict=True):
            tasks.append(asyncio.create_task(hold(slots, owner, order, gate)))
            await settle()
        assert order == ["a", "a"]
        gates[0].set()
        await settle()
        assert order == ["a", "a", "b"]
        gates[1].set()
        await settle()
        assert order == ["a", "a", "b", "a"]  # b already has one
        for gate in gates:
            gate.set()
        await asyncio.gather(*tasks)
        assert sorted(order) == sorted(owners)

    run(test)


def test_owners_with_as_many_slots_take_turns() -> None:
    async def test() -> None:
        slots, order, gate = Slots(1), list[str](), asyncio.Event()
        tasks = [asyncio.create_task(hold(slots, owner, order, gate)) for owner in "xaaabbb"]
        await settle()
        gate.set()
        await asyncio.gather(*tasks)
        assert "".join(order) == "xababab"

    run(test)


@pytest.mark.parametrize("served", [False, True])
def test_a_cancelled_request_leaves_no_slot_behind(served: bool) -> None:
    async def test() -> None:
        slots, order, gate = Slots(1), list[str](), asyncio.Event()
        first = slots.take("a")
        await first.__aenter__()
        second = asyncio.create_task(hold(slots, "b", order, gate))
        await settle()
        assert slots.waiting("b") == 1
        if served:
            await first.__aexit__(None, None, None)  # gives the slot to the second task, which has not run yet
        second.cancel()
        await asyncio.wait([second])
        if not served:
            await first.__aexit__(None, None, None)
        assert slots.waiting("b") == 0
        gate.set()
        await asyncio.wait_for(hold(slots, "c", order, gate), 1)
        assert order == ["c"]

    run(test)
