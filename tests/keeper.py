"""A text about lighthouse keepers, and a perfect model that reads it with any reader."""

from __future__ import annotations

import re
from collections.abc import Iterable

from memagent.core.prompts import COLLECT, GATE
from memagent.core.records import Request, Segment

ASKED = (3, 44)
QUESTION = "Which keys are hidden in the lighthouses 3 and 44?"
FILLER = "The sea was grey that morning and nobody spoke of it. "


def fact(number: int) -> str:
    return f"The keeper of lighthouse {number} hides the key {number * 7919}."


KEYS = ", ".join(str(number * 7919) for number in ASKED)
FACTS = [fact(number) for number in ASKED]
_FACT = re.compile(rf"The keeper of lighthouse (?:{'|'.join(map(str, ASKED))}) hides the key \d+\.")


def text(paragraphs: int = 60, filler: int = 3) -> str:
    return "\n\n".join(FILLER * filler + fact(number) for number in range(paragraphs))


def pieces(*texts: str) -> list[Segment]:
    """Return one segment for each text. Every character is a token."""
    found, place = [], 0
    for each in texts:
        found.append(Segment(place, place + len(each), each, len(each)))
        place += len(each)
    return found


def _known(text: str) -> list[str]:
    return list(dict.fromkeys(_FACT.findall(text)))


def perfect(request: Request) -> str:
    """Reply as a perfect model does."""
    prompt = request.messages[0].content
    held = _known(request.memory)
    if request.kind in ("answer", "try"):
        return "\\boxed{" + (", ".join(_keys(held)) if len(held) == len(ASKED) else "The text does not say") + "}"
    if request.kind == "check":
        missing = [number for number in ASKED if fact(number) not in held]
        return f"NO: keeper of lighthouse {missing[0]}" if missing else "YES"
    if request.kind == "choose":
        return ", ".join(number for number, line in re.findall(r"(\d+)\. (.*)", prompt) if _known(line)) or "NONE"
    if request.kind == "merge":
        return "\n".join(_known(prompt))
    assert request.segment is not None
    new = [line for line in _known(request.segment.text) if line not in held]
    if request.template == COLLECT:
        return "\n".join(f"- {line}" for line in new) or "NONE"
    if GATE in prompt and not new:
        return "NO CHANGE"
    return "\n".join([*held, *new]) or "Nothing relevant yet."


def _keys(lines: Iterable[str]) -> list[str]:
    return [line.split()[-1].rstrip(".") for line in sorted(lines, key=lambda line: int(line.split()[4]))]
