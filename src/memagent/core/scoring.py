r"""Extract the answer from a completion (from \boxed{}, or after "the answer is"), and score it.

A metric takes the completion as the model wrote it and the gold answers, and returns 0 to 1. `METRICS` has them all:

- RULER's `string_match_all` and `string_match_part` look at the whole completion.
- `exact_match`, `f1`, `sub_em` and `sub_em_legacy` look at the final answer, normalised as in SQuAD and HotpotQA
  (ASCII punctuation, English articles, no Unicode folding).
- `abstains` checks whether the final answer says that there is no answer.
- `boxed`, `boxed_all` and `boxed_items`, the training rewards, look only into \boxed{}. The paper asks for
  "equivalent" answers; here, they have the same words (Unicode folded) and the same numbers by value.

Deliberate differences from the originals: a blank gold answer is ignored; if a gold answer normalises to nothing
("The The"), both sides are compared in lower case instead; `\text{Paris}` is read as Paris.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from memagent.core.prompts import AnswerStyle
from memagent.core.text import UNSPACED

Metric = Callable[[str, Sequence[str]], float]

_SENTENCE = re.compile(r"the answer is:?\s*", re.IGNORECASE)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_FULL_STOP = re.compile(r"(?<!\.[A-Z])\.$")  # but not the one in "U.S."
_PARENTHESES = re.compile(r"\(([^()]*)\)")

_CONTROL = re.compile(r"[\x00-\x1f]")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_FONT = re.compile(r"\\(?:text|math)[a-z]*\s*(?=\{)")
_FIRST_CLAUSE = re.compile(r"\w[\w \t]*")
_SPACELESS = re.compile(f"[{UNSPACED}]")
_ABSTAINS = re.compile(
    r"\b(?:(?:does|do|did)(?: not|n['’]t) (?:say|state|mention|tell|specify|contain|provide|give|hold|know)"
    r"|(?:not|never|nowhere) (?:said|stated|mentioned|told|specified|contained|provided|given|found|known)"
    r"|(?:cannot|can['’]t|could not|couldn['’]t) (?:be )?(?:answer|determine|find|found|know|say|tell)"
    r"|no (?:relevant )?(?:answer|mention|information)|unanswerable|unknown)",
    re.IGNORECASE,
)
_VERDICTS = ("yes", "no", "noanswer")
_NUMBER = r"(?<![\w.])-?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(?!\w|\.[0-9])"
_PIECE = re.compile(rf"(?P<number>{_NUMBER})|(?P<inside>['’]|\.(?![0-9]))|[^\w\s.]|_")


def final_answer(text: str, style: AnswerStyle | None = "boxed") -> str:
    """Return the answer in a completion: all of it, stripped, if there is no style or the model ignored the style."""
    found = boxed(text) if style == "boxed" else after_sentence(text) if style == "sentence" else None
    return text.strip() if found is None else found


def boxed(text: str) -> str | None:
    r"""Return the content of the last \boxed{…} with balanced braces; None if there is none."""
    end = len(text)
    while (start := text.rfind("\\boxed{", 0, end)) >= 0:
        content = _balanced(text, start + len("\\boxed{"))
        if content is not None:
            return content.strip()
        end = start
    return None


def _balanced(text: str, start: int) -> str | None:
    """Return the text up to the brace that closes the one before `start`; None if none does. Skips escaped braces."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start : brace.start()]
    return None


def after_sentence(text: str) -> str | None:
    """Return the text after the last "the answer is", to the end of its line; None if there is none."""
    matches = list(_SENTENCE.finditer(text))
    if not matches:
        return None
    rest = _FULL_STOP.sub("", text[matches[-1].end() :].split("\n", 1)[0].strip())
    if whole := _PARENTHESES.fullmatch(rest):
        rest = whole[1]
    return rest.strip() or None


def string_match_all(completion: str, answers: Sequence[str]) -> float:
    """RULER's metric: the fraction of the gold answers found anywhere in the completion, in any case."""
    text = _printable(completion)
    return _mean(gold.lower() in text for gold in _given(answers))


def string_match_part(completion: str, answers: Sequence[str]) -> float:
    """RULER's metric: 1 if any gold answer is found anywhere in the completion, in any case."""
    text = _printable(completion)
    return _best(gold.lower() in text for gold in _given(answers))


def _printable(completion: str) -> str:
    return _CONTROL.sub("\n", completion.strip()).strip().lower()


def exact_match(completion: str, answers: Sequence[str]) -> float:
    """SQuAD's metric: 1 if the answer equals a gold answer, once both are normalised."""
    answer = _plain_answer(completion)
    return _best(ours == theirs for ours, theirs in _pairs(answer, answers, normalised))


def f1(completion: str, answers: Sequence[str]) -> float:
    """HotpotQA's metric: F1 of the words, best over the gold answers; yes and no must be the whole answer.

    Source: hotpot_evaluate_v1.py of github.com/hotpotqa/hotpot.
    """
    answer = _plain_answer(completion)
    return _best(_word_f1(ours, theirs) for ours, theirs in _pairs(answer, answers, normalised))


def _word_f1(ours: str, theirs: str) -> float:
    if ours != theirs and (ours in _VERDICTS or theirs in _VERDICTS):
        return 0.0
    common = (Counter(ours.split()) & Counter(theirs.split())).total()
    return 2 * common / (len(ours.split()) + len(theirs.split()))


