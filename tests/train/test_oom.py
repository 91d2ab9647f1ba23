"""In processes with limited memory, the error names the setting to lower."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIMITED = """
import resource
from itertools import islice, product

import torch
from memagent.models.chat import Sampling
from memagent.errors import ModelError
from memagent.core.records import Message, Request
from memagent.rl.conversations import Conversation
from memagent.rl.config import OptimiserConfig
from memagent.train.learner import Learner
from memagent.train.nano import nano_policy
from memagent.train.processes import Processes
from memagent.train.sampler import Sampler
from memagent.train.warmup import imitation

torch.set_num_threads(1)
policy = nano_policy(1)
Sampler(policy, Sampling(), torch.Generator()).completions([Request((Message("user", "red"),), 2)])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, resource.RLIM_INFINITY))
try:
    {work}
except ModelError as error:
    print(error)
"""
LEARN = """
    learner = Learner(policy, 1e-3, 10, OptimiserConfig(micro_tokens=10**9), Processes())
    learner.step([Conversation(tuple(range(20)), tuple(range(20)))] * 40_000, imitation)
"""
SAMPLE = """
    begins = islice(product("red blue leaf moon".split(), repeat=8), 30_000)
    requests = [Request((Message("user", " ".join(words) + " leaf" * 72),), 2) for words in begins]
    Sampler(policy, Sampling(), torch.Generator(), 10**9).completions(requests)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
@pytest.mark.parametrize(("work", "setting"), [(LEARN, "optimiser.micro_tokens"), (SAMPLE, "sample_tokens")])
def test_the_setting_to_be_lowered_is_named(work: str, setting: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(work=work.strip())], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("There is not enough memory for "), done.stdout
    assert f"set {setting} lower than 1,000,000,000" in done.stdout
