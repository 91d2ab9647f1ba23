"""A whole small training: its files, its exact resumption, and the effect of every setting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import config, metrics, run

from memagent.errors import BudgetError, ModelError, RunError, StorageError, UsageError
from memagent.train.dapo import train
from memagent.train.final_evaluation import finish
from memagent.train.folder import newest
from memagent.train.loading import load_policy
from memagent.train.setup import set_up


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_training_leaves_metrics_checkpoints_and_traces(tmp_path: Path) -> None:
    rows = run(tmp_path / "run")
    assert [(row["stage"], row["step"]) for row in rows] == [
        *(("warmup", step) for step in range(1, 7)),
        *(("rl", step) for step in range(1, 5)),
    ]
    assert rows[5]["loss"] < rows[0]["loss"]
    learnt = [row for row in rows if row["stage"] == "rl" and row["groups_kept"]]
    assert learnt
    assert all(row["mismatch"] < 1e-4 for row in learnt)  # trainer and sampler agree
    assert all(row["padding"] <= 0.1 for row in learnt)
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert saved == ["rl-000004", "warmup-000006"]
    trace = [json.loads(line) for line in (tmp_path / "run" / "traces" / "rl-000002.jsonl").read_text().splitlines()]
    assert set(trace[0]) == {"problem", "answer", "reward"}
    assert trace[1]["prompt"][0].endswith(">")
    assert _board(tmp_path / "run", "rl") == [1, 2, 3, 4]


def _board(out: Path, stage: str) -> list[int]:
    """The steps in TensorBoard's log."""
    events = EventAccumulator(str(out / "tensorboard" / stage))
    events.Reload()
    return [event.step for event in events.Scalars("seconds")]


@pytest.mark.slow
def test_a_run_killed_and_resumed_has_the_metrics_of_an_undisturbed_one(tmp_path: Path) -> None:
    """It is killed during the warm start and again during RL. Figures and weights are the same, bit for bit."""
    whole = run(tmp_path / "whole")
    program = f"from tiny import run; from pathlib import Path; run(Path({str(tmp_path / 'killed')!r}))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    for lines in (4, 8):
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(metrics(tmp_path / "killed")) < lines and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL, check=True)
    assert run(tmp_path / "killed") == whole
    assert _board(tmp_path / "killed", "warmup") == [1, 2, 3, 4, 5, 6]
    assert _board(tmp_path / "killed", "rl") == [1, 2, 3, 4]
    ends = [newest(tmp_path / name) for name in ("whole", "killed")]
    weights = [load_policy(end).model.state_dict() for end in ends if end]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    assert run(tmp_path / "run") == run(tmp_path / "run")


def test_a_run_goes_on_with_more_steps_and_not_with_other_settings(tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert run(tmp_path / "run", "rl.steps=5")[-1]["step"] == 5
    with pytest.raises(RunError, match=r"started with a different rl\.group"):
        run(tmp_path / "run", "rl.group=8")


CHANGES = [
    "seed=1",
    "rl.learning_rate=1e-2",
    "rl.optimiser_steps=1",
    "rl.credit='last'",
    "rl.divide_by_std=true",
    "rl.weighting='rollout'",
    "rl.draws=1",
    "rl.temperature=0.5",
    "rl.kl=0.5",
    "rl.group=5",
    "rl.problems=3",
    "warmup.source='own'",
    "warmup.learning_rate=1e-4",
    "warmup.problems=7",
    "optimiser.warmup_steps=1",
    "optimiser.weight_decay=0.5",
    "optimiser.beta2=0.9",
    "optimiser.decay=1.0",
    "optimiser.max_norm=0.01",
    "problems.metric='exact_match'",
    "policy.precision='bfloat16'",
]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("usual") / "run")


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_every_setting_does_something(change: str, usual: list[dict[str, object]], tmp_path: Path) -> None:
    assert run(tmp_path / "run", change) != usual


