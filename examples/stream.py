"""Print the turns as they happen, in a program with an event loop: python examples/stream.py"""

from __future__ import annotations

import asyncio

from memagent import Answer, Budget, MemoryAgent, ScriptedChat, text_document


async def main() -> None:
    chat = ScriptedChat(["Nothing yet.", "The compass is in the oven.", "\\boxed{in the oven}"])
    text = "It was a quiet morning at the lighthouse.\n\nThe keeper hid the compass in the oven.\n"
    async with MemoryAgent(chat, budget=Budget(segment=60)) as agent:
        with text_document(text) as document:
            async for event in agent.stream("Where is the compass?", document):
                print(event.text if isinstance(event, Answer) else event.completion.text)


asyncio.run(main())
