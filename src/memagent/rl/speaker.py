"""The part of a policy without weights: its tokenizer, its chat template, and how it was trained to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memagent.core.records import Message
from memagent.core.tokenizer import FileTokenizer
from memagent.models.reader_defaults import ReaderDefaults


class Speaker:
    """Turns conversations into tokens and back.

    Args:
        tokenizer: a fast tokenizer of transformers with a chat template.
    """

    def __init__(self, tokenizer: Any, defaults: ReaderDefaults) -> None:
        self.defaults = defaults
        self.transformers_tokenizer = tokenizer
        self.tokenizer = FileTokenizer(tokenizer.backend_tokenizer)
        self.end: int = tokenizer.eos_token_id
        """Token that ends a completion."""
        self.pad: int = self.end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._frames: dict[tuple[str, ...], list[list[int]]] = {}

    def render(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a prompt. Only the chat template's own text may become special tokens."""
        roles = tuple(message.role for message in messages)
        frame = self._frames.get(roles)
        if frame is None:
            frame = self._frames[roles] = self._frame(roles)
        ids = list(frame[0])
        for message, after in zip(messages, frame[1:], strict=True):
            ids += self.tokenizer.ids(message.content)
            ids += after
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a completion, without the token that ended it."""
        return str(self.transformers_tokenizer.decode(ids, skip_special_tokens=True))

    def _frame(self, roles: Sequence[str]) -> list[list[int]]:
        """The tokens of the chat template before, between and after the contents of messages with these roles."""
        marks = [f"\ue000{index}\ue001" for index in range(len(roles))]
        rendered = self.transformers_tokenizer.apply_chat_template(
            [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)],
            add_generation_prompt=True,
            tokenize=False,
        )
        pieces = []
        for mark in marks:
            before, _, rendered = rendered.partition(mark)
            pieces.append(before)
        backend = self.tokenizer.tokenizer
        backend.encode_special_tokens = False
        frame = [list(backend.encode(piece, add_special_tokens=False).ids) for piece in [*pieces, rendered]]
        backend.encode_special_tokens = True
        return frame
