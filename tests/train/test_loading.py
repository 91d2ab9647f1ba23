"""Loading policies from folders: LoRA, gradient checkpointing, bfloat16."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from data import needs_smollm2
from tiny import run

from memagent.core.records import Message
from memagent.errors import ModelError, UsageError
from memagent.models.chat import Sampling
from memagent.rl.config import PolicyConfig
from memagent.rl.conversations import Conversation
from memagent.train.batches import Family, collate, logprobs
from memagent.train.folder import newest
from memagent.train.generation import sample
from memagent.train.loading import load_policy, make_policy
from memagent.train.nano import nano_policy
from memagent.train.policy import Policy

CPU = torch.device("cpu")
TALK = [Conversation(tuple(range(4, 30)), tuple(range(5, 11))), Conversation(tuple(range(7, 20)), tuple(range(4, 8)))]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    nano_policy(1).save(folder)
    return folder


def gradients(policy: Policy) -> list[torch.Tensor]:
    policy.study()
    found, _ = logprobs(policy, collate([Family([[each] for each in TALK])], policy.pad))
    found.sum().backward()
    return [parameter.grad for parameter in policy.parameters if parameter.grad is not None]


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "runs/mine/checkpoints/rl-000050"])
def test_a_folder_that_is_not_there_is_said_to_be_missing(name: str) -> None:
    with pytest.raises(UsageError, match=f"There is no folder {name}"):
        make_policy(PolicyConfig(name), 0, CPU)


def test_an_adapter_makes_nobody_fetch_its_base(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_policy(PolicyConfig(str(base), lora_rank=2), 0, CPU).save(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "somebody/their-model"})
    )

    def connect(*_: object, **__: object) -> None:
        pytest.fail("it asked the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    with pytest.raises(
        ModelError, match=r"or its base somebody/their-model, cannot be loaded: .* is not on this machine"
    ):
        load_policy(tmp_path)


def test_code_and_pickles_in_a_folder_are_not_run(base: Path, tmp_path: Path) -> None:
    """Running them would leave a file behind."""
    folder, trap = tmp_path / "model", tmp_path / "sprung"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": auto}))
    (folder / "own.py").write_text(f"open({str(trap)!r}, 'w')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_policy(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    torch.save({"weights": _Trap(str(trap))}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        make_policy(PolicyConfig(str(folder)), 0, CPU)
    assert not trap.exists()


class _Trap:
    """An object whose pickle opens a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_gradient_checkpointing_changes_no_gradient(base: Path) -> None:
    usual = PolicyConfig(str(base))
    plain = gradients(make_policy(usual, 0, CPU))
    saving = make_policy(replace(usual, gradient_checkpointing=True), 0, CPU)
    found = gradients(saving)
    assert saving.model.training
    assert len(found) == len(plain) > 0
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
def test_gradient_checkpointing_trains_as_without_it(base: Path, tmp_path: Path) -> None:
    """Sampling in between needs the cache, which gradient checkpointing turns off."""
    sets = (f"policy.model='{base}'", "warmup.steps=2")
    plain, saving = (
        run(tmp_path / "plain", *sets),
        run(tmp_path / "saving", *sets, "policy.gradient_checkpointing=true"),
    )
    for row, other in zip(plain, saving, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3, abs=1e-6)


def test_an_adapter_alone_is_trained_and_comes_back(base: Path, tmp_path: Path) -> None:
    policy = make_policy(PolicyConfig(str(base), lora_rank=2), 0, CPU)
    assert sum(parameter.numel() for parameter in policy.parameters) < 0.1 * sum(
        parameter.numel() for parameter in policy.model.parameters()
    )
    run(tmp_path / "run", f"policy.model='{base}'", "policy.lora_rank=2", "warmup.learning_rate=1e-2")
    end = newest(tmp_path / "run")
    assert end is not None
    assert (end / "adapter_model.safetensors").is_file()
    trained = load_policy(end)
    before, _ = logprobs(load_policy(base), collate([Family([[each] for each in TALK])], policy.pad))
    after, _ = logprobs(trained, collate([Family([[each] for each in TALK])], policy.pad))
    assert not torch.allclose(before, after, atol=1e-3)
    again = make_policy(PolicyConfig(str(base), lora_rank=2), 5, CPU)
    again.load_weights(end)
    torch.testing.assert_close(logprobs(again, collate([Family([[each] for each in TALK])], policy.pad))[0], after)


