"""Start verl on a training run of memagent, and follow its progress."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memagent.cluster import translate
from memagent.cluster.problem_table import index_file, write_problems
from memagent.cluster.translate import RunFiles
from memagent.errors import ModelError, RunError, UsageError
from memagent.models.reader_defaults import load_reader_defaults
from memagent.rl.config import TrainConfig
from memagent.rl.problem_mix import adapted, mixture, task_list, tests
from memagent.rl.run_settings import bind
from memagent.rl.speaker import Speaker

_LOOKS = 1.0  # seconds between two looks at the metrics

OnStep = Callable[[str, int, int, dict[str, Any]], None]
"""Called after each step with the stage, the step, the number of steps, and the figures."""


def launch(config: TrainConfig, out: Path, on_step: OnStep) -> None:
    """Train with verl, from its last checkpoint on. The folder must be on storage that all machines share.

    Raises:
        UsageError: verl cannot follow a setting, or is not installed.
        ModelError: the tokenizer of the model cannot be loaded.
        RunError: the folder belongs to a run with other settings, or verl failed.
    """
    translate.check(config)
    _check_installed()
    verl_config = composed(prepare(config, out))
    check_registered()
    import ray
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

    with _followed(out / "metrics.jsonl", config.rl.steps, on_step):
        try:
            run_ppo(verl_config, task_runner_class=TaskRunnerV1)
        except ray.exceptions.RayError as error:
            raise RunError(
                f"verl failed: {_last_line(error)} Run the same command to resume from its last checkpoint."
            ) from error
        finally:
            ray.shutdown()


def prepare(config: TrainConfig, out: Path) -> list[str]:
    """Write the files of a run, unless they are there. Returns verl's settings, see `translate.overrides`."""
    out = out.absolute()
    files = RunFiles(out)
    out.mkdir(parents=True, exist_ok=True)
    bind(config, out)
    if any((out / "checkpoints").glob("*/training.pt")):
        raise RunError(f"{out} has a run of memagent's own trainer: give another --out.")
    speaker, window = load_speaker(config)
    settings = translate.overrides(config, files, speaker, window)
    speaker.defaults.save(out)
    given, rl, watch = config.problems, config.rl, config.watch
    tasks = task_list(given, given.tasks)
    if not files.problems.is_file():
        problems = mixture(tasks, given.lengths, speaker, given, config.seed)
        many = config.cluster.documents or rl.steps * rl.problems * rl.draws
        _write(files.problems, (problems.problem(number) for number in range(many)))
    if not files.tests.is_file():
        held = tests(tasks, watch.lengths or given.lengths[:1], speaker, config)
        drawn = [each.problem(number) for each in held.values() for number in range(watch.evaluate_samples)]
        _write(files.tests, iter(drawn), tests=True)
    return settings


def composed(settings: list[str]) -> Any:
    """Return verl's configuration with these changes.

    Raises:
        UsageError: verl is not installed, or has no such setting.
    """
    _check_installed()
    import verl
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    folder = Path(verl.__file__).parent / "trainer" / "config"
    try:
        with initialize_config_dir(str(folder), version_base=None):
            return compose("ppo_trainer", overrides=settings)
    except HydraException as error:
        raise UsageError(f"verl refuses a setting: {_last_line(error)}") from error


def _check_installed() -> None:
    try:
        import hydra  # noqa: F401
        import verl  # noqa: F401
    except ImportError as error:
        raise UsageError(f"Training on a cluster needs {error.name}: `make cluster` makes its environment.") from error


def check_registered() -> None:
    """Check that verl has loaded the plug-in, because verl itself says nothing if it has not. Raises RunError."""
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

    if translate.NAME not in _agent_loop_registry or translate.NAME not in TRAINER_REGISTRY:
        raise RunError("verl has not loaded memagent's plug-in: install memagent in verl's environment.")


def load_speaker(config: TrainConfig) -> tuple[Speaker, int]:
    """Return the speaker of the policy, and its context window in tokens."""
    from transformers import AutoConfig, AutoTokenizer

    name = config.policy.model
    if name.startswith((".", "~", "/")) and not Path(name).is_dir():
        raise UsageError(f"There is no folder {name}: set policy.model to a folder of a model, or a name on the hub.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        window = config.cluster.window or int(AutoConfig.from_pretrained(name).max_position_embeddings)
    except (OSError, ValueError) as error:
        raise ModelError(f"The model {name} cannot be loaded: {_last_line(error)}") from error
    return Speaker(tokenizer, adapted(load_reader_defaults(Path(name)), config.problems)), window


def _write(file: Path, problems: Iterator[Any], *, tests: bool = False) -> None:
    """Write problems to a file, all or none."""
    temporary = file.with_name(f".{file.name}")
    write_problems(problems, temporary, tests=tests)
    index_file(temporary).rename(index_file(file))
    temporary.rename(file)


@contextmanager
def _followed(metrics: Path, steps: int, on_step: OnStep) -> Iterator[None]:
    """Call `on_step` for each line that is added to a file of metrics."""
    ended = threading.Event()
    place = metrics.stat().st_size if metrics.is_file() else 0

    def follow() -> None:
        nonlocal place
        while True:
            last = ended.wait(_LOOKS)
            if metrics.is_file():
                with metrics.open("rb") as file:
                    file.seek(place)
                    added = file.read()
                whole = added[: added.rfind(b"\n") + 1]
                place += len(whole)
                for line in whole.splitlines():
                    figures = json.loads(line)
                    on_step(figures.pop("stage"), figures.pop("step"), steps, figures)
            if last:
                return

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    try:
        yield
    finally:
        ended.set()
        following.join()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].rstrip(".") + "."
