"""Has a model read samples made by NVIDIA's own package (nvidia-long-context-eval): RULER's score of each task.

    python benchmarks/nvidia.py SAMPLES [MODEL]

SAMPLES holds TASK/validation.jsonl as the package's `prepare.py` writes them. The package needs its own environment.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from common import clock, figure

from memagent import MemoryAgent, text_document
from memagent.core.intervals import interval
from memagent.core.scoring import string_match_all
from memagent.tasks.rows import read_rows

_NIAH = re.compile(r"(.*?afterwards\.)\n(.*)\n(What (?:are all|is) the special magic .*?\?)", re.DOTALL)
_VT = re.compile(r"(Memorize and track.*?text\.)\n\n(.*)\n(Question: .*?above\.)", re.DOTALL)


def parted(sample: str) -> tuple[str, str]:
    """Return the document of a sample and the question for a memory agent. Raises ValueError for any other text."""
    text = sample[sample.rindex("Memorize and track") :] if "Memorize and track" in sample else sample
    found = (_VT if text is not sample or sample.startswith("Memorize") else _NIAH).match(text)
    if found is None:
        raise ValueError(f"This is not a sample of niah or vt: {sample[:80]!r}")
    separator = "\n\n" if found[1].startswith("Memorize") else "\n"
    return found[2], f"{found[1]}{separator}{found[3]}"


def main(samples: str, model: str = "local") -> None:
    scores: list[float] = []
    with MemoryAgent(model) as agent, clock() as seconds:
        for file in sorted(Path(samples).glob("*/validation.jsonl")):
            own = []
            for _, row in read_rows(file):
                text, question = parted(row["input"])
                with text_document(text, file.parent.name) as document:
                    answer = agent.ask(question, document)
                said = answer.trace.answer or ""
                own.append(string_match_all(said, row["outputs"]))
                if own[-1] < 1:
                    print(f"  {file.parent.name}: {row['outputs']} {said!r}\n    {answer.memory!r}", flush=True)
            scores += own
            figure(f"nvidia: {file.parent.name}, {len(own)} samples", f"{100 * sum(own) / len(own):.0f}")
    mean, low, high = interval(scores, binary=False)
    figure("nvidia: all", f"{100 * mean:.0f} [{100 * low:.0f}–{100 * high:.0f}]", f"{seconds[0]:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
