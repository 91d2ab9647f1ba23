"""Simulates how long GPUs wait while a batch of rollouts is sampled, because readings differ in length.

    python benchmarks/imbalance.py RUNS... [--figure docs/imbalance.png]

Measured, from the finished journals in RUNS (folders of runs): the turns for each segment, the tokens that a prompt
has beside its segment, and the tokens of completions. Assumed: the constants in capitals, and how a cluster works
(`simulated_cluster.py`). Each problem draws a document and a journal. Its rollouts draw the turns for their segments
from that journal, with replacement. Each cell has the idle share, the seconds of a step and, for partial rollouts, the
mean number of steps between the start of a reading and its use.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice, zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from simulated_cluster import Call, Reading, Sampled, Speed, lockstep, longest_first, partial, synchronous

from memagent.runs.run import Run, find_runs

PROBLEMS, GROUP = 128, 16  # of a batch, as in the paper
SEGMENT = 5_000  # tokens, as in the paper
MEDIAN, SIGMA, LONGEST = 32_000, 0.6, 60_000  # lognormal, redrawn above LONGEST; the paper trains on 32K, then on 60K
WORDS = (128, 1_024)  # tokens of a memory in the model's own words: uniform, up to the paper's limit
GPUS = (8, 16, 32, 64, 128, 256, 512)
LOCKSTEP, DRAWN, STARTED, SERVED, PARTIAL = WAYS = (
    "lockstep", "order drawn", "longest started first", "longest served first", "partial rollouts"
)  # fmt: skip
AT_ONCE = "all segments at once"  # in the order drawn
BATCHES, WARM_UP, STEPS, SEED = 3, 2, 2, 5


@dataclass(frozen=True)
class Journal:
    """A finished reading: for each segment, its turns as (share of the segment shown, other tokens, completion)."""

    segments: list[list[tuple[float, int, int]]]
    answer: Call


def read(folder: Path) -> Journal | None:
    run = Run(folder)
    turns = list(run.trace.turns)
    if run.end is None or not turns or turns[-1].request.kind != "answer":
        return None
    segments = defaultdict[tuple[int, int], list[tuple[float, int, int]]](list)
    for turn in turns:
        if segment := turn.request.segment:
            usage = turn.completion.usage
            # A turn may show half of its segment, or only the quotes that were found in it.
            shown = next(share for share in (1.0, 0.5, 0.0) if usage.prompt_tokens > share * segment.tokens)
            other = usage.prompt_tokens - round(shown * segment.tokens)
            segments[segment.origin].append((shown, other, usage.completion_tokens))
    usage = turns[-1].completion.usage
    return Journal(list(segments.values()), Call(usage.prompt_tokens, usage.completion_tokens))


@dataclass(frozen=True)
class Work:
    """A distribution of readings."""

    journals: Sequence[Journal]
    words: bool = False  # the model writes each memory anew, one turn a segment, instead of quoting
    waves: bool = False  # all segments are read at once, as by the reader `parallel` in one round
    sigma: float = SIGMA
    longest: int = LONGEST
    cap: int = WORDS[1]  # tokens of a completion

    def stream(self) -> Iterator[Reading]:
        """Yield the readings of one problem after another, without end."""
        for problem in count():
            rng = np.random.default_rng((SEED, problem))
            journal = self.journals[int(rng.integers(len(self.journals)))]
            tokens = self.longest + 1
            while tokens > self.longest:
                tokens = int(rng.lognormal(np.log(MEDIAN), self.sigma))
            yield from (self.reading(rng, journal, tokens) for _ in range(GROUP))

    def reading(self, rng: np.random.Generator, journal: Journal, tokens: int) -> Reading:
        parts: list[list[Call]] = []
        memory = 0
        for start in range(0, max(tokens, 1), SEGMENT):
            size = min(SEGMENT, tokens - start)
            turns = journal.segments[int(rng.integers(len(journal.segments)))]
            if self.words:
                held, memory = 0 if self.waves else memory, int(rng.integers(WORDS[0], WORDS[1] + 1))
                parts.append([Call(turns[0][1] + held + size, memory)])
            else:
                parts.append([Call(other + round(shown * size), min(said, self.cap)) for shown, other, said in turns])
        if not self.waves:
            return [[call] for part in parts for call in part] + [[journal.answer]]
        reading = [[call for call in wave if call] for wave in zip_longest(*parts)]
        if self.words and len(parts) > 1:
            reading.append([Call(sum(part[0].completion for part in parts), memory)])  # merges the memories
        return [*reading, [journal.answer], [journal.answer]]  # the first checks the memory


def measured(work: Work, gpus: int, speed: Speed, way: str) -> Sampled:
    if way == PARTIAL:
        return partial(work.stream(), gpus, speed, PROBLEMS, GROUP, WARM_UP, STEPS)
    stream, found = work.stream(), []
    for _ in range(BATCHES):
        batch = list(islice(stream, PROBLEMS * GROUP))
        if way == LOCKSTEP:
            batch = [lockstep(batch)]
        elif way != DRAWN:
            batch = longest_first(batch)
        found.append(synchronous(batch, gpus, speed, way == SERVED))
    seconds = sum(each.seconds for each in found)
    return Sampled(sum(each.idle * each.seconds for each in found) / seconds, seconds / BATCHES)


def table(journals: Sequence[Journal], words: bool) -> dict[str, list[Sampled]]:
    """Print a table over numbers of GPUs: idle share, seconds of a step and staleness. Return its columns."""
    print(f"\n| GPUs | {' | '.join(WAYS)}, staleness in steps | all segments at once |\n|{'---|' * (len(WAYS) + 2)}")
    found: dict[str, list[Sampled]] = defaultdict(list)
    for gpus in GPUS:
        for way in WAYS:
            found[way].append(measured(Work(journals, words), gpus, Speed(), way))
        found[AT_ONCE].append(measured(Work(journals, words, waves=True), gpus, Speed(), DRAWN))
        print(f"| {gpus} | {' | '.join(cell(each[-1]) for each in found.values())} |", flush=True)
    return found


def cell(sampled: Sampled) -> str:
    staleness = f", {sampled.staleness:.1f}" if sampled.staleness else ""
    return f"{max(sampled.idle, 0):.0%} ({sampled.seconds:.0f} s{staleness})"


def sensitivity(work: Work, gpus: int) -> None:
    """Print a table of what changes if an assumption changes."""
    speed, ways = Speed(), (DRAWN, SERVED, PARTIAL)
    print(f"\n| on {gpus} GPUs | {' | '.join(ways)} | all segments at once |\n|{'---|' * (len(ways) + 2)}")
    for name, changed, fast in (
        ("as above", work, speed),
        ("half the prefill speed", work, replace(speed, prefill=speed.prefill / 2)),
        ("twice the prefill speed", work, replace(speed, prefill=speed.prefill * 2)),
        ("decoding steps of 10 ms", work, replace(speed, step=0.01)),
        ("decoding steps of 40 ms", work, replace(speed, step=0.04)),
        ("all documents of 32,000 tokens", replace(work, sigma=0.0), speed),
        ("documents of up to 240,000 tokens", replace(work, longest=240_000), speed),
        ("completions of at most 64 tokens", replace(work, cap=64), speed),
    ):
        found = [measured(changed, gpus, fast, way) for way in ways]
        found.append(measured(replace(changed, waves=True), gpus, fast, DRAWN))
        print(f"| {name} | {' | '.join(map(cell, found))} |", flush=True)


def draw(panels: dict[str, dict[str, list[Sampled]]], path: Path) -> None:
    from matplotlib.figure import Figure

    looks: dict[str, dict[str, Any]] = {  # colours of Okabe and Ito
        LOCKSTEP: {"color": "#777777"},
        DRAWN: {"color": "#d55e00"},
        STARTED: {"color": "#222222", "linestyle": ":"},
        SERVED: {"color": "#0072b2"},
        AT_ONCE: {"color": "#cc79a7"},
        PARTIAL: {"color": "#009e73", "linewidth": 3},
    }
    figure = Figure(figsize=(11, 5), layout="constrained")
    columns = next(iter(panels.values()))
    few, many = (columns[DRAWN][GPUS.index(gpus)].idle for gpus in (32, 512))
    figure.suptitle(
        f"Sampling leaves about {few:.0%} of the time of 32 GPUs idle, and {many:.0%} of that of 512 (left).\n"
        "Starting the longest readings first does not help. Partial rollouts leave no GPU idle.",
        fontsize=13,
    )
    both = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, columns) in zip(both, panels.items(), strict=True):
        for way, look in looks.items():
            shares = [100 * max(each.idle, 0) for each in columns[way]]
            axes.plot(GPUS, shares, **{"linewidth": 2, "marker": "o", "markersize": 4, **look}, label=way)
        axes.set_xscale("log", base=2)
        axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS])
        axes.set_xlabel(f"GPUs for a batch of {PROBLEMS} × {GROUP} readings")
        drawn, quick = (columns[way][-1].seconds for way in (DRAWN, PARTIAL))
        axes.set_title(
            f"{title}\na step on {GPUS[-1]} GPUs: {drawn:.0f} s, partial rollouts: {quick:.0f} s", fontsize=11
        )
        axes.grid(axis="y", color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    both[0].set_ylim(-2, 100)
    both[0].set_ylabel("GPUs without a request, % of sampling time")
    both[0].legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    if missing := [str(folder) for folder in given.runs if not folder.is_dir()]:
        parser.error(f"there is no folder {', '.join(missing)}")
    journals = [each for folder in given.runs for path in find_runs(folder) if (each := read(path))]
    if not journals:
        parser.error("there is no finished reading in these folders")
    segments = [turns for each in journals for turns in each.segments]
    said = [turn[2] for turns in segments for turn in turns]
    print(
        f"{len(journals)} journals: {len(said) / len(segments):.2f} turns for a segment, at most "
        f"{max(map(len, segments))}; completions of {fmean(said):.1f} tokens, 99 % of at most "
        f"{np.percentile(said, 99):.0f}, all of at most {max(said)}."
    )
    panels = {
        "The model copies quotes (completions from journals)": table(journals, words=False),
        f"It rewrites its memory ({WORDS[0]} to {WORDS[1]:,} tokens, assumed)": table(journals, words=True),
    }
    sensitivity(Work(journals), 128)
    if given.figure:
        draw(panels, given.figure)


if __name__ == "__main__":
    main()
