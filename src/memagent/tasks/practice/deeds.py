"""Who did what, and where. Each deed can be asked about in three ways, and similar deeds serve as decoys.

It was in the barn that the porter at the Marneck inn broke the scarlet ladder.
What did the porter at the Marneck inn break?  |  Where did … break the scarlet ladder?  |  Who broke it?
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from memagent.tasks.practice.told import person, thing, town

_ROLES = (
    "architect|baker|caretaker|chaplain|cook|doctor|gardener|janitor|librarian|miller|nurse|organist|porter|sexton|"
    "smith|steward|teacher|treasurer|warden|watchman"
).split("|")
_HOUSES = (
    "abbey academy brewery castle chapel clinic hotel inn mill museum observatory school station theatre tower".split()
)
_VERBS = (
    "borrow borrowed|break broke|bury buried|buy bought|carve carved|find found|forge forged|hide hid|"
    "inherit inherited|leave left|lose lost|mend mended|paint painted|polish polished|sell sold|steal stole"
).split("|")
_PLACES = (
    "attic barn cave cellar chest cupboard ditch drawer garden greenhouse hut kitchen orchard pond shed stable vault "
    "wagon well workshop"
).split()
_TOLD = (
    "{who} {did} the {what} in the {where}.",
    "In the {where}, {who} {did} the {what}.",
    "It was in the {where} that {who} {did} the {what}.",
    "It was {who} who {did} the {what} in the {where}.",
    "Nobody saw how {who} {did} the {what} in the {where}.",
)
_ASKED = (
    ("What did {who} {do}?", "what"),
    ("What was it that {who} {did}?", "what"),
    ("What did {who} {do} in the {where}?", "what"),
    ("Where did {who} {do} the {what}?", "where"),
    ("In which place was it that {who} {did} the {what}?", "where"),
    ("Who {did} the {what}?", "who"),
    ("Who was it that {did} the {what} in the {where}?", "who"),
)


@dataclass(frozen=True, slots=True)
class Deed:
    who: str
    verb: str
    """Base form and past form of the verb."""
    what: str
    where: str

    def told(self, draw: random.Random) -> str:
        text = self._filled(draw.choice(_TOLD))
        return text[0].upper() + text[1:]

    def asked(self, draw: random.Random) -> tuple[str, str]:
        """Return a question and its answer."""
        question, of = draw.choice(_ASKED)
        answers = {"what": self.what, "where": self.where, "who": self.who.removeprefix("the ")}
        return self._filled(question), answers[of]

    def near(self, draw: random.Random) -> Iterator[Deed]:
        """Yield similar deeds, one of them by the same person. None answers a question about this deed."""
        other = deed(draw)
        yield replace(other, verb=self.verb)
        yield replace(other, who=self.who, verb=draw.choice([verb for verb in _VERBS if verb != self.verb]))
        yield replace(deed(draw), verb=self.verb, where=self.where)

    def _filled(self, template: str) -> str:
        do, did = self.verb.split()
        return template.format(who=self.who, do=do, did=did, what=self.what, where=self.where)


def deed(draw: random.Random) -> Deed:
    return Deed(_who(draw), draw.choice(_VERBS), thing(draw), draw.choice(_PLACES))


def _who(draw: random.Random) -> str:
    kind, role = draw.random(), draw.choice(_ROLES)
    if kind < 0.3:
        return person(draw)
    return f"the {role} of {town(draw)}" if kind < 0.65 else f"the {role} at the {town(draw)} {draw.choice(_HOUSES)}"
