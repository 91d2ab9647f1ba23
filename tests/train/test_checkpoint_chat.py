"""A checkpoint as a model: its prompts and budget, its completions, and `ask` and `bench` with it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from memagent.agent import MemoryAgent
from memagent.bench.ledger import read_results
from memagent.core.records import Completion, Message, Request
from memagent.errors import ModelError, UsageError, WindowOverflow
from memagent.models.chat import Sampling
from memagent.models.connect import connect
from memagent.rl.problems import MemoryProblems
from memagent.tasks.example import Length
from memagent.tasks.practice.colours import ColourTask
from memagent.train.checkpoint_chat import CheckpointChat
from memagent.train.nano import PROMPTS, nano_policy
from memagent.train.sampler import Sampler


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    nano_policy(3).save(folder)
    return folder


def requests(many: int) -> list[Request]:
    return [Request((Message("user", f"red blue | none | leaf red{number} moon >"),), 6) for number in range(many)]


def test_requests_made_at_once_are_completed_as_the_sampler_would(checkpoint: Path) -> None:
    chat = CheckpointChat(checkpoint)

    async def ask() -> list[Completion]:
        return await asyncio.gather(*(chat.complete(request) for request in requests(5)))

    found = asyncio.run(ask())
    policy = nano_policy(3)
    alone = Sampler(policy, Sampling(), torch.Generator())
    for request, completion in zip(requests(5), found, strict=True):
        assert completion.text == alone.completions([request])[0].text
        assert completion.usage.prompt_tokens == len(policy.render(request.messages))


def test_a_reading_is_the_one_of_training(checkpoint: Path) -> None:
    """The agent takes templates and budget from the checkpoint, so its turns equal those of a greedy rollout."""
    policy = nano_policy(3)
    task = ColourTask()
    problems = MemoryProblems(task, Length(96), 5, policy.tokenizer, [PROMPTS], policy.defaults.budget, boxed=False)
    ((rollout,),) = Sampler(policy, Sampling(), torch.Generator()).rollouts([problems.problem(0)])
    example = task.example(Length(96), 0, 5, policy.tokenizer)
    document = checkpoint / "document.txt"
    document.write_text(example.document, encoding="utf-8")
    with MemoryAgent(f"checkpoint:{checkpoint}") as agent:
        answer = agent.ask(example.question, document)
    assert answer.trace.turns[0].request.messages[0].content.startswith(f"{example.question} | No previous memory |")
    assert [turn.request for turn in answer.trace.turns] == [turn.request for turn in rollout.trace.turns]
    assert answer.text == rollout.answer.strip()


def memagent(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "memagent", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_ask_and_bench_from_the_command_line(checkpoint: Path, tmp_path: Path) -> None:
    model = f"checkpoint:{checkpoint}"
    document = tmp_path / "document.txt"
    document.write_text("leaf moon red4 salt blue1 road", encoding="utf-8")
    run = str(tmp_path / "run")
    asked = memagent("ask", "red blue", str(document), "--model", model, "--json", "--run", run)
    assert json.loads(asked)["segments"] == 1
    assert "red blue" in memagent("show", run)
    out = tmp_path / "bench"
    memagent("bench", "colours", "--lengths", "60", "--samples", "4", "--model", model, "--out", str(out), "--json")
    assert [result.turns for result in read_results(out)] == [4] * 4


def test_a_prompt_longer_than_the_window_is_an_overflow(checkpoint: Path) -> None:
    chat = CheckpointChat(checkpoint, window=12)
    with pytest.raises(WindowOverflow, match="window of 12"):
        asyncio.run(chat.complete(requests(1)[0]))


def test_what_goes_wrong_reaches_everybody_who_waits(checkpoint: Path) -> None:
    chat = CheckpointChat(checkpoint)
    wrong = Request((Message("user", "red"),), 6)

    class Broken(Sampler):
        def completions(self, requests: Sequence[Request]) -> list[Completion]:
            if wrong in requests:
                raise RuntimeError("the device is gone")
            return super().completions(requests)

    chat._sampler = Broken(nano_policy(3), Sampling(), torch.Generator())

    async def ask() -> list[Completion | BaseException]:
        asked = [chat.complete(request) for request in (*requests(2), wrong)]
        return [*await asyncio.gather(*asked, return_exceptions=True), await chat.complete(requests(1)[0])]

    *failed, good = asyncio.run(ask())
    assert [str(each) for each in failed] == ["the device is gone"] * 3
    assert isinstance(good, Completion)


def test_other_weights_are_another_model(checkpoint: Path, tmp_path: Path) -> None:
    nano_policy(4).save(tmp_path)
    assert CheckpointChat(tmp_path).model != CheckpointChat(checkpoint).model


def test_what_is_no_checkpoint_gets_a_sentence(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")  # as of a run without a checkpoint
    with pytest.raises(UsageError, match="no policy in"):
        connect(f"checkpoint:{tmp_path}")
    nano_policy(4).save(tmp_path)
    (tmp_path / "memagent.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"memagent\.json is damaged"):
        connect(f"checkpoint:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        connect(f"checkpoint:{tmp_path}")
