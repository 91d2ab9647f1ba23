"""The embedded model: any GGUF file or OpenVINO folder, run by OpenVINO GenAI on this machine.

The engine and its library are loaded by `open()`, not on import.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.core.records import Completion, Message, Request, Usage
from memagent.core.tokenizer import EstimatedTokenizer, FileTokenizer, Tokenizer
from memagent.errors import ModelError, WindowOverflow
from memagent.models.chat import OnText, Sampling
from memagent.models.reader_defaults import load_reader_defaults
from memagent.models.weights import find_weights

if TYPE_CHECKING:
    from memagent.models.engine import Engine, Output

# Guessed tokens a step, and the longest phrase looked up to guess them: see LOG.md for how they were chosen.
GUESSES = 5
NGRAM = 3

# Text that shows whether two tokenizers agree: spaces, digits, case, accents, several scripts.
_PROBE = "It's 12345 o'clock,\n\n  naïve DON'T\twait…\r\n x=3.14; 日本語 😀\n\u00a0end "


class LocalChat:
    """A model on this machine. Greedy unless `sampling` says otherwise.

    Args:
        path: a GGUF file, an OpenVINO folder, or one with a LoRA adapter of the default model (with `memagent.json` in
            the folder, where it was trained to read); None for the default model, `base` for that one untrained.
        prompt_lookup: see `Engine`. Used for greedy decoding only.
        window: tokens that prompt and completion may have together, when the model's own number is to be changed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        sampling: Sampling | None = None,
        prompt_lookup: bool = True,
        window: int | None = None,
    ) -> None:
        self._weights = find_weights(path)
        self.sampling = sampling or Sampling()
        self.defaults = load_reader_defaults(self._weights.folder)
        self.lag = 0
        self.warnings: Sequence[str] = ()
        self._prompt_lookup = prompt_lookup and self.sampling.temperature == 0
        self.model = self._weights.name
        self.window = window or self._weights.window
        self.tokenizer: Tokenizer = self._weights.tokenizer or EstimatedTokenizer()
        self._engine: Engine | None = None

    @property
    def engine_seconds(self) -> float:
        """Seconds spent inside the engine so far."""
        return self._engine.seconds if self._engine else 0.0

    async def open(self) -> None:
        if self._engine is None:
            from memagent.models.engine import Engine

            engine = Engine(self._weights.engine_file(), prompt_lookup=self._prompt_lookup)
            ours = self._weights.tokenizer
            if ours and ours.ids(_PROBE) != engine.encode(_PROBE):
                raise ModelError(f"The tokenizer of {self.model} is not the one the engine uses: give another model.")
            self._engine = engine

    async def close(self) -> None:
        self._engine = None

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        return len(self._prompt_ids(messages))

    async def complete(self, request: Request, on_text: OnText | None = None) -> Completion:
        engine = self._opened
        ids = self._prompt_ids(request.messages)
        if self.window is not None and len(ids) + request.max_tokens > self.window:
            raise WindowOverflow(
                f"A prompt of {len(ids):,} tokens and {request.max_tokens:,} for the completion do not fit the "
                f"window of {self.window:,}: lower --segment-tokens or --memory-tokens."
            )
        show = (lambda so_far: on_text(self._decode(so_far))) if on_text else None
        output = await engine.generate(ids, self._config(request.max_tokens), show)
        return self._completion(len(ids), output)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise ModelError("The model is not loaded: await open() first.")
        return self._engine

    def _completion(self, prompt_tokens: int, output: Output) -> Completion:
        usage = Usage(prompt_tokens, len(output.ids), output.seconds)
        return Completion(self._decode(output.ids), "length" if output.cut else "stop", usage)

    def _decode(self, ids: list[int]) -> str:
        return str(self._opened.tokenizer.decode(ids))

    def _config(self, max_tokens: int) -> Any:
        import openvino_genai as ov

        engine, sampling = self._opened, self.sampling
        config = ov.GenerationConfig()
        config.max_new_tokens = max_tokens
        ends = {engine.tokenizer.get_eos_token_id(), engine.defaults.eos_token_id, *engine.defaults.stop_token_ids}
        config.stop_token_ids = {token for token in ends if token >= 0}
        config.eos_token_id = engine.tokenizer.get_eos_token_id()
        if sampling.temperature > 0:
            config.do_sample = True
            config.temperature = sampling.temperature
            config.top_p = 1.0 if sampling.top_p is None else sampling.top_p
            config.rng_seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        if self._prompt_lookup:
            config.num_assistant_tokens = GUESSES
            config.max_ngram_size = NGRAM
        return config

    def _prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The prompt as tokens. Only the chat template's own text may become special tokens.

        A document that contains "<|im_end|>" must not be able to end the user's message: the contents are left out
        of the rendered template and encoded as plain text.
        """
        marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
        rendered = self._opened.tokenizer.apply_chat_template(
            [{"role": message.role, "content": mark} for message, mark in zip(messages, marks, strict=True)],
            add_generation_prompt=True,
        )
        encode = self._opened.encode
        plain = self.tokenizer.ids if isinstance(self.tokenizer, FileTokenizer) else encode
        ids: list[int] = []
        for message, mark in zip(messages, marks, strict=True):
            before, _, rendered = rendered.partition(mark)
            ids += encode(before) + plain(message.content)
        return ids + encode(rendered)
