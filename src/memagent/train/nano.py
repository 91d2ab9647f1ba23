"""The nano policy, from scratch: a Llama with fewer than 200,000 weights, and a tokenizer of about a hundred words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memagent.core.budget import Budget
from memagent.core.prompts import NO_CHANGE, NO_MEMORY, Prompts
from memagent.models.reader_defaults import ReaderDefaults
from memagent.tasks.practice.colours import COLOURS, DIGITS, FILLER, NOTHING
from memagent.train.policy import Policy

PROMPTS = Prompts(
    update="{prompt} | {memory} | {chunk} >",
    answer="{prompt} | {memory} ?",
    gate="",
    merge="{prompt} | {memory} | {notes} &",
    check="{prompt} | {memory} !",
)
"""Short templates without a gate. Every word is a token, so the paper's templates would be four times as long as their
contents."""

_NEEDLES = [colour + digit for colour in COLOURS for digit in DIGITS]
_SIGNS = ["|", ">", "?", "&", "!"]
_WORDS = [*NO_MEMORY.split(), *NO_CHANGE.split(), "YES", NOTHING, *_SIGNS, *COLOURS, *_NEEDLES, *FILLER]
_PAD, _END, _UNKNOWN = "<no word>", "<the end>", "<unknown word>"  # the spaces keep them out of any text


def nano_policy(seed: int, segment: int = 24, autocast: bool = False) -> Policy:
    """An untrained policy for `memagent.tasks.practice.colours`."""
    defaults = ReaderDefaults(PROMPTS, Budget(question=8, segment=segment, memory=6, answer=6))
    return small_policy(_WORDS, seed, defaults, autocast=autocast)


def small_policy(
    words: Sequence[str],
    seed: int,
    defaults: ReaderDefaults | None = None,
    *,
    width: int = 64,
    layers: int = 3,
    heads: int = 4,
    autocast: bool = False,
) -> Policy:
    """An untrained Llama over your own vocabulary. The seed determines its weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer(words)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    return Policy(LlamaForCausalLM(config), tokenizer, defaults or ReaderDefaults(), autocast=autocast)


def word_tokenizer(words: Sequence[str]) -> Any:
    """A tokenizer with one token per word, split at white space. Its chat template adds nothing."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([_PAD, _END, _UNKNOWN, *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=_PAD, eos_token=_END, unk_token=_UNKNOWN, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    return tokenizer
