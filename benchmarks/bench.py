"""Measures the benchmark's runner with a chat that replies at once: time per turn, and memory over many examples."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from common import clock, figure

from memagent import Budget, MemoryAgent, ScriptedChat
from memagent.bench.plan import Plan
from memagent.bench.running import run
from memagent.core.tokenizer import ByteTokenizer
from memagent.tasks.example import Length
from memagent.tasks.needles import NeedleTask

TASK = NeedleTask("niah_single_1", "noise")


def measure(samples: int, length: int, segment: int) -> tuple[float, int]:
    """Return the seconds of a whole run, and its number of turns."""
    chat = ScriptedChat(lambda request: "The keeper hid the compass. " * 30, keep=False)
    agent = MemoryAgent(chat, budget=Budget(segment=segment), citations=False)
    plan = Plan([TASK], [Length(length)], samples, ["memory"])
    turns = samples * (-(-TASK.example(Length(length), 0, 42, ByteTokenizer()).tokens // segment) + 1)
    with tempfile.TemporaryDirectory() as folder, clock() as seconds:
        asyncio.run(run(plan, agent, ByteTokenizer(), Path(folder)))
    return seconds[0], turns


def peak(samples: int) -> int:
    """Return the peak memory of a run in a process of its own, in KB."""
    program = f"import bench; bench.measure({samples}, 8192, 4096); print(open('/proc/self/status').read())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return next(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("VmHWM"))


def main() -> None:
    for segment, name in ((1000, "many short turns"), (20_000, "turns of the paper's size in characters")):
        seconds, turns = measure(40, 400_000, segment)
        figure(
            f"bench: scripted, journal, fsync; {name}", f"{1000 * seconds / turns:.2f} ms a turn", "goal: under 2 ms"
        )
    few, many = peak(100), peak(3000)
    figure(
        "bench: peak memory, 100 / 3,000 examples", f"{few / 1024:.0f} / {many / 1024:.0f} MB", "goal: does not grow"
    )


if __name__ == "__main__":
    main()
