"""The paper's recipes: what verl gets of them, and the figures of a dry run, without weights and without a network."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

from omegaconf import OmegaConf
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

import memagent.cli.train  # noqa: F401 (adds the command)
from memagent.cli import app
from memagent.core.prompts import ANSWER_BOXED, NO_MEMORY, UPDATE

SIZES = {
    "paper-7b": (7.62, 28, 3584, 28, 4, 18944),
    "paper-14b": (14.77, 48, 5120, 40, 8, 13824),
}
"""Billions of weights, and the values in config.json: layers, hidden size, heads, heads of keys, inner size."""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The pieces that Qwen's tokenizer splits text into."""
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = "the town bridge river market built old hill few people live there in a long way from other".split()


def paragraphs() -> list[dict[str, str]]:
    chance = random.Random(0)
    return [
        {"title": f"Hill {number}", "text": " ".join(chance.choice(WORDS) for _ in range(150)) + "."}
        for number in range(400)
    ]


def questions() -> list[dict[str, Any]]:
    """Return data in the form of HotpotQA: who wrote the book that a film is based on?"""
    rows = []
    for town in ("Marlow", "Tenby", "Orsay", "Harrow", "Skerry", "Calder"):
        film, book = f"Night in {town}", f"A Year in {town}"
        context = [[film, [f"{film} was made after the book {book}."]], [book, [f"{book} is a book by Ada {town}."]]]
        rows.append(
            {
                "_id": film,
                "question": f"Who wrote the book that the film {film} was made after?",
                "answer": f"Ada {town}",
                "type": "bridge",
                "level": "easy",
                "supporting_facts": [[film, 0], [book, 0]],
                "context": context,
            }
        )
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write the data of the recipes. Returns the options that name it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "questions.json").write_text(json.dumps(questions()))
    (folder / "paragraphs.jsonl").write_text("\n".join(map(json.dumps, paragraphs())))
    paths = {"hotpotqa": folder / "questions.json", "paragraphs": folder / "paragraphs.jsonl"}
    return [part for name, path in paths.items() for part in ("--set", f"problems.{name}={path}")]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Return a small tokenizer that counts the templates nearly as Qwen's does (7,168 for the longest prompt)."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    texts = [UPDATE, ANSWER_BOXED, TEMPLATE, NO_MEMORY, "user", *(each["text"] for each in paragraphs())]
    made.train_from_iterator(texts * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )


def model(folder: Path, preset: str, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Write the folder of a model, without its weights."""
    _, layers, hidden, heads, keys, inner = SIZES[preset]
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "intermediate_size": inner,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
        "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


def train(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["train", "--engine", "verl", "--dry-run", *arguments])


@pytest.mark.parametrize("preset", SIZES)
def test_a_dry_run_of_a_recipe(
    preset: str, data: list[str], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    place = model(tmp_path / "model", preset, tokenizer)
    out = tmp_path / "out"
    options = ["--preset", preset, "--out", str(out), "--set", f"policy.model={place}", *data]
    found = train(*options, "--json")
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    billions, layers, hidden, *_ = SIZES[preset]
    small = preset == "paper-7b"
    assert round(figures["size"]["weights"] / 1e9, 2) == billions
    assert figures["size"]["trained"] == figures["size"]["weights"]
    assert (figures["size"]["layers"], figures["size"]["hidden"]) == (layers, hidden)
    assert figures["gpus"] == 32
    assert figures["readings"] == (2048 if small else 4096)
    assert 7 <= figures["conversations"] / figures["readings"] - 1 <= 8  # segments, without the answer
    assert 32_768 < figures["tokens"] / figures["readings"] < 8 * 8192
    assert 7_100 < figures["longest_prompt"] <= figures["prompt_limit"] == 7_168
    assert figures["completion_limit"] == 1_024
    shards = 16 * figures["size"]["weights"] / 32
    memory = figures["memory"]
    assert memory["weights"] + memory["gradients"] + memory["optimiser"] == pytest.approx(shards)
    assert figures["reference"] == pytest.approx(4 * figures["size"]["weights"] / 4)

    got = OmegaConf.load(out / "dry-run" / "verl.yaml")
    actor, rollout = got["actor_rollout_ref"]["actor"], got["actor_rollout_ref"]["rollout"]
    assert (got["data"]["train_batch_size"], rollout["n"]) == (128 if small else 256, 16)
    assert (got["data"]["max_prompt_length"], got["data"]["max_response_length"]) == (7_168, 1_024)
    assert (rollout["prompt_length"], rollout["response_length"], rollout["temperature"]) == (7_168, 1_024, 1.0)
    assert rollout["top_p"] == 1
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"], actor["clip_ratio_c"]) == (0.2, 0.2, 3.0)
    assert (actor["use_kl_loss"], actor["kl_loss_coef"], actor["kl_loss_type"]) == (True, 0.001, "low_var_kl")
    assert (actor["entropy_coeff"], actor["grad_clip"], actor["loss_agg_mode"]) == (0, 1.0, "token-mean")
    optim = actor["optim"]
    assert (optim["lr"], optim["weight_decay"], optim["lr_warmup_steps"]) == (1e-6, 0.01, 20)
    assert optim["lr_scheduler_type"] == "constant"
    assert got["algorithm"]["norm_adv_by_std_in_grpo"] is False
    assert got["algorithm"]["filter_groups"]["enable"] is False
    assert got["memagent"]["optimiser_steps"] == 16
    assert (got["trainer"]["nnodes"], got["trainer"]["n_gpus_per_node"]) == (4, 8)
    assert got["trainer"]["total_training_steps"] == 400
    assert got["actor_rollout_ref"]["model"]["enable_gradient_checkpointing"] is True

    assert not (out / "config.json").exists()  # a real run may still use the folder


def test_a_dry_run_may_be_repeated_and_has_its_figures_in_words(
    data: list[str], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    place = model(tmp_path / "model", "paper-7b", tokenizer)
    options = ["--preset", "paper-7b", "--out", str(tmp_path / "out"), "--set", f"policy.model={place}", *data]
    # verl checks the rank of an adapter with vLLM's own code, which is not installed here.
    adapter = ["policy.lora_rank=32", "cluster.sampler=sglang", "watch.final_lengths=['32k']"]
    for more in ([], [part for setting in adapter for part in ("--set", setting)]):
        found = train(*options, *more)
        assert found.exit_code == 0, found.output
    assert re.search(r"^weights +7\.7\d billion, \d\d\.\d million of them trained$", found.stdout, re.MULTILINE)
    assert "main memory" not in found.stdout  # an adapter is switched off for the KL divergence
    assert "There is no evaluation at the end (watch.final_lengths)." in found.stdout


def test_the_data_and_what_verl_refuses(data: list[str], tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    place = model(tmp_path / "model", "paper-7b", tokenizer)
    options = ["--preset", "paper-7b", "--out", str(tmp_path / "out"), "--set", f"policy.model={place}"]
    found = train(*options, *data[:2])
    assert "Data for hqa is missing: give --set problems.paragraphs=PATH" in str(found.exception)
    found = train(*options, *data, "--set", "problems.segment_tokens=6000")
    assert "together more than the window of 8,192" in str(found.exception)
    found = train(*options, *data, "--set", 'cluster.verl=["actor_rollout_ref.actor.loss_agg_mode=mean"]')
    assert "verl refuses the settings" in str(found.exception)