@pytest.mark.slow
@pytest.mark.parametrize("change", ["optimiser.micro_tokens=200", "sample_tokens=300"])
def test_how_a_batch_is_cut_changes_nothing_but_rounding(
    change: str, usual: list[dict[str, object]], tmp_path: Path
) -> None:
    for row, other in zip(usual[:6], run(tmp_path / "run", change)[:6], strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_a_loss_that_is_not_a_number_is_told_and_the_checkpoint_stays(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"The loss is .* set a lower learning rate"):
        run(tmp_path / "run", "warmup.learning_rate=1e30", "optimiser.warmup_steps=0", "optimiser.max_norm=1e30")


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    import resource

    whole = run(tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        with pytest.raises(StorageError, match="cannot be written"):
            run(tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert run(tmp_path / "full") == whole


def test_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    training = set_up(config(), tmp_path / "run")
    with pytest.raises(RunError, match="Another process is training"):
        set_up(config(), tmp_path / "run")
    training.close()


@pytest.mark.slow
def test_two_processes_train_in_one_folder_and_go_on(tmp_path: Path) -> None:
    """Stopped in RL, both processes go on from where they were."""
    program = "import sys; from tiny import run; from pathlib import Path; run(Path(sys.argv[1]), *sys.argv[2:])"
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"
    }  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]

    def train(folder: Path, *sets: str) -> list[dict[str, object]]:
        done = subprocess.run(
            [*command, str(tmp_path / "program.py"), str(folder), *sets],
            check=False, env=environment, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return metrics(folder)

    whole = train(tmp_path / "whole")
    assert [row["step"] for row in whole] == [*range(1, 7), *range(1, 5)]  # each once
    assert train(tmp_path / "halves", "rl.steps=2") == whole[:8]
    assert train(tmp_path / "halves") == whole
    with pytest.raises(RunError, match="2 processes trained"):
        run(tmp_path / "halves", "rl.steps=5")


@pytest.mark.slow
def test_a_run_goes_on_at_the_rate_that_is_wanted_now(tmp_path: Path) -> None:
    """With more steps, a resumed run equals an undisturbed one. Another rate makes a difference."""
    run(tmp_path / "run", "rl.steps=2")
    assert run(tmp_path / "run", "rl.steps=4") == run(tmp_path / "whole", "rl.steps=4")
    run(tmp_path / "other", "rl.steps=2")
    assert run(tmp_path / "other", "rl.learning_rate=1e-2") != run(tmp_path / "whole")


def test_a_mistake_leaves_the_folder_free(tmp_path: Path) -> None:
    for wrong in (
        "policy.model='/nowhere'",
        "problems.lengths=['6oo']",
        "problems.metric='em'",
        "watch.final_lengths=['x']",
    ):
        with pytest.raises((ModelError, UsageError)):
            run(tmp_path / "run", wrong)
    with pytest.raises(BudgetError, match="larger than the model's window of 512"):
        run(tmp_path / "run", "problems.segment_tokens=600")
    run(tmp_path / "run", "rl.steps=0", "warmup.steps=1")


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    run(tmp_path / "run", "rl.steps=2")
    place = newest(tmp_path / "run")
    assert place is not None
    state = place / "training.pt"
    whole = state.read_bytes()
    for torn in (b"", whole[:100], whole[: len(whole) // 2]):
        state.write_bytes(torn)
        with pytest.raises(RunError, match=r"rl-000002 is damaged"):
            run(tmp_path / "run", "rl.steps=4")


@pytest.mark.slow
def test_the_evaluation_at_the_end_is_of_the_newest_policy(tmp_path: Path) -> None:
    """Without a warm start, the policy before RL is the one that RL started with. Each length is evaluated once."""
    sets = ("warmup.steps=0", "watch.final_lengths=['48', '60']", "watch.final_samples=4")

    def rows(steps: int) -> tuple[list[tuple[str, str, int]], list[str]]:
        training = set_up(config(*sets, f"rl.steps={steps}"), tmp_path / "run")
        said: list[str] = []
        try:
            train(training)
            found = finish(training, training.config, said.append)
        finally:
            training.close()
        return [(row["stage"], row["checkpoint"], row["length"]) for row in found["accuracy"]], said

    first, said = rows(1)
    assert first == [
        *(("warmup", "start", 48), ("warmup", "start", 60)),
        *(("rl", "rl-000001", 48), ("rl", "rl-000001", 60)),
    ]
    assert len(said) == 4
    again, said = rows(3)
    assert again[2:] == [("rl", "rl-000003", 48), ("rl", "rl-000003", 60)]
    assert len(said) == 2
    assert (tmp_path / "run" / "length.png").stat().st_size > 5000


def test_questions_of_your_own_are_trained_on_and_some_held_back(tmp_path: Path) -> None:
    lines = [{"question": f"red{number}", "document": "leaf moon red4 salt", "answer": "red4"} for number in range(5)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    training = set_up(
        config(f"problems.tasks=['{tmp_path / 'own.jsonl'}']", "problems.warmup_tasks=[]"), tmp_path / "run"
    )
    training.close()
    trained = {training.problems.problem(number).name for number in range(9)}
    (held,) = ({test.problem(number).name for number in range(9)} for test in training.tests.values())
    assert len(trained) == 3
    assert len(held) == 2
    assert not trained & held
