"""A different agent for the same trainer: it works out A * B + C, and may call a calculator.

    4 7 * 8 6 + 1 5 ?
    call 4 7 * 8 6        = 4 0 4 2
    call 4 0 4 2 + 1 5    = 4 0 5 7
    say 4 0 5 7

An agent is a generator of Requests; together with a reward it is a Problem. The warm start imitates a lazy pupil, who
often gives up instead of calling. Only the reward of RL teaches the policy to call. Takes a minute on two CPU cores.

    python examples/calculator.py [OUT]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memagent.core.records import Completion, Message, Request, Trace
from memagent.rl.config import OptimiserConfig, RLConfig, TrainConfig, WarmupConfig, WatchConfig
from memagent.rl.problems import Problem
from memagent.train.dapo import train
from memagent.train.evaluation import evaluate
from memagent.train.folder import TrainingFolder, stage_end
from memagent.train.nano import small_policy
from memagent.train.training import Training

WORDS = [*"0123456789*+?=", "call", "say", "nothing", "error"]
CALLS = 4  # most calls for one question
LAZY = 0.6  # share of the questions on which the pupil gives up instead of calling


def work_out(question: str) -> Generator[Request, Completion, str]:
    """The agent. It runs the calculations that the policy calls, and returns the first reply that is not a call."""
    messages = [Message("user", f"{question} ?")]
    for _ in range(CALLS):
        said = (yield Request(tuple(messages), 12)).text
        if not said.startswith("call "):
            return said
        messages += [Message("assistant", said), Message("user", f"= {calculate(said.removeprefix('call '))}")]
    return ""


def calculate(expression: str) -> str:
    for operator, operate in (("*", int.__mul__), ("+", int.__add__)):
        left, found, right = (part.replace(" ", "") for part in expression.partition(operator))
        if found and left.isdigit() and right.isdigit():
            return spaced(operate(int(left), int(right)))
    return "error"


def spaced(number: int) -> str:
    return " ".join(str(number))


class Sums:
    """Problems A * B + C with numbers of two digits. The same `number` always gives the same problem."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def problem(self, number: int) -> Problem:
        draw = random.Random(f"{self._seed} {number}")
        a, b, c = (draw.randrange(10, 100) for _ in range(3))
        question = f"{spaced(a)} * {spaced(b)} + {spaced(c)}"
        right = f"say {spaced(a * b + c)}"

        def reward(answer: str, trace: Trace) -> float:
            return float(answer == right)

        return Problem(question, lambda: work_out(question), reward, pupil(a, b, c, draw))


def pupil(a: int, b: int, c: int, draw: random.Random) -> Callable[[Request], str]:
    """The pupil that the warm start imitates: always right, unless it gives up."""
    replies = [f"call {spaced(a)} * {spaced(b)}", f"call {spaced(a * b)} + {spaced(c)}", f"say {spaced(a * b + c)}"]

    def reply(request: Request) -> str:
        step = len(request.messages) // 2
        if step == 0 and draw.random() < LAZY:
            return "say nothing"
        return replies[step]

    return reply


def learn(out: Path, config: TrainConfig) -> tuple[float, float]:
    """Train. Returns the share of right answers before and after RL, with greedy decoding, on held-out problems."""
    policy = small_policy(WORDS, config.seed)
    training = Training(policy, Sums(config.seed), {}, config, TrainingFolder(out, config))
    tests = Sums(10**9)

    def on_step(stage: str, step: int, steps: int, figures: dict[str, Any]) -> None:
        if step == 1 or step % 10 == 0:
            names = ("loss", "reward", "entropy")
            print(stage, step, *(f"{name} {figures[name]:.3f}" for name in names if name in figures), flush=True)

    training.on_step = on_step
    try:
        train(training)
    finally:
        training.close()
    shares = []
    for stage in ("warmup", "rl"):
        place = stage_end(out, stage)
        assert place is not None
        policy.load_weights(place)
        shares.append(evaluate(policy, {"test": tests}, 200)["test"].mean)
    return shares[0], shares[1]


CONFIG = TrainConfig(
    warmup=WarmupConfig(steps=300, problems=32, learning_rate=4e-3),
    rl=RLConfig(steps=50, problems=16, group=8, optimiser_steps=2, learning_rate=1e-3),
    optimiser=OptimiserConfig(beta2=0.98, micro_tokens=2048),
    watch=WatchConfig(evaluate_every=0, checkpoint_every=100, trace_every=0),
)

if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        before, after = learn(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary), CONFIG)
    print(f"right answers: {before:.0%} after the warm start, {after:.0%} after RL")
