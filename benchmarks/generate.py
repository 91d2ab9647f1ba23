"""Compares the time to make a sample with the time to tokenise it once, at 1M and 4M tokens.

Tokenising is measured in two ways, both with the bare tokenizer: as one `encode` of the whole prompt, and in blocks on
all cores, without character offsets.
"""

from __future__ import annotations

import sys

from common import BOOKS, clock, figure

from memagent.errors import UsageError
from memagent.models.weights import find_weights
from memagent.tasks.catalog import RULER, Data
from memagent.tasks.example import parse_length

DATA = BOOKS.parent


def blocks(text: str) -> list[str]:
    return [text[start : start + 100_000] for start in range(0, len(text), 100_000)]


def main(lengths: str = "1m,4m") -> None:
    if not DATA.is_dir():
        figure("generate: no data", f"there is no {DATA.name} folder beside the project")
        return
    tokenizer = find_weights("smollm2-135m").tokenizer
    assert tokenizer is not None
    data = Data(
        prose=str(BOOKS),
        squad=str(DATA / "squad" / "dev-v1.1.jsonl.gz"),
        hotpotqa=str(DATA / "hotpotqa" / "dev.jsonl.gz"),
        paragraphs=str(DATA / "wiki" / "paragraphs.jsonl.gz"),
        words=str(DATA / "words" / "en.txt.gz"),
    )
    tasks = data.tasks([*RULER, "hqa"])
    for length in map(parse_length, lengths.split(",")):
        for task in tasks:
            with clock() as making:
                try:
                    example = task.example(length, 0, 42, tokenizer)
                except UsageError as error:
                    figure(f"generate: {task.name} {length}", "beyond the data", str(error)[:60])
                    continue
            prompt = example.prompt()
            with clock() as counting:
                tokenizer.tokenizer.encode_batch_fast(blocks(prompt), add_special_tokens=False)
            with clock() as encoding:
                tokenizer.tokenizer.encode(prompt, add_special_tokens=False)  # ours counts a repeated piece only once
            figure(
                f"generate: {task.name} {length}, {example.tokens:,} tokens",
                f"{making[0]:.1f} s = {making[0] / encoding[0]:.2f} x encode, {making[0] / counting[0]:.2f} x blocks",
                "goal: at most 3 x",
            )


if __name__ == "__main__":
    main(*sys.argv[1:2])
