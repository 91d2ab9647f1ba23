"""The model's own check: does the memory answer the problem, and if not, what is to be searched for?"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts, request
from memagent.core.records import Completion, Request
from memagent.core.scoring import final_answer
from memagent.readers.overwrite import answer
from memagent.readers.quotes import quotes_of

CHECK_TOKENS = 256
"""Most tokens of a check. The reply is a word or a line, but some models think first."""

_REPLY = re.compile(r"\W*(yes|no)\b[\s:.,;–—-]*(.*)", re.IGNORECASE | re.DOTALL)
_ABSTAINS = re.compile(
    r"\b(?:does not|doesn['’]t|not) (?:say|mention|state|contain|tell)|\bnot (?:mentioned|stated|given|known)\b"
    r"|\bno (?:information|answer|mention)\b|\b(?:unknown|unanswerable)\b|\bcannot be\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    enough: bool = False
    """Whether the memory answers the question."""
    query: str = ""
    """Words to search the document for; empty if there are none."""
    answer: str | None = None
    """The answer from this memory, if the check was to ask for it."""


Checking = Generator[Request, Completion, Verdict]


def check(question: str, memory: str, budget: Budget, prompts: Prompts) -> Checking:
    """Ask for YES, or NO and words to search for. Any other reply counts as NO without words."""
    fields = {"prompt": question, "memory": memory}
    tokens = min(CHECK_TOKENS, budget.answer)
    reply = _REPLY.fullmatch((yield request(prompts.check, fields, tokens, None, memory, "check")).text)
    if reply is None:
        return Verdict()
    enough = reply[1].lower() == "yes"
    return Verdict(enough, "" if enough else reply[2].strip())


def check_by_answer(question: str, memory: str, budget: Budget, prompts: Prompts) -> Checking:
    """Ask for the answer itself, which is enough unless it says that the text does not say.

    For a memory of quotes, and models that were trained to keep one and for nothing else.
    """
    if not quotes_of(memory):
        return Verdict(query=question)
    said = (yield answer(question, memory, budget, prompts)).text
    return Verdict(not _ABSTAINS.search(final_answer(said, prompts.style)), question, said)