def sub_em(completion: str, answers: Sequence[str]) -> float:
    """Return 1 if a gold answer occurs in the answer as whole words, once both are normalised.

    "Yes", "no", and a gold answer that normalises to nothing, such as "A", occur in nearly every sentence. They must
    be everything before the first comma or full stop: "No, he was a Dane" scores 1, "No date is given" scores 0.
    """
    answer = _plain_answer(completion)
    first = _FIRST_CLAUSE.search(answer)
    whole = _pairs(answer, answers, normalised)
    clause = _pairs(first[0] if first else "", answers, normalised)
    return _best(
        theirs in (ours, opening)
        if theirs in _VERDICTS or not normalised(theirs)
        else find_words(ours, theirs) is not None
        for (ours, theirs), (opening, _) in zip(whole, clause, strict=True)
    )


def find_words(text: str, words: str) -> re.Match[str] | None:
    """Return the first match of the words in the text as whole words, in any case: "19" is not found in "1984".

    Any white space may separate the words. Scripts without spaces between words have no word borders: 巴黎 is found in
    首都是巴黎.
    """
    spaced = r"\s+".join(re.escape(word) for word in words.split())
    found = re.finditer(spaced, text, re.IGNORECASE)
    return next((match for match in found if _parted(text, match.start()) and _parted(text, match.end())), None)


def _parted(text: str, place: int) -> bool:
    """Return whether one word may end and another begin at this place."""
    around = text[max(place - 1, 0) : place + 1]
    return place in (0, len(text)) or not all(
        (char.isalnum() or char == "_") and not _SPACELESS.match(char) for char in around
    )


def sub_em_legacy(completion: str, answers: Sequence[str]) -> float:
    """The MemAgent authors' sub_em, faults included, to compare with their figures; best over the gold answers.

    It accepts containment of characters in either direction: "e" scores for "yes", "19" for "1984", "no" for "Norway",
    and "The" for everything, because it normalises to nothing. An answer that was empty to begin with scores 0.
    """
    answer = final_answer(completion)
    ours = normalised(answer)
    return _best(bool(answer) and (ours in theirs or theirs in ours) for theirs in map(normalised, _given(answers)))


def abstains(completion: str, answers: Sequence[str]) -> float:
    """Return 1 if the answer says, in one of the usual wordings, that there is no answer. Ignores the gold answers."""
    return float(_ABSTAINS.search(final_answer(completion)) is not None)


def boxed_any(completion: str, answers: Sequence[str]) -> float:
    r"""The reward if any gold answer will do: 1 if the content of \boxed{} is equivalent to one of them."""
    return _best(ours == theirs for ours, theirs in _pairs(boxed(completion) or "", answers, _canonical))


def boxed_all(completion: str, answers: Sequence[str]) -> float:
    r"""The reward if all gold answers are asked for: the fraction of them in \boxed{} as whole words."""
    pairs = _pairs(boxed(completion) or "", answers, _canonical)
    return _mean(f" {theirs} " in f" {ours} " for ours, theirs in pairs)


def boxed_items(completion: str, answers: Sequence[str]) -> float:
    r"""A reward that does not pay for listing everything: F1 of the items in \boxed{} against the gold answers.

    A comma and a space separate items. Duplicates count once.
    """
    ours = set(map(_canonical, (boxed(completion) or "").split(", "))) - {""}
    theirs = set(map(_canonical, answers)) - {""}
    return 2 * len(ours & theirs) / max(len(ours) + len(theirs), 1)


METRICS: dict[str, Metric] = {
    "string_match_all": string_match_all,
    "string_match_part": string_match_part,
    "exact_match": exact_match,
    "f1": f1,
    "sub_em": sub_em,
    "sub_em_legacy": sub_em_legacy,
    "abstains": abstains,
    "boxed": boxed_any,
    "boxed_all": boxed_all,
    "boxed_items": boxed_items,
}

BINARY = frozenset({"string_match_part", "exact_match", "sub_em", "sub_em_legacy", "abstains", "boxed"})
"""Metrics that only give 0 or 1."""

EVERY = frozenset({"string_match_all", "boxed_all", "boxed_items"})
"""Metrics that ask for all gold answers, not for any one of them."""


def normalised(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation, English articles and extra spaces (SQuAD, HotpotQA)."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def _canonical(text: str) -> str:
    """Return the form that equivalent answers share: words, and numbers by value ("1,984" is 1984, "3.0" is 3).

    Punctuation becomes a space, so that the items of "12,34567" stay apart; but "U.S." becomes "us".
    """
    words = _PIECE.sub(_canonical_piece, _FONT.sub("", unicodedata.normalize("NFKC", text).lower()))
    return " ".join(_ARTICLE.sub(" ", words).split())


def _canonical_piece(piece: re.Match[str]) -> str:
    if piece["number"] is None:
        return "" if piece["inside"] else " "
    # As text, because as floats or Decimals, long numbers that differ in their last digits would be equal.
    whole, _, fraction = piece["number"].lstrip("-").replace(",", "").partition(".")
    value = f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}".rstrip(".")
    return f"-{value}" if piece[0].startswith("-") and value != "0" else value


def _pairs(answer: str, golds: Sequence[str], form: Callable[[str], str]) -> list[tuple[str, str]]:
    """Pair the answer with each gold answer, both in the given form; in lower case if the gold one's form is empty."""
    lower = " ".join(answer.lower().split())
    return [
        (form(answer), theirs) if (theirs := form(gold)) else (lower, " ".join(gold.lower().split()))
        for gold in _given(golds)
    ]


def _plain_answer(completion: str) -> str:
    return _FONT.sub("", final_answer(completion))


def _given(answers: Sequence[str]) -> list[str]:
    return [gold for gold in answers if gold.strip()]


def _best(scores: Iterable[float]) -> float:
    return float(max(scores, default=0))


def _mean(scores: Iterable[float]) -> float:
    found = list(scores)
    return fmean(found) if found else 0.0
