"""Remove a model's reasoning from the front of its reply if the server left it there.

Reasoning is removed if the reply begins with an opening tag. If the chat template wrote the opening tag in the prompt,
reasoning is removed up to a closing tag that ends a line. A reply that merely mentions such a tag keeps all its text.
"""

from __future__ import annotations

import re

_TAGS = ("think", "thinking", "thought", "thoughts", "reasoning", "reason", "analysis", "seed:think")
_WRAPPERS: tuple[tuple[str, str], ...] = (
    *((f"<{tag}>", f"</{tag}>") for tag in _TAGS),
    ("[think]", "[/think]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss, with its special tokens
    ("analysis", "assistantfinal"),  # the same, after a server has dropped them
)
"""Opening and closing tags of reasoning, in lower case."""

_CLOSED = re.compile(r"</think(?:ing)?>[^\S\n]*(?:\n|$)", re.IGNORECASE)
"""Matches the end of reasoning that the chat template opened."""

_LEFT_BEFORE = re.compile(r"^(?:<\|start\|>assistant|<\|begin_of_solution\|>|\s)+")
_LEFT_AFTER = (
    *(f"<|{name}|>" for name in ("im_end", "eot_id", "eom_id", "end", "return", "endoftext", "end_of_solution")),
    "</s>",
    "<end_of_turn>",
)
"""Special tokens that servers leave at the end of a reply."""


def without_reasoning(reply: str) -> tuple[str, bool]:
    """Return the text of a reply, and whether reasoning was removed. Reasoning that never ends leaves no text."""
    begun = reply.lstrip()
    lower = begun.lower()
    for opening, closing in _WRAPPERS:
        if lower.startswith(opening):
            end = lower.find(closing, len(opening))
            if end < 0 and opening == "analysis":  # probably just the word
                break
            return ("" if end < 0 else _cleaned(begun[end + len(closing) :])), True
    if (closed := _CLOSED.search(reply)) and "<think" not in reply[: closed.start()].lower():
        return _cleaned(reply[closed.end() :]), True
    return _ended(reply), False


def may_be_reasoning(reply: str) -> bool:
    """Whether a reply that is still being written may turn out to begin with reasoning."""
    begun = reply.lstrip().lower()
    return not begun or any(opening.startswith(begun) for opening, _ in _WRAPPERS)


def _cleaned(text: str) -> str:
    return _ended(_LEFT_BEFORE.sub("", text))


def _ended(text: str) -> str:
    """Return the text without the special tokens at its end."""
    while (bare := text.rstrip()).endswith(_LEFT_AFTER):
        text = bare[: bare.rindex("<")].rstrip()
    return text
