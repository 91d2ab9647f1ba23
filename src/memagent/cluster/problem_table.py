"""Problems in a Parquet file. The processes on all machines read the problems that they need from it.

verl copies every column of its own data file into every row of a batch, and a reading has a row for each of its
conversations. So verl's file has only the number of each problem, and the documents are in a file next to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from memagent.core.prompts import prompts_for
from memagent.core.segments import segments
from memagent.errors import RunError, UsageError
from memagent.rl.problems import DocumentQuestion, Problem, document_problem
from memagent.rl.speaker import Speaker

_GROUP = 16  # problems that are read from the file together


class ProblemTable:
    """The problems in a file, by number.

    Raises:
        RunError: the file is missing or damaged.
    """

    def __init__(self, file: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        try:
            self._file = pyarrow.parquet.ParquetFile(file)
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise RunError(f"The problems in {file} cannot be read: {error}.") from error
        self._rows = lru_cache(8)(lambda group: self._file.read_row_group(group).to_pylist())

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def source(self, number: int) -> DocumentQuestion:
        row = self._rows(number // _GROUP)[number % _GROUP]
        return DocumentQuestion(**row | {"answers": tuple(row["answers"])})

    def problem(self, number: int, speaker: Speaker) -> Problem:
        """Return a problem, read with the speaker's budget and reader."""
        source, defaults = self.source(number), speaker.defaults
        _, answer = defaults.prompts.names
        prompts = prompts_for(source.layout, answer, defaults.prompts)
        pieces = list(segments([source.document], defaults.budget.segment, speaker.tokenizer))
        return document_problem(source, defaults.reader, defaults.budget, prompts, pieces)


def write_problems(problems: Iterable[Problem], file: Path, *, tests: bool = False) -> int:
    """Write problems to a file, and the file that verl reads next to it. Returns the number of problems.

    Args:
        tests: whether they are the problems of the evaluations.

    Raises:
        UsageError: a problem is not a question about a document.
    """
    import pyarrow
    import pyarrow.parquet

    types = {"answers": pyarrow.list_(pyarrow.string()), "brevity": pyarrow.float64()}
    schema = pyarrow.schema([(each.name, types.get(each.name, pyarrow.string())) for each in fields(DocumentQuestion)])
    names = list[str]()
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        remaining = iter(problems)
        while rows := [_row(problem) for problem in islice(remaining, _GROUP)]:
            names += [row["name"] for row in rows]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema), row_group_size=_GROUP)
    index = [_index_row(number, name, tests) for number, name in enumerate(names)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(index), index_file(file))
    return len(names)


def index_file(file: Path) -> Path:
    """Return the path of the file that verl reads, for a file of problems."""
    return file.with_suffix(".index.parquet")


def _row(problem: Problem) -> dict[str, Any]:
    if problem.source is None:
        raise UsageError(f"{problem.name} is not a question about a document, which verl needs: train it locally.")
    return asdict(problem.source)


def _index_row(number: int, name: str, tests: bool) -> dict[str, Any]:
    _, length, _ = name.rsplit("-", 2)
    # verl wants a prompt, but the agent loop makes the prompts.
    prompt = [{"role": "user", "content": name}]
    return {"prompt": prompt, "data_source": length, "extra_info": {"index": number, "tests": tests}}
