"""A benchmark of 200 examples with a chat whose replies depend only on the prompt. test_killed runs and kills it.

Usage: killed.py OUT SECONDS_A_REPLY
"""

from __future__ import annotations

import asyncio
import sys
import time
from hashlib import sha256
from pathlib import Path

from memagent import Budget, MemoryAgent, Request, ScriptedChat
from memagent.bench.plan import Plan
from memagent.bench.running import run
from memagent.core.tokenizer import ByteTokenizer
from memagent.tasks.example import Length
from memagent.tasks.needles import NeedleTask
from memagent.tasks.tracing import TracingTask


def main(out: str, delay: str) -> None:
    def reply(request: Request) -> str:
        """Box up to seven of the prompt's numbers and upper-case words; the prompt's sha256 decides how many."""
        time.sleep(float(delay))
        prompt = request.messages[0].content
        digest = sha256(prompt.encode()).digest()
        found = [word for word in prompt.split() if word.strip(".").isdigit() or word.isupper()]
        return f"\\boxed{{{' '.join(found[: digest[0] % 8])}}}"

    agent = MemoryAgent(ScriptedChat(reply, keep=False), budget=Budget(segment=1000), citations=False)
    plan = Plan([NeedleTask("niah_single_1", "noise"), TracingTask()], [Length(5000)], 50, ["memory", "direct"])
    asyncio.run(run(plan, agent, ByteTokenizer(), Path(out), concurrency=4))


if __name__ == "__main__":
    main(*sys.argv[1:])
