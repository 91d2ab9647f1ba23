"""Threads for slow work on documents."""

from __future__ import annotations

import asyncio
import io
import threading

from memagent.serve.opening import Opening


def test_an_owner_without_a_thread_gets_one() -> None:
    gate = threading.Event()

    async def test() -> None:
        opening = Opening()
        slow = [asyncio.create_task(opening.run("a", gate.wait)) for _ in range(10)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            assert await opening.run("b", lambda: "quick") == "quick"
        assert not any(task.done() for task in slow)
        gate.set()
        assert await asyncio.gather(*slow) == [True] * 10
        opening.close()

    asyncio.run(test())


def test_a_result_that_nobody_waits_for_is_closed() -> None:
    gate, opened = threading.Event(), io.BytesIO(b"a document")

    def slow() -> io.BytesIO:
        gate.wait()
        return opened

    async def test() -> None:
        opening = Opening()
        running = asyncio.create_task(opening.run("a", slow))
        await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()
        gate.set()
        async with asyncio.timeout(5):
            while not opened.closed:
                await asyncio.sleep(0.01)
        opening.close()

    asyncio.run(test())
