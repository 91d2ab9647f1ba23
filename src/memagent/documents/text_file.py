"""Stream the characters of a text file. They are decoded piece by piece, strictly, and never changed."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from memagent.documents.encodings import TextEncoding
from memagent.documents.refusals import LARGEST, binary, empty, reading, too_large
from memagent.documents.sources import BLOCK, Source, open_bytes
from memagent.errors import DocumentError

_SAMPLE = 1 << 14  # bytes on either side of an undecodable byte, for guessing the encoding


@dataclass(frozen=True, slots=True)
class TextFile:
    """The text of one source, in the source's own file or in the file that it was converted to."""

    source: Source
    path: Path
    encoding: TextEncoding = field(default_factory=TextEncoding)
    pages: tuple[int, ...] = ()
    """Character offset where each page starts; () if there are no pages."""
    warnings: tuple[str, ...] = ()
    """Messages about content that is missing from the text, one sentence each."""

    def chunks(self) -> Iterator[str]:
        """Yield the text in pieces. Raises DocumentError at the first byte that cannot be read or decoded."""
        decoder = codecs.getincrementaldecoder(self.encoding.name)(self.encoding.errors)
        count = 0
        with reading(self.source.label), open_bytes(self.path) as file:
            try:
                while block := file.read(BLOCK):
                    count += len(block)
                    if count > LARGEST:
                        raise too_large(self.source.label)
                    if text := decoder.decode(block):
                        yield text
                if text := decoder.decode(b"", final=True):
                    yield text
            except UnicodeDecodeError as error:
                raise self._undecodable(file, count - len(error.object) + error.start, error) from error
            except UnicodeError as error:  # such as UTF-16 without the byte order mark that it needs
                raise DocumentError(
                    f"{self.source.label} is not {self.encoding.name} text ({error}): give another --encoding."
                ) from error

    def check(self, zeros: bool) -> None:
        """Read the text once; raise DocumentError if it does not decode, is blank, or (unless `zeros`) is binary."""
        blank = True
        for chunk in self.chunks():
            if not zeros and "\0" in chunk:
                raise binary(self.source.label)
            blank = blank and chunk.isspace()
        if blank:
            raise empty(self.source.label)

    def _undecodable(self, file: IO[bytes], offset: int, error: UnicodeDecodeError) -> DocumentError:
        import charset_normalizer  # only here: it takes a while to load

        start = max(0, offset - _SAMPLE)
        file.seek(start)
        guess = charset_normalizer.from_bytes(file.read(2 * _SAMPLE)).best()
        known = guess is None or guess.encoding in (
            "ascii",
            "utf_8",
            codecs.lookup(self.encoding.name).name.replace("-", "_"),
        )
        hint = "NAME" if guess is None or known else f"{guess.encoding} (a guess from its bytes)"
        return DocumentError(
            f"{self.source.label} is not {self.encoding.name.removesuffix('-sig')} text: "
            f"the byte 0x{error.object[error.start]:02x} at offset {offset} cannot be decoded; "
            f"name its encoding with --encoding {hint}."
        )
