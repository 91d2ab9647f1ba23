"""The pages, form fields and notes of a PDF are read, and a message names the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.documents import locate, open_documents
from memagent.errors import DocumentError

LINES = "(First line.) Tj T* (Second line.) Tj T* (Third line.) Tj"


def pdf(path: Path, pages: list[str], *, page: str = "", catalog: str = "", more: tuple[str, ...] = ()) -> Path:
    """Write a PDF with these content streams. `page` and `catalog` are added to the dictionaries of the pages and the
    document; `more` are further objects, from number 5 on."""
    objects = [
        "",
        "",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        "null",
        *more,
    ]
    kids = []
    for content in pages:
        stream = f"BT /F1 12 Tf 14 TL {content} ET" if content else ""
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> "
            f"/Contents {len(objects)} 0 R {page} >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[0] = f"<< /Type /Catalog /Pages 2 0 R {catalog} >>"
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
    body, places = b"%PDF-1.7\n", []
    for number, value in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{value}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    )
    path.write_bytes(body + f"{end}startxref\n{len(body)}\n%%EOF\n".encode())
    return path


def read(path: Path) -> tuple[str, tuple[str, ...]]:
    with open_documents([str(path)]) as document:
        return "".join(document.chunks()), document.warnings


def problem(path: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        open_documents([str(path)])
    return str(caught.value).replace(str(path), path.name)


@pytest.mark.parametrize("rotated", [0, 90, 180, 270])
def test_lines_come_in_order_however_the_page_is_rotated(tmp_path: Path, rotated: int) -> None:
    path = pdf(tmp_path / "a.pdf", [f"72 700 Td {LINES}"], page=f"/Rotate {rotated}")
    assert read(path) == ("First line.\nSecond line.\nThird line.", ())


@pytest.mark.parametrize(
    "matrix", ["0 1 -1 0 200 100", "-1 0 0 -1 500 700", "0 -1 1 0 200 700"], ids=["up", "upside down", "down"]
)
@pytest.mark.parametrize("rotated", [0, 90, 180, 270])
def test_lines_come_in_order_however_the_text_stands(tmp_path: Path, matrix: str, rotated: int) -> None:
    path = pdf(tmp_path / "a.pdf", [f"{matrix} Tm {LINES}"], page=f"/Rotate {rotated}")
    assert read(path)[0].split("\n") == ["First line.", "Second line.", "Third line."]


FIELDS = (
    "<< /Type /Annot /Subtype /Widget /FT /Tx /T (rent) /V (1450 euros) /Rect [100 600 300 620] /P 9 0 R >>",
    "<< /Type /Annot /Subtype /Widget /FT /Btn /T (pets) /V /Yes /AS /Yes /Rect [100 560 120 580] /P 9 0 R "
    "/AP << /N << /Yes 4 0 R /Off 4 0 R >> >> >>",
    "<< /Type /Annot /Subtype /Widget /FT /Tx /T (left blank) /Rect [100 500 300 520] /P 9 0 R >>",
)


@pytest.mark.parametrize("content", ["72 700 Td (Lease) Tj", ""])
def test_form_fields_are_read(tmp_path: Path, content: str) -> None:
    path = pdf(
        tmp_path / "form.pdf",
        [content],
        page="/Annots [5 0 R 6 0 R 7 0 R]",
        catalog="/AcroForm << /Fields [5 0 R 6 0 R 7 0 R] >>",
        more=FIELDS,
    )
    assert read(path) == ("Lease\n" * bool(content) + "rent: 1450 euros\n[x] pets", ())


def test_notes_are_read(tmp_path: Path) -> None:
    notes = (
        "<< /Type /Annot /Subtype /FreeText /Contents (The date is wrong.) /Rect [100 600 300 620] >>",
        "<< /Type /Annot /Subtype /Text /Contents (Ask Ada.) /Rect [100 500 120 520] >>",
        "<< /Type /Annot /Subtype /Link /Contents (no note) /Rect [100 400 120 420] >>",
    )
    path = pdf(tmp_path / "a.pdf", ["72 700 Td (Lease) Tj"], page="/Annots [5 0 R 6 0 R 7 0 R]", more=notes)
    assert read(path) == ("Lease\n[Note: The date is wrong.]\n[Note: Ask Ada.]", ())


@pytest.mark.parametrize(
    ("textless", "said"),
    [
        ([3], "Page 3 of a.pdf has no text, so nothing there was read."),
        ([2, 3, 4, 6], "Pages 2–4 and 6 of a.pdf have no text, so nothing there was read."),
        (
            [*range(1, 24, 2)],
            "Pages 1, 3, 5, 7, 9, 11, 13, 15 and others of a.pdf have no text, so nothing there was read.",
        ),
    ],
)
def test_pages_without_text_are_named(tmp_path: Path, textless: list[int], said: str) -> None:
    pages = ["" if number in textless else f"72 700 Td (Page {number}) Tj" for number in range(1, 26)]
    _, warnings = read(pdf(tmp_path / "a.pdf", pages))
    assert [each.replace(str(tmp_path / "a.pdf"), "a.pdf") for each in warnings] == [said]


def test_attached_files_are_named_as_skipped(tmp_path: Path) -> None:
    names = "/Names << /EmbeddedFiles << /Names [(a.txt) 5 0 R] >> >>"
    attached = (
        "<< /Type /Filespec /F (a.txt) /EF << /F 6 0 R >> >>",
        "<< /Type /EmbeddedFile /Length 5 >>\nstream\nhello\nendstream",
    )
    _, [warning] = read(pdf(tmp_path / "a.pdf", ["72 700 Td (Cover) Tj"], catalog=names, more=attached))
    assert warning.startswith("1 file attached to ")
    assert warning.endswith("a.pdf was skipped: save what you need and add it as a document.")


def test_a_dynamic_form_is_refused(tmp_path: Path) -> None:
    xfa = "/AcroForm << /Fields [] /XFA 5 0 R >> /NeedsRendering true"
    packet = "<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'></xdp:xdp>"
    more = (f"<< /Length {len(packet)} >>\nstream\n{packet}\nendstream",)
    path = pdf(tmp_path / "xfa.pdf", ["72 700 Td (Please wait...) Tj"], catalog=xfa, more=more)
    assert problem(path) == ("xfa.pdf is an XFA form, whose text is not in its pages: print it to a PDF and give that.")


def test_a_font_that_does_not_say_its_letters_is_refused(tmp_path: Path) -> None:
    """The subset fonts of some printers are like that: the page shows other letters than its text has."""
    more = (
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /ABCDEF+X /CIDSystemInfo << /Registry (Adobe) "
        "/Ordering (Identity) /Supplement 0 >> /FontDescriptor 7 0 R >>",
        "<< /Type /Font /Subtype /Type0 /BaseFont /ABCDEF+X /Encoding /Identity-H /DescendantFonts [5 0 R] >>",
        "<< /Type /FontDescriptor /FontName /ABCDEF+X /Flags 4 /FontBBox [0 0 1 1] /ItalicAngle 0 /Ascent 1 "
        "/Descent 0 /CapHeight 1 /StemV 1 >>",
    )
    page = "/Resources << /Font << /F1 6 0 R >> >>"
    path = pdf(tmp_path / "a.pdf", ["72 700 Td <0012001300140015001600170018> Tj"], page=page, more=more)
    assert problem(path).startswith("Page 1 of a.pdf has a font that does not say which letters its glyphs stand for")


PAGES = [f"72 700 Td (Page {number} says it.) Tj" for number in range(1, 13)]


@pytest.mark.parametrize(
    ("scope", "numbers", "name"),
    [
        ("#pages=3-5", [3, 4, 5], "#pages=3-5"),
        ("#pages=11-99", [11, 12], "#pages=11-99"),
        ("#page=7", [7], "#pages=7"),
        ("#pages=12-", [12], "#pages=12-"),
        ("", [*range(1, 13)], ""),
    ],
)
def test_a_range_of_pages_is_a_document(tmp_path: Path, scope: str, numbers: list[int], name: str) -> None:
    path = pdf(tmp_path / "a.pdf", PAGES)
    with open_documents([f"{path}{scope}"]) as document:
        text = "".join(document.chunks())
        assert text == "\n\n".join(f"Page {number} says it." for number in numbers)
        for number in numbers:
            start = text.index(f"Page {number} ")
            place = locate(document.parts, start, start + 4)
            assert (place.name, place.page) == (f"{path}{name}", number)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.pdf#pages=13-14", "a.pdf#pages=13-14 has only 12 pages: give pages within that range."),
        (
            "a.pdf#pages=5-3",
            "a.pdf#pages=5-3 has an invalid page range: give one such as #pages=10-20, counted from 1.",
        ),
        ("a.pdf#pages=0", "a.pdf#pages=0 has an invalid page range: give one such as #pages=10-20, counted from 1."),
        ("a.txt#pages=1-2", "a.txt#pages=1-2 has no pages because it is not a PDF: leave out the #pages part."),
        ("b.pdf#pages=1", "There is no file or folder b.pdf: check the path."),
    ],
)
def test_pages_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    pdf(tmp_path / "a.pdf", PAGES)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DocumentError) as caught:
        open_documents([name])
    assert str(caught.value) == said


def test_a_file_that_is_called_so_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.txt#pages=1-2"
    path.write_text("text")
    assert read(path) == ("text", ())
