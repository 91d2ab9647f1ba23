"""Train for some minutes on the lessons that lessons.py makes, and write the adapter in parts.

    python training/kit/train_kit.py PLACE MINUTES OUT [SETTING …]

OUT gets metrics.jsonl and the adapter in float16, in parts of 15 MiB: final/ and, as a reserve, middle/ from after 0.6
of the time. Training continues from PLACE/adapter if it exists. The learning rate falls to zero with the time, because
the number of steps is not known.
"""

from __future__ import annotations

import json
import math
import pickle
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from parts import split
from safetensors.torch import load_file, save_file
from settings import BASE, settings
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from memagent.rl.problem_mix import adapted
from memagent.train.batches import Pack
from memagent.train.learner import Learner
from memagent.train.loading import make_policy
from memagent.train.policy import Policy
from memagent.train.processes import Processes
from memagent.train.warmup import imitation

FALLING = 0.6  # share of the time in which the learning rate falls, at the end
RESERVE = 0.6  # share of the time after which an adapter is saved as a reserve


def load(place: Path, folders: int, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    """The model and the tokenizer, once all weights have arrived."""
    with device:
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place / "model"), dtype=dtype)
    model.generation_config = GenerationConfig.from_pretrained(place / "model")
    parameters, rows = dict(model.named_parameters()), dict.fromkeys(dict(model.named_parameters()), 0)
    for number in range(folders):
        file = place / "weights" / f"{number:02}.pt"
        while not file.is_file():
            time.sleep(0.2)
        for key, values in torch.load(file).items():
            name, first, _ = key.split(" ")
            parameters[name].data[int(first) : int(first) + len(values)].copy_(values)
            rows[name] += len(values)
    if missing := [name for name, found in rows.items() if found != len(parameters[name])]:
        sys.exit(f"The kit lacks weights of {', '.join(missing)}: send it again.")
    return model, AutoTokenizer.from_pretrained(place / "model")


def keep(policy: Policy, place: Path, out: Path) -> None:
    """Write the adapter in float16, in parts."""
    folder = place / out.name
    policy.save(folder)
    weights = folder / "adapter_model.safetensors"
    half = {name: each.to(torch.float16) for name, each in load_file(weights).items()}
    save_file(half, weights, metadata={"format": "pt"})
    with tarfile.open(place / f"{out.name}.tar", "w") as archive:
        for name in ("adapter_config.json", "adapter_model.safetensors", "memagent.json"):
            archive.add(folder / name, name)
    split(place / f"{out.name}.tar", out, 15)


def next_packs(place: Path, step: int) -> list[Pack]:
    file = place / "lessons" / f"{step}.pkl"
    while not file.is_file():
        time.sleep(0.01)
    found: list[Pack] = pickle.loads(file.read_bytes())
    return found


def main(place: Path, minutes: float, out: Path, more: Sequence[str]) -> None:
    config, processes = settings(place, more), Processes()
    folders = int((place / "folders").read_text(encoding="utf-8"))
    policy = make_policy(
        config.policy, config.seed, processes.device, lambda name, dtype: load(place, folders, dtype, processes.device)
    )
    policy.defaults = adapted(policy.defaults, config.problems)
    if (place / "adapter").is_dir():
        policy.load_weights(place / "adapter")
    learner = Learner(policy, config.warmup.learning_rate, config.warmup.steps, config.optimiser, processes)
    out.mkdir(parents=True, exist_ok=True)
    began, step, tokens, reserve = time.monotonic(), 0, 0, False
    with (out / "metrics.jsonl").open("w", encoding="utf-8") as metrics:
        while (passed := (time.monotonic() - began) / (60 * minutes)) < 1:
            if passed >= RESERVE and not reserve:
                keep(policy, place, out / "middle")
                reserve = True
            rising = min((step + 1) / max(config.optimiser.warmup_steps, 1), 1.0)
            for group in learner.optimiser.param_groups:
                group["lr"] = config.warmup.learning_rate * rising * min(1.0, (1 - passed) / FALLING)
            packs = next_packs(place, step)
            figures = learner.step_on(packs, imitation)
            step += 1
            tokens += sum(family.real for pack in packs for family in pack)
            speed = tokens / (time.monotonic() - began)
            metrics.write(json.dumps({"step": step, **figures, "tokens_per_second": speed}) + "\n")
            if step % 50 == 0 or step == 1:
                print(f"{passed:.0%}: step {step}, loss {figures['loss']:.3f}, {speed:.0f} tokens/s", flush=True)
    keep(policy, place, out / "final")
    print(f"{step} steps; join the parts with parts.py, base {BASE}")


if __name__ == "__main__":
    if len(sys.argv) < 4 or not math.isfinite(float(sys.argv[2])):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