def test_an_adapter_is_trained_on(base: Path, tmp_path: Path) -> None:
    """A second stage trains the adapter of the first."""
    first = make_policy(PolicyConfig(str(base), lora_rank=2), 0, CPU)
    first.save(tmp_path)
    second = make_policy(PolicyConfig(str(tmp_path), lora_rank=2), 0, CPU)
    assert [each.shape for each in second.parameters] == [each.shape for each in first.parameters]


def test_an_adapter_is_part_of_the_weights_while_it_is_sampled_from(base: Path) -> None:
    policy = make_policy(PolicyConfig(str(base), lora_rank=2), 0, CPU)
    with torch.no_grad():
        for parameter in policy.parameters:  # a new adapter changes nothing
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(parameter)))
    weights = {name: each.clone() for name, each in policy.model.state_dict().items()}
    talk = collate([Family([[each] for each in TALK])], policy.pad)
    apart, _ = logprobs(policy, talk)
    with policy.merged():
        merged, _ = logprobs(policy, talk)
        assert any(not torch.equal(each, weights[name]) for name, each in policy.model.state_dict().items())
    with policy.model.disable_adapter():
        assert not torch.allclose(logprobs(policy, talk)[0], apart, atol=1e-2)
    torch.testing.assert_close(merged, apart)
    assert all(torch.equal(each, weights[name]) for name, each in policy.model.state_dict().items())
    torch.testing.assert_close(logprobs(policy, talk)[0], apart, rtol=0, atol=0)


def test_models_that_would_be_computed_otherwise_are_refused(base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GraniteConfig, GraniteForCausalLM, MistralConfig, MistralForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(base)
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2,
    }  # fmt: skip
    sliding = MistralForCausalLM(MistralConfig(**sizes, sliding_window=6))
    scaled = GraniteForCausalLM(GraniteConfig(**sizes, logits_scaling=8.0, initializer_range=1.0))
    for model, why in ((sliding, "uses sliding-window attention"), (scaled, "post-processes its logits")):
        model.save_pretrained(tmp_path / why)
        tokenizer.save_pretrained(tmp_path / why)
        with pytest.raises(ModelError, match=why):
            load_policy(tmp_path / why)
    plain = tmp_path / "plain"
    nano_policy(1).save(plain)
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load_policy(plain)


def test_bfloat16_computes_in_it_and_trains_in_float32(base: Path) -> None:
    policy = make_policy(PolicyConfig(str(base), precision="bfloat16"), 0, CPU)
    assert {parameter.dtype for parameter in policy.parameters} == {torch.float32}
    exact, _ = logprobs(load_policy(base), collate([Family([[each] for each in TALK])], policy.pad))
    rough, _ = logprobs(policy, collate([Family([[each] for each in TALK])], policy.pad))
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.3


@needs_smollm2
@pytest.mark.slow
def test_a_model_of_the_catalogue_becomes_a_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is converted from its GGUF file once, and answers a question."""
    monkeypatch.setattr("memagent.train.loading.cache_folder", lambda: tmp_path)
    policy = make_policy(PolicyConfig("smollm2-135m", lora_rank=2), 0, torch.device("cpu"))
    [folder] = tmp_path.iterdir()
    assert (folder / "model.safetensors").stat().st_size > 4 * 130e6
    assert all("lora" in name for name, each in policy.model.named_parameters() if each.requires_grad)
    prompt = policy.render((Message("user", "What is the capital of France?"),))
    [one] = sample(policy, [prompt], [24], Sampling(0.0), torch.Generator())
    assert "Paris" in policy.decode(one.ids)
    saved = tmp_path / "saved"
    policy.save(saved)
    config = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "smollm2-135m"  # not a path of this machine
    again = load_policy(saved)
    [same] = sample(again, [prompt], [24], Sampling(0.0), torch.Generator())
    assert same.ids == one.ids
