"""Ask the model whether the memory answers the question, and if not, what to search for."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass, replace

from memagent.core.budget import Budget
from memagent.core.prompts import Prompts, request
from memagent.core.records import Completion, Request
from memagent.core.scoring import abstains, final_answer
from memagent.readers.overwrite import answer
from memagent.readers.quotes import quotes_of

_REPLY = re.compile(r"\W*(yes|no)\b[\s:.,;–—-]*(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a check."""

    enough: bool = False
    """Whether the memory answers the question."""
    query: str = ""
    """Words to search the document for; empty if there are none."""
    missing: str = ""
    """The model's own words for what is missing; empty if it does not say."""


Checking = Generator[Request, Completion, Verdict]


def check(question: str, memory: str, budget: Budget, prompts: Prompts) -> Checking:
    """Ask for YES, or NO and words to search for. Any other reply counts as NO without words."""
    fields = {"prompt": question, "memory": memory}
    reply = _REPLY.fullmatch((yield request(prompts.check, fields, budget.answer, None, memory, "check")).text)
    if reply is None:
        return Verdict()
    missing = "" if reply[1].lower() == "yes" else reply[2].strip()
    return Verdict(reply[1].lower() == "yes", missing, missing)


def try_answer(question: str, memory: str, budget: Budget, prompts: Prompts) -> Checking:
    """Ask for the answer. The memory is enough unless the reply is empty or says that the text does not say.

    This check is for a memory of quotes, because a model that keeps one was trained for no other question. Quotes
    that are enough may still lead to another quote, so the verdict always has a query.
    """
    if not quotes_of(memory):
        return Verdict(query=question)
    said = (yield replace(answer(question, memory, budget, prompts), kind="try")).text
    enough = bool(final_answer(said, prompts.style).strip()) and not abstains(said, ())
    return Verdict(enough, f"{question}\n{memory}")
