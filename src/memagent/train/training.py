"""A training run in progress: the policy, the problems, and how far it is. The warm start and RL share it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from memagent.errors import LimitReached, RunError
from memagent.models.chat import Sampling
from memagent.rl.config import TrainConfig
from memagent.rl.conversations import Conversation
from memagent.rl.problems import Problem, Problems
from memagent.rl.rollouts import Rollout
from memagent.train.evaluation import Accuracy, evaluate
from memagent.train.folder import STATE, TrainingFolder, newest
from memagent.train.learner import Learner
from memagent.train.lessons import Curriculum
from memagent.train.policy import Policy
from memagent.train.processes import Processes
from memagent.train.sampler import Sampler

OnStep = Callable[[str, int, int, dict[str, Any]], None]
"""Called after each step with the stage, the step, the number of steps in the stage, and the figures."""

OnSave = Callable[[Path], None]
"""Called after each checkpoint with its folder."""


@dataclass(slots=True)
class Training:
    """A training run in progress.

    Args:
        tests: problems of the evaluations during training, by name. Accuracy on the first can end the warm start.
        warmup_problems: problems of the warm start, if they differ from `problems`.
    """

    policy: Policy
    problems: Problems
    tests: dict[str, Problems]
    config: TrainConfig
    run: TrainingFolder
    warmup_problems: Problems | None = None
    overwritten: Problems | None = None
    """Problems of the warm-start steps that practise overwriting; None if there are no such steps."""
    processes: Processes = field(default_factory=Processes)
    on_step: OnStep = lambda stage, step, steps, figures: None
    on_save: OnSave = lambda place: None
    generator: torch.Generator = field(init=False)
    """Generator that the sampler draws from."""
    position: int = 0
    """Number of problems that each process has drawn."""
    deadline: float = math.inf
    """Time to stop, as given by time.monotonic()."""
    _saved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.policy.device)
        self.generator.manual_seed(1000 * self.config.seed + self.processes.rank)

    def sampler(self, temperature: float) -> Sampler:
        return Sampler(self.policy, Sampling(temperature), self.generator, self.config.sample_tokens)

    def draw(self, many: int, problems: Problems) -> list[Problem]:
        """Draw the next problems. Each process draws different ones."""
        first, ranks = self.position, self.processes.many
        self.position += many
        return [problems.problem((first + each) * ranks + self.processes.rank) for each in range(many)]

    @property
    def curriculum(self) -> Curriculum:
        """The curriculum of the warm start."""
        return Curriculum(self.warmup_problems or self.problems, self.overwritten, self.config)

    def learner(self, rate: float, steps: int, state: dict[str, Any], temperature: float = 1.0) -> Learner:
        """The optimiser of a stage, restored if `state` holds one."""
        learner = Learner(self.policy, rate, steps, self.config.optimiser, self.processes, temperature)
        if "optimiser" in state:
            learner.resume(state["optimiser"], state["schedule"])
        return learner

    def speed(self, conversations: Sequence[Conversation], began: float) -> dict[str, float]:
        """Seconds since `began`, and tokens learnt from per second (prompts and completions, all processes)."""
        tokens = self.processes.sum({"tokens": sum(map(len, conversations))})["tokens"]
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "tokens_per_second": tokens / seconds}

    def after_step(
        self, stage: str, step: int, steps: int, figures: dict[str, Any], rollouts: Sequence[Rollout] = ()
    ) -> dict[str, Accuracy]:
        """Record the figures, and evaluate and keep a trace if it is time. Returns the accuracies, if evaluated."""
        watch = self.config.watch
        found: dict[str, Accuracy] = {}
        if _is_time(step, watch.evaluate_every):
            found = evaluate(self.policy, self.tests, watch.evaluate_samples, self.config.sample_tokens)
            figures |= {f"accuracy_{name}": accuracy.mean for name, accuracy in found.items()}
        if self.processes.first:
            self.run.record(stage, step, figures)
            if rollouts and _is_time(step, watch.trace_every):
                self.run.keep_trace(stage, step, rollouts[0])
        self.on_step(stage, step, steps, figures)
        return found

    def save(self, stage: str, step: int, learner: Learner, *, done: bool = False, **more: Any) -> None:
        """Save a checkpoint if it is time or the stage is done.

        Raises:
            LimitReached: the time limit was reached. The checkpoint is saved.
        """
        watch, now = self.config.watch, time.monotonic()
        old = bool(watch.checkpoint_minutes) and now - self._saved >= 60 * watch.checkpoint_minutes
        late = now >= self.deadline
        if self.processes.many > 1:  # clocks may differ between processes: the first one decides
            old, late = self.processes.gather((old, late))[0]
        if not (done or old or late or _is_time(step, watch.checkpoint_every)):
            return
        self._saved = now
        randoms = self.processes.gather(self.generator.get_state())
        positions = self.processes.gather(self.position)
        if self.processes.first:
            state = {
                "done": done,
                "positions": positions,
                "random": randoms,
                "optimiser": learner.optimiser.state_dict(),
                "schedule": learner.schedule.state_dict(),
                **more,
            }
            self.on_save(self.run.save(stage, step, self.policy, state))
        self.processes.wait()
        if late and not done:
            raise LimitReached(
                f"Stopped after {stage} step {step} because the time limit was reached: run the same command to resume."
            )

    def resume(self) -> dict[str, Any]:
        """Restore the newest checkpoint and return its state; without a checkpoint, return the state of a new run.

        Raises:
            RunError: the checkpoint is damaged, or another number of processes wrote it.
        """
        place = newest(self.run.folder)
        state: dict[str, Any] = {"stage": "warmup", "step": 0, "metrics": 0}
        if place:
            if not (place / STATE).is_file():
                raise RunError(f"{place} was trained with verl: resume it with --engine verl, or give another --out.")
            state = self.run.load(place)
        if self.processes.first:
            self.run.forget(state["metrics"])
        if place is None:
            return state
        if len(state["positions"]) != self.processes.many:
            raise RunError(
                f"{len(state['positions'])} processes trained in {self.run.folder}: start the same number to resume."
            )
        self.policy.load_weights(place)
        self.position = state["positions"][self.processes.rank]
        self.generator.set_state(state["random"][self.processes.rank])
        return {"stage": "rl", "step": 0} if state["stage"] == "warmup" and state["done"] else state

    def close(self) -> None:
        """Unlock the folder."""
        self.run.close()


def _is_time(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
