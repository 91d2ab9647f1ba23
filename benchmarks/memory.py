"""Measures peak memory on a 1 GB text, and the speed of segmentation against the bare tokenizer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from common import clock, figure, text

from memagent.core.segments import segments
from memagent.models.weights import find_weights

READ = """
import sys
from pathlib import Path
from memagent import Budget, MemoryAgent, ScriptedChat
chat = ScriptedChat(lambda request: "The memory so far.", keep=False)
with MemoryAgent(chat, budget=Budget(segment=50_000), fsync=False) as agent:
    answer = agent.ask("What is in it?", sys.argv[1], run=Path(sys.argv[2]))
# Not getrusage: that counts the memory of the process that started this one.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(len(answer.trace.turns), peak)
"""


def peak(megabytes: int) -> tuple[int, float]:
    """Return turns and peak memory in MB of a process that reads this much text into a journal."""
    piece = text(1_000_000).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(piece)
        command = [sys.executable, "-c", READ, str(path), f"{folder}/run"]
        turns, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(turns), int(kilobytes) / 1024


def segmentation() -> tuple[float, float]:
    """Return the seconds to cut a book into segments of 5,000 tokens, and to only encode the same pieces."""
    tokenizer = find_weights("smollm2-135m").tokenizer
    assert tokenizer is not None
    book = text(3_000_000)
    pieces = [piece.text for piece in segments([book], 5000, tokenizer)]
    cutting, bare = [], []
    for _ in range(3):
        with clock() as seconds:
            for _piece in segments([book], 5000, tokenizer):
                pass
        cutting += seconds
        with clock() as seconds:
            for piece in pieces:
                tokenizer.tokenizer.encode(piece, add_special_tokens=False)  # ours counts a repeated piece only once
        bare += seconds
    return min(cutting), min(bare)


def main() -> None:
    small_turns, small = peak(1)
    turns, large = peak(1000)
    figure(
        f"memory: peak at 1 GB ({turns:,} turns) against 1 MB ({small_turns})",
        f"{large:.0f} MB - {small:.0f} MB = {large - small:.0f} MB",
        "goal: at most 50 MB",
    )
    cutting, bare = segmentation()
    figure("segments: speed beside the bare tokenizer", f"{bare / cutting:.0%}", "goal: at least 80 %")


if __name__ == "__main__":
    main()
