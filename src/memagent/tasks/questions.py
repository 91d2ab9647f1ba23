"""Questions over many paragraphs: RULER's qa_1 (SQuAD) and qa_2 (HotpotQA), and hqa, the paper's RULER-HQA.

Document 1:
Meet Corliss Archer
Meet Corliss Archer, a program from radio's Golden Age, ran from January 7, 1943 to September 30, 1956. …

Document 2:
Shirley Temple
Shirley Temple Black … As an adult, she was named United States ambassador to Ghana and to Czechoslovakia and also
served as Chief of Protocol of the United States.

Question: What government position was held by the woman who portrayed Corliss Archer in the film Kiss and Tell?
->  Chief of Protocol

As in RULER, a distractor may happen to hold the answer too.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from memagent.core.scoring import find_words
from memagent.tasks.data import HotpotQuestion, SquadQuestion, load_hotpotqa, load_paragraphs, load_squad
from memagent.tasks.example import Fact
from memagent.tasks.paragraphs import Asked, ParagraphTask

_RULER_METRICS = ("string_match_part", "exact_match", "f1", "sub_em", "sub_em_legacy", "boxed")
_PAPER_METRICS = ("sub_em", "sub_em_legacy", "string_match_part", "exact_match", "f1", "boxed")

# Where a sentence ends; a short capitalised word before a full stop is taken for an abbreviation.
_SENTENCE_END = re.compile(
    r"(?:[!?]|(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\b[A-Z][a-z][a-z])\.)[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])"
)
_DISAMBIGUATION = re.compile(r" \([^()]*\)$")


def qa_1(squad: str | Path) -> ParagraphTask:
    """Return RULER's qa_1: a SQuAD question, its paragraph, others from the same article, then any others."""
    passages = load_squad(squad)
    texts = list(dict.fromkeys(passage.context for passage in passages))
    number_of = {text: number for number, text in enumerate(texts)}
    articles: dict[str, list[int]] = {}
    for passage in passages:
        articles.setdefault(passage.title, []).append(number_of[passage.context])
    asked = [
        Asked(
            found.question,
            found.answers,
            facts=((number_of[passage.context], _squad_fact(passage.context, found)),),
            gold=(number_of[passage.context],),
            near=articles[passage.title],
        )
        for passage in passages
        for found in passage.questions
    ]
    return ParagraphTask(
        "qa_1",
        _RULER_METRICS,
        asked,
        texts,
        pool=len(texts),
        instructed=True,
        source=squad,
        option="--squad",
    )


def qa_2(hotpotqa: str | Path) -> ParagraphTask:
    """Return RULER's qa_2: a HotpotQA question, its own ten paragraphs, then those of other questions.

    Departing from RULER, an example too short for all ten keeps at least the paragraphs that the answer rests on.
    """
    questions = load_hotpotqa(hotpotqa)
    texts = _contexts(questions)
    number_of = {text: number for number, text in enumerate(texts)}
    asked = [_asked(found, number_of) for found in questions]
    return ParagraphTask(
        "qa_2",
        _RULER_METRICS,
        asked,
        texts,
        pool=len(texts),
        instructed=True,
        source=hotpotqa,
        option="--hotpotqa",
    )


def hqa(hotpotqa: str | Path, paragraphs: str | Path) -> ParagraphTask:
    """Return RULER-HQA: a HotpotQA question, its own ten paragraphs, then others with different titles.

    As in the authors' evaluation, a memory agent is asked the question alone. The authors draw the other paragraphs
    from HotpotQA's own contexts; here they come from `paragraphs`. An example too short for all ten keeps at least the
    paragraphs that the answer rests on.
    """
    questions = load_hotpotqa(hotpotqa)
    others = load_paragraphs(paragraphs)
    titled: dict[str, list[int]] = {}
    for number, paragraph in enumerate(others):
        titled.setdefault(_plain(paragraph.title), []).append(number)
    contexts = _contexts(questions)
    number_of = {text: number for number, text in enumerate(contexts, len(others))}
    asked = [
        replace(
            _asked(found, number_of),
            barred=frozenset(number for title, _ in found.context for number in titled.get(_plain(title), ())),
        )
        for found in questions
    ]
    texts = [_written(paragraph.title, (paragraph.text,)) for paragraph in others] + contexts
    return ParagraphTask(
        "hqa",
        _PAPER_METRICS,
        asked,
        texts,
        pool=len(others),
        instructed=False,
        source=paragraphs,
        option="--paragraphs",
    )


