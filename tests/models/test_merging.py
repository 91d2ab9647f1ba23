"""Merging an adapter into SmolLM2's GGUF file gives the same model as peft does."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import torch
from data import SMOLLM2, needs_smollm2

from memagent.core.records import Message, Request
from memagent.errors import ModelError, StorageError
from memagent.models import weights
from memagent.models.chat import Sampling
from memagent.models.local import LocalChat
from memagent.models.merging import merge
from memagent.models.weights import find_weights
from memagent.rl.config import PolicyConfig
from memagent.train.generation import sample
from memagent.train.loading import make_policy
from memagent.train.policy import Policy

pytestmark = [pytest.mark.engine, needs_smollm2]

QUESTIONS = ["What is the capital of France?", "Name three colours.", "Who wrote Hamlet?"]


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Return a policy with an adapter that changes the model's text."""
    policy = make_policy(PolicyConfig("smollm2-135m", lora_rank=4), 0, torch.device("cpu"))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.03)
    return policy


@pytest.fixture(scope="module")
def adapter(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    policy.save(folder)
    return folder


def said(policy: Policy, question: str) -> str:
    prompt = policy.render((Message("user", question),))
    [one] = sample(policy, [prompt], [24], Sampling(0.0), torch.Generator())
    return policy.decode(one.ids)


@pytest.mark.slow
def test_the_engine_says_with_the_merged_file_what_the_policy_says(
    policy: Policy, adapter: Path, tmp_path: Path
) -> None:
    merge(find_weights(SMOLLM2).path, adapter, tmp_path / "merged.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["merged.gguf"]

    async def answers() -> list[str]:
        chat = LocalChat(tmp_path / "merged.gguf", prompt_lookup=False)
        await chat.open()
        found = [(await chat.complete(Request((Message("user", each),), 24))).text for each in QUESTIONS]
        await chat.close()
        return found

    expected = [said(policy, question) for question in QUESTIONS]
    with policy.model.disable_adapter():
        assert [said(policy, question) for question in QUESTIONS] != expected
    assert asyncio.run(answers()) == expected


@pytest.mark.slow
def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    factors = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name.replace("layers.2.", "layers.99."): each for name, each in factors.items()},
        other / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match=r"does not fit .*, which has no blk\.99\."):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")
    save_file(
        {name: each[:-1] if "q_proj.lora_B" in name else each for name, each in factors.items()},
        other / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="has a different shape"):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize(
    ("setting", "value"), [("use_rslora", True), ("use_dora", True), ("modules_to_save", ["lm_head"])]
)
def test_more_than_plain_lora_is_refused(adapter: Path, tmp_path: Path, setting: str, value: object) -> None:
    other = shutil.copytree(adapter, tmp_path / "other")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {setting: value}))
    with pytest.raises(ModelError, match=f"sets {setting}, but memagent merges only plain LoRA"):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")


@pytest.mark.slow
def test_a_damaged_adapter_is_said(adapter: Path, tmp_path: Path) -> None:
    other = shutil.copytree(adapter, tmp_path / "other")
    whole = (other / "adapter_model.safetensors").read_bytes()
    (other / "adapter_model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(ModelError, match="is damaged"):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")
    (other / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match="is damaged"):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("r", 0), ("r", "16"), ("lora_alpha", -1), ("lora_alpha", "a"), ("base_model_name_or_path", None), ("r", 1)],
)
def test_an_adapter_that_says_strange_things_is_refused(
    adapter: Path, tmp_path: Path, setting: str, value: object
) -> None:
    other = shutil.copytree(adapter, tmp_path / "other")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {setting: value}))
    with pytest.raises(ModelError, match="is damaged"):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")
    if value != 1:  # an invalid setting is noticed before the weights are read
        with pytest.raises(ModelError, match="is damaged"):
            find_weights(other)


def test_half_a_pair_of_matrices_is_refused(adapter: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    other = shutil.copytree(adapter, tmp_path / "other")
    factors = load_file(adapter / "adapter_model.safetensors")
    del factors[next(name for name in factors if name.endswith("lora_B.weight"))]
    save_file(factors, other / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="is not part of a pair"):
        merge(find_weights(SMOLLM2).path, other, tmp_path / "merged.gguf")


def test_a_folder_that_cannot_be_written_is_said(adapter: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        merge(find_weights(SMOLLM2).path, adapter, Path("/proc/nowhere/merged.gguf"))


@pytest.mark.slow
def test_the_merged_file_is_made_once_and_again_where_it_was_damaged(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "policy_folder", lambda policy: adapter)
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path)
    found, base = find_weights("tiny"), find_weights(SMOLLM2)
    assert found.name != base.name
    assert (found.folder, base.adapter) == (adapter, None)
    file = found.engine_file()
    whole, made = file.read_bytes(), file.stat().st_mtime_ns
    assert found.engine_file() == file
    assert file.stat().st_mtime_ns == made
    with file.open("r+b") as opened:
        opened.seek(1_000_000)
        opened.write(b"\0" * 1000)
    assert file.read_bytes() != whole
    assert found.engine_file().read_bytes() == whole
    file.touch()
    touched = file.stat().st_mtime_ns
    assert found.engine_file().stat().st_mtime_ns == touched  # only the file's time is new
    assert LocalChat("tiny").model == found.name
    assert find_weights(adapter).engine_file().read_bytes() == whole
    assert find_weights(adapter).name == adapter.name
    assert LocalChat(SMOLLM2).model == base.name
