r"""The prompt templates.

The paper's three templates are protocol constants: the released RL-MemoryAgent weights were trained on exactly
these bytes (arXiv 2507.02259 and its authors' repository). `tests/core/test_prompts.py` holds their sha256.

`UPDATE_SECTION_FIRST` is our own: the segment comes before the problem and the memory, so that all questions about one
document share the longest part of the prompt, and an engine with a prefix cache computes it once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from memagent.core.records import Message, Request, Segment
from memagent.errors import UsageError

NO_MEMORY = "No previous memory"
"""The memory before the first segment (the paper's m_0)."""

NOTHING = "Nothing relevant yet."
"""The memory of a perfect reader that has not read anything relevant yet."""

UPDATE = """\
You are presented with a problem, a section of an article that may contain the answer to the problem, \
and a previous memory. Please read the provided section carefully and update the memory with the new \
information that helps to answer the problem. Be sure to retain all relevant details from the previous \
memory while adding any new, useful information.

<problem>\x20
{prompt}
</problem>

<memory>
{memory}
</memory>

<section>
{chunk}
</section>

Updated memory:
"""

ANSWER_BOXED = """\
You are presented with a problem and a previous memory. Please answer the problem based on the previous \
memory and put the answer in \\boxed{}.

<problem>\x20
{prompt}
</problem>

<memory>
{memory}
</memory>

Your answer:
"""

ANSWER_SENTENCE = ANSWER_BOXED.replace(
    "and put the answer in \\boxed{}.",
    'and format your response as follows "Therefore, the answer is (insert answer here)".',
)

UPDATE_SECTION_FIRST = """\
You are presented with a section of an article that may contain the answer to a problem, the problem, \
and a previous memory. Please read the provided section carefully and update the memory with the new \
information that helps to answer the problem. Be sure to retain all relevant details from the previous \
memory while adding any new, useful information.

<section>
{chunk}
</section>

<problem>\x20
{prompt}
</problem>

<memory>
{memory}
</memory>

Updated memory:
"""

COLLECT = """\
You are presented with a section of a document, a problem, and the sentences collected so far. Copy from the section, \
word for word, what helps to solve the problem and is not collected yet: each name, number or phrase on a line after a \
hyphen. If the section has nothing, reply NONE.

Section:
{chunk}

Problem: {prompt}

Collected so far:
{memory}

New from this section, or NONE:
"""
"""Our own, for a memory that collects quotes. The model copies a few words, and the memory keeps the sentence around
them. The segment comes first, so that questions share it.

The hyphen makes one token decide whether there is something to collect. Without it, NONE competes with the first word
of every sentence, and wins under greedy decoding even if most of the probability is on the sentences.
"""

CHOOSE = """\
You are presented with a problem and numbered sentences that were collected for it. There is no room for all of them. \
Reply with the numbers of the sentences that help to solve the problem, or NONE.

Problem: {prompt}

Collected so far:
{quotes}

Numbers:
"""
"""Our own, for a memory of quotes that has become too long."""

NONE = "NONE"
"""The reply to COLLECT when a segment has nothing to collect."""

NO_CHANGE = "NO CHANGE"
"""The reply to a prompt with GATE when a segment adds nothing."""

GATE = f"If the section adds nothing that helps to answer the problem, reply only {NO_CHANGE}."
"""Our own, for readers with a gate: a sentence that is added to the update template."""

MERGE = """\
You are presented with a problem, a memory, and notes from several sections of an article, in the article's order. \
Please write one memory with all the information in the memory and the notes that helps to answer the problem, each \
fact once.

<problem>\x20
{prompt}
</problem>

<memory>
{memory}
</memory>

<notes>
{notes}
</notes>

Merged memory:
"""
"""Our own, to merge notes that were taken at the same time into one memory."""

CHECK = """\
You are presented with a problem and a memory of what was read in an article. Please decide whether the memory \
contains everything that is needed to answer the problem. If it does, reply only YES. If not, reply NO, followed by a \
few words to search the article for.

<problem>\x20
{prompt}
</problem>

<memory>
{memory}
</memory>

YES, or NO and what to search for:
"""
"""Our own, for readers that stop early, read again or search: it asks whether the memory is enough."""

Layout = Literal["paper", "section-first"]
AnswerStyle = Literal["boxed", "sentence"]

_UPDATES: dict[str, str] = {"paper": UPDATE, "section-first": UPDATE_SECTION_FIRST}
_ANSWERS: dict[str, str] = {"boxed": ANSWER_BOXED, "sentence": ANSWER_SENTENCE}


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates of a reading. The paper's loop uses the first two; see `memagent.readers` for the rest."""

    update: str = UPDATE
    """Template with {prompt}, {memory} and {chunk} that asks for the next memory."""
    answer: str = ANSWER_BOXED
    """Template with {prompt} and {memory} that asks for the answer."""
    gate: str = GATE
    """Sentence that `gated` adds to `update`; empty for none."""
    merge: str = MERGE
    """Template with {prompt}, {memory} and {notes} that asks for one memory."""
    check: str = CHECK
    """Template with {prompt} and {memory} that asks whether the memory is enough."""

    @property
    def names(self) -> tuple[str, str]:
        """Names of layout and answer style, as `prompts_for` takes them. A custom template is its own name."""
        return _name(_UPDATES, self.update), _name(_ANSWERS, self.answer)

    @property
    def style(self) -> AnswerStyle | None:
        """Format from which the answer is extracted; None if the whole completion is the answer."""
        if "\\boxed" in self.answer:
            return "boxed"
        return "sentence" if self.answer == ANSWER_SENTENCE else None

    @property
    def gated(self) -> str:
        """The update template with the gate added.

        The gate comes before the last paragraph ("Updated memory:"), or at the end if there is only one paragraph.
        """
        head, blank, last = self.update.rpartition("\n\n")
        if not self.gate:
            return self.update
        return f"{head}{blank}{self.gate}{blank}{last}" if blank else f"{self.update} {self.gate}"


def prompts_for(layout: str = "paper", answer: str = "boxed", others: Prompts | None = None) -> Prompts:
    """Return the templates for a layout and an answer style; either may also be a custom template.

    Args:
        others: prompts to take the other templates from; None for the default ones.

    Raises:
        UsageError: there is no such layout or style, or a template lacks a field.
    """
    return replace(
        others or Prompts(),
        update=_template(_UPDATES, layout, ("{prompt}", "{memory}", "{chunk}")),
        answer=_template(_ANSWERS, answer, ("{prompt}", "{memory}")),
    )


def _name(known: dict[str, str], template: str) -> str:
    return next((name for name, each in known.items() if each == template), template)


def _template(known: dict[str, str], name: str, fields: tuple[str, ...]) -> str:
    if name in known:
        return known[name]
    if missing := [field for field in fields if field not in name]:
        raise UsageError(
            f"{name} is neither one of {', '.join(known)} nor a template, which needs {' and '.join(missing)}."
        )
    return name


def request(
    template: str,
    fields: Mapping[str, str],
    max_tokens: int,
    segment: Segment | None = None,
    memory: str = "",
    kind: str = "memorize",
) -> Request:
    """Return a Request of one message: the filled template."""
    message = Message("user", fill(template, **fields))
    return Request((message,), max_tokens, segment, memory, kind, template, tuple(fields.items()))


def fill(template: str, **fields: str) -> str:
    """Put `fields` into `template` in one pass, so that a field that contains "{memory}" stays as it is."""
    return re.sub(r"\{(\w+)\}", lambda match: fields.get(match[1], match[0]), template)