def _contexts(questions: Sequence[HotpotQuestion]) -> list[str]:
    """Return the paragraphs of all questions, each once."""
    return list(dict.fromkeys(_written(*paragraph) for found in questions for paragraph in found.context))


def _asked(found: HotpotQuestion, number_of: dict[str, int]) -> Asked:
    """Return a question of HotpotQA with its own ten paragraphs."""
    return Asked(
        found.question,
        (found.answer,),
        facts=tuple(_hotpot_facts(found, number_of)),
        gold=tuple(number_of[text] for text in _gold(found)),
        near=[number_of[_written(*paragraph)] for paragraph in found.context],
    )


def _written(title: str, sentences: tuple[str, ...]) -> str:
    """Return a paragraph with its title, as RULER writes it."""
    return f"{title}\n{''.join(sentences)}"


def _plain(title: str) -> str:
    """Return a title in the form in which titles are compared: case and HTML entities make no difference."""
    return html.unescape(title).casefold()


def _gold(found: HotpotQuestion) -> list[str]:
    """Return the paragraphs that the answer rests on."""
    titles = {title for title, _ in found.supports}
    return [_written(title, sentences) for title, sentences in found.context if title in titles]


def _hotpot_facts(found: HotpotQuestion, number_of: dict[str, int]) -> Iterator[tuple[int, Fact]]:
    """Yield the supporting sentences. A few published sentence numbers lie past the end of their paragraph."""
    for title, sentences in found.context:
        for number, sentence in enumerate(sentences):
            if (title, number) in found.supports and (text := sentence.strip()):
                start = len(_written(title, sentences[:number])) + sentence.index(text)
                key = _key(found, title, text)
                fact = Fact(f"{title}: {text}", key, start, start + len(text))
                yield number_of[_written(title, sentences)], fact


def _key(found: HotpotQuestion, title: str, sentence: str) -> str:
    """Return the answer if the sentence holds it, else the title without its disambiguation.

    A memory that only repeats the question must not seem to hold the fact. If the question names both the answer and
    the title, the key is the sentence's longest name, number or word that the question does not have.
    """
    answer = found.answer
    if answer.lower() not in ("yes", "no") and _names(sentence, answer) and not _names(found.question, answer):
        return answer
    plain = _DISAMBIGUATION.sub("", title)
    if not _names(found.question, plain):
        return plain
    words = [word for word in re.findall(r"\w[\w'’-]+", sentence) if not _names(f"{found.question} {title}", word)]
    return max(words, key=lambda word: (word[0].isupper() or word[0].isdigit(), len(word)), default=plain)


def _names(text: str, words: str) -> bool:
    return find_words(text, words) is not None


def _squad_fact(context: str, found: SquadQuestion) -> Fact:
    """Return the sentence that holds the first answer; its key is the shortest of the answers in it."""
    end = found.start + len(found.answers[0])
    ends = [match.end() for match in _SENTENCE_END.finditer(context)]
    first = max((place for place in ends if place <= found.start), default=0)
    last = min((place for place in ends if place >= end), default=len(context))
    sentence = context[first:last].strip()
    first = context.index(sentence, first)
    answers = [answer for answer in map(str.strip, found.answers) if answer in sentence]
    whole = [answer for answer in answers if _names(sentence, answer)]  # "four" may be marked in "fourth"
    key = min(whole or [_whole_words(sentence, answer) for answer in answers], key=len)
    return Fact(sentence, key, first, first + len(sentence))


def _whole_words(sentence: str, part: str) -> str:
    """Return the whole words that contain the part."""
    found = re.search(rf"\w*{re.escape(part)}\w*", sentence)
    return found[0] if found else part
