"""A simulated cluster of GPUs that completes the turns of many readings. It is deterministic.

- A GPU computes prompts one after another. Meanwhile, each of its sequences decodes at full speed.
- A turn may run on any GPU: it goes to the one with the fewest requests. Prompts share nothing.
- A GPU is idle if it has no request. A GPU with a single sequence counts as busy.
- Learning takes place between steps, and the clock does not count it.

The speeds are assumptions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, zip_longest
from statistics import fmean

import numpy as np


@dataclass(frozen=True)
class Speed:
    """Speed of a GPU: a 7B model in bfloat16 on one H100."""

    prefill: float = 20_000  # tokens/s: about 300 TFLOP/s, a third of the peak
    step: float = 0.02  # seconds for a token of each sequence: three times what reading the weights takes
    slots: int = 64  # sequences at once: their caches take 20 GB


@dataclass(frozen=True)
class Call:
    """A request: tokens of its prompt and of its completion."""

    prompt: int
    completion: int


Reading = list[list[Call]]  # waves of calls
_Waiting = tuple[int, int, int, Call]  # rank, a number that grows, the reading's name, its call


class Cluster:
    """GPUs that complete the calls of readings. Calls wait in one queue, ordered by the rank of their reading.

    A GPU computes its prompts in the order in which they came, or by rank if `priority` is set.
    """

    def __init__(self, gpus: int, speed: Speed, priority: bool = False) -> None:
        self.now, self._speed, self._priority, self._ended = 0.0, speed, priority, 0.0
        self._load = np.zeros(gpus, np.int64)  # requests of each GPU
        self._since = np.zeros(gpus)  # when each GPU got its first request
        self._computing = [False] * gpus  # whether each GPU is computing a prompt
        self._prompts: list[list[_Waiting]] = [[] for _ in range(gpus)]
        self._queue: list[_Waiting] = []
        self._events: list[tuple[float, int, int, int, Call | None]] = []  # the call if its prompt is computed
        self._readings: dict[int, tuple[int, Reading]] = {}
        self._missing: dict[int, int] = {}
        self._number = count()

    def start(self, name: int, rank: int, reading: Reading) -> None:
        self._readings[name] = rank, reading[::-1]
        self._wave(name)

    def finish(self) -> int | None:
        """Go on until a reading ends, and return its name; None if there is no reading left."""
        while True:
            self._place()
            if not self._events:
                return None
            self.now, number, gpu, name, call = heappop(self._events)
            if call:
                heappush(self._events, (self.now + call.completion * self._speed.step, number, gpu, name, None))
                self._computing[gpu] = False
                self._compute(gpu)
                continue
            self._load[gpu] -= 1
            if not self._load[gpu]:
                self._ended += self.now - self._since[gpu]
            self._missing[name] -= 1
            if not self._missing[name] and not self._wave(name):
                return name

    def busy(self) -> float:
        """Return the seconds in which GPUs had requests, summed over GPUs."""
        return self._ended + float((self.now - self._since)[self._load > 0].sum())

    def _wave(self, name: int) -> bool:
        """Queue the next wave of a reading, if there is one."""
        rank, left = self._readings[name]
        if not left:
            return False
        calls = left.pop()
        self._missing[name] = len(calls)
        for call in calls:
            heappush(self._queue, (rank, next(self._number), name, call))
        return True

    def _place(self) -> None:
        while self._queue and self._load[gpu := int(self._load.argmin())] < self._speed.slots:
            rank, _, name, call = heappop(self._queue)
            if not self._load[gpu]:
                self._since[gpu] = self.now
            self._load[gpu] += 1
            heappush(self._prompts[gpu], (rank if self._priority else 0, next(self._number), name, call))
            self._compute(gpu)

    def _compute(self, gpu: int) -> None:
        if self._prompts[gpu] and not self._computing[gpu]:
            _, number, name, call = heappop(self._prompts[gpu])
            self._computing[gpu] = True
            heappush(self._events, (self.now + call.prompt / self._speed.prefill, number, gpu, name, call))


@dataclass(frozen=True)
class Sampled:
    """Share of the GPU time that was idle, seconds of a step, and how many steps before its use a reading started."""

    idle: float
    seconds: float
    staleness: float = 0.0


def synchronous(readings: Iterable[Reading], gpus: int, speed: Speed, priority: bool = False) -> Sampled:
    """Complete a batch; its first readings come first."""
    cluster = Cluster(gpus, speed, priority)
    for name, reading in enumerate(readings):
        cluster.start(name, name, reading)
    while cluster.finish() is not None:
        pass
    return Sampled(1 - cluster.busy() / (cluster.now * gpus), cluster.now)


def partial(
    readings: Iterator[Reading], gpus: int, speed: Speed, problems: int, group: int, warm_up: int, steps: int
) -> Sampled:
    """Start a reading when another ends, so that as many are in progress as a batch has, or as fit.

    A step ends when enough groups are complete. The other readings go on in the next step.
    """
    cluster, room = Cluster(gpus, speed), min(gpus * speed.slots, problems * group)
    started: list[int] = []  # the step in which each reading started
    ended, ages, before = defaultdict[int, int](int), list[int](), (0.0, 0.0)
    for step in range(warm_up + steps):
        if step == warm_up:
            ages, before = [], (cluster.now, cluster.busy())
        whole = 0
        while whole < problems:
            while room:
                cluster.start(len(started), len(started), next(readings))
                started.append(step)
                room -= 1
            name = cluster.finish()
            assert name is not None
            room += 1
            ended[name // group] += 1
            if ended[name // group] == group:
                whole += 1
                first = name // group * group
                ages += [step - each for each in started[first : first + group]]
    seconds = cluster.now - before[0]
    return Sampled(1 - (cluster.busy() - before[1]) / (seconds * gpus), seconds / steps, fmean(ages))


def longest_first(readings: Iterable[Reading]) -> list[Reading]:
    """Sort by the tokens of the prompts, which are nearly known before a reading starts."""
    return sorted(readings, key=lambda reading: -sum(call.prompt for wave in reading for call in wave))


def lockstep(readings: Iterable[Reading]) -> Reading:
    """Return the batch as one reading: all readings start their next turn together, as in `memagent train`."""
    return [[call for wave in waves for call in wave] for waves in zip_longest(*readings, fillvalue=[])]
