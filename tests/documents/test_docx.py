"""The text of a DOCX file contains everything that Word shows."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from memagent.documents import open_documents
from memagent.errors import DocumentError

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
SPACES = (
    f'xmlns:w="{W}" xmlns:r="{R}" xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
)


def t(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def p(content: str, properties: str = "") -> str:
    return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}{content}</w:p>"


def cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(t(text)) if text else '<w:p/>'}</w:tc>"


def table(*rows: str) -> str:
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def docx(path: Path, body: str, main: str = "word/document.xml", slash: str = "/", **parts: str) -> Path:
    """Write a DOCX file. `parts` are further parts by kind and number, as in header1="<w:hdr>…"; names serve as ids."""
    kinds = {name: name.rstrip("0123456789") for name in parts}
    relation = '<Relationship Id="{0}" Type="' + R + '/{1}" Target="{2}"/>'
    folder, base = main.rsplit("/", 1)
    members = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default '
        'Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxml'
        f'formats-package.relationships+xml"/><Override PartName="/{main}" ContentType="application/vnd.openxmlformats'
        '-officedocument.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": relation.format("a", "officeDocument", main),
        main: f"<w:document {SPACES}><w:body>{body}</w:body></w:document>",
        f"{folder}/_rels/{base}.rels": "".join(relation.format(name, kinds[name], f"{name}.xml") for name in parts),
    } | {f"{folder}/{name}.xml": content.replace("SPACES", SPACES) for name, content in parts.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name.endswith(".rels"):
                content = (
                    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
                    f"{content}</Relationships>"
                )
            archive.writestr(name.replace("/", slash), content)
    return path


def read(path: Path) -> str:
    with open_documents([str(path)]) as document:
        return "".join(document.chunks())


INLINE = {
    "moved": (
        "<w:moveFrom w:id='1'>" + t("Old place.") + "</w:moveFrom>"
        "<w:moveTo w:id='2'>" + t("New place.") + "</w:moveTo>",
        "New place.",
    ),
    "inserted and deleted": (
        t("The fee is ") + "<w:del w:id='1'><w:r><w:delText>5</w:delText></w:r></w:del><w:ins w:id='2'>" + t("7")
        + "</w:ins>" + t("."),
        "The fee is 7.",
    ),
    "ruby": (
        t("The ") + "<w:r><w:ruby><w:rubyPr/><w:rt>" + t("above") + "</w:rt><w:rubyBase>" + t("base")
        + "</w:rubyBase></w:ruby></w:r>" + t(" stays."),
        "The base stays.",
    ),
    "direction": ("<w:bdo w:val='rtl'>" + t("one ") + "</w:bdo><w:dir w:val='rtl'>" + t("two") + "</w:dir>", "one two"),
    "custom XML": ("<w:customXml w:element='x'>" + t("one") + "</w:customXml>" + t(" two"), "one two"),
    "a tag in a tag": (
        "<w:smartTag><w:customXml><w:ins w:id='1'>" + t("deep") + "</w:ins></w:customXml></w:smartTag>",
        "deep",
    ),
    "a simple field": (t("See page ") + "<w:fldSimple w:instr=' REF a '>" + t("12") + "</w:fldSimple>", "See page 12"),
    "an element of next year": (t("a ") + "<w:novelty>" + t("new") + "</w:novelty>" + t(" one"), "a new one"),
}  # fmt: skip


@pytest.mark.parametrize("space", [W, STRICT], ids=["transitional", "strict"])
@pytest.mark.parametrize("kind", INLINE)
def test_text_within_a_paragraph(tmp_path: Path, kind: str, space: str) -> None:
    content, shown = INLINE[kind]
    path = docx(tmp_path / "a.docx", p(t("Before.")) + p(content) + p(t("After.")))
    if space != W:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name).replace(W.encode(), space.encode()) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    assert read(path) == f"Before.\n\n{shown}\n\nAfter."


def test_moved_and_inserted_paragraphs_and_rows(tmp_path: Path) -> None:
    body = (
        "<w:moveFrom w:id='1'>" + p(t("Moved.")) + "</w:moveFrom>" + p(t("First."))
        + "<w:moveTo w:id='2'>" + p(t("Moved.")) + "</w:moveTo>"
        + "<w:customXml>" + p(t("Tagged.")) + "</w:customXml>"
        + table(cell("stays"), "<w:trPr><w:del w:id='3'/></w:trPr>" + cell("goes"), "<w:trPr><w:ins w:id='4'/></w:trPr>"
                + cell("comes"))
    )  # fmt: skip
    text = read(docx(tmp_path / "a.docx", body))
    assert text.startswith("First.\n\nMoved.\n\nTagged.\n\n")
    assert text.endswith("| stays |\n| comes |")
    assert "goes" not in text


BOX = "<w:txbxContent>" + p(t("In a box.")) + "</w:txbxContent>"
CHOICE = f"<mc:Choice Requires='wps'><w:drawing><wps:wsp><wps:txbx>{BOX}</wps:txbx></wps:wsp></w:drawing></mc:Choice>"
FALLBACK = f"<mc:Fallback><w:pict><v:shape><v:textbox>{BOX}</v:textbox></v:shape></w:pict></mc:Fallback>"


@pytest.mark.parametrize("fallback", [FALLBACK, "<mc:Fallback/>", ""], ids=["both", "empty", "only the new form"])
def test_a_text_box_is_read_once(tmp_path: Path, fallback: str) -> None:
    box = f"<w:r><mc:AlternateContent>{CHOICE}{fallback}</mc:AlternateContent></w:r>"
    assert read(docx(tmp_path / "a.docx", p(box) + p(t("After.")))) == "In a box.\n\nAfter."


def test_headers_come_first_and_footers_last_each_once(tmp_path: Path) -> None:
    def references(*kinds: str) -> str:
        return "<w:sectPr>" + "".join(f"<w:{kind[:6]}Reference r:id='{kind}'/>" for kind in kinds) + "</w:sectPr>"

    body = p("", references("header1", "footer1")) + p(t("Body.")) + references("header2", "header3", "footer1")
    inserted = "<w:ins w:id='1'>" + t("Annex B") + "</w:ins>"
    parts = {
        "header1": f"<w:hdr SPACES>{p(t('Contract 77'))}{p('')}</w:hdr>",
        "header2": f"<w:hdr SPACES>{p(t('Contract 77'))}</w:hdr>",
        "header3": f"<w:hdr SPACES>{p(inserted)}</w:hdr>",
        "footer1": f"<w:ftr SPACES>{p(t('Signed by Ada'))}</w:ftr>",
    }
    assert read(docx(tmp_path / "a.docx", body, **parts)) == "Contract 77\n\nAnnex B\n\nBody.\n\nSigned by Ada"


def test_comments_stand_where_they_were_made(tmp_path: Path) -> None:
    comments = f"<w:comments SPACES><w:comment w:id='0'>{p(t('Is this'))}{p(t('right?'))}</w:comment></w:comments>"
    body = p(t("The rent is 900.") + "<w:r><w:commentReference w:id='0'/></w:r>" + t(" It is paid monthly."))
    path = docx(tmp_path / "a.docx", body, comments=comments)
    assert read(path) == "The rent is 900. [Note: Is this right?] It is paid monthly."


def level(number: int, text: str, style: str = "decimal", start: int = 1, more: str = "") -> str:
    return (
        f"<w:lvl w:ilvl='{number}'><w:start w:val='{start}'/><w:numFmt w:val='{style}'/>{more}"
        f"<w:lvlText w:val='{text}'/></w:lvl>"
    )


NUMBERING = (
    "<w:numbering SPACES><w:abstractNum w:abstractNumId='0'>"
    + level(0, "%1.") + level(1, "%1.%2") + level(2, "(%3)", "lowerLetter") + level(3, "%4)", "upperRoman", start=4)
    + "</w:abstractNum><w:abstractNum w:abstractNumId='1'>" + level(0, "§ %1", "decimalZero", start=9)
    + level(1, "%1-%2", "lowerRoman", more="<w:isLgl/>") + "</w:abstractNum>"
    + "<w:abstractNum w:abstractNumId='2'>" + level(0, "•", "bullet") + "</w:abstractNum>"
    + "".join(f"<w:num w:numId='{n}'><w:abstractNumId w:val='{a}'/></w:num>" for n, a in ((1, 0), (2, 1), (3, 2)))
    + "<w:num w:numId='4'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='1'/>"
    "</w:lvlOverride></w:num></w:numbering>"
)  # fmt: skip
STYLES = (
    "<w:styles SPACES><w:style w:styleId='Clause'><w:pPr><w:numPr><w:numId w:val='2'/></w:numPr></w:pPr></w:style>"
    "<w:style w:styleId='Sub'><w:basedOn w:val='Clause'/><w:pPr><w:numPr><w:ilvl w:val='1'/></w:numPr></w:pPr>"
    "</w:style>"
    "</w:styles>"
)


def item(text: str, number: int, at: int = 0) -> str:
    return p(t(text), f"<w:numPr><w:ilvl w:val='{at}'/><w:numId w:val='{number}'/></w:numPr>")


def styled(text: str, style: str) -> str:
    return p(t(text), f"<w:pStyle w:val='{style}'/>")


def test_list_numbers_are_those_that_are_printed(tmp_path: Path) -> None:
    body = (
        item("One", 1) + item("Two", 1, 1) + item("Three", 1, 1) + item("Four", 1, 2) + item("Five", 1, 2)
        + item("Six", 1, 3) + p(t("Text between.")) + item("Seven", 1) + item("Eight", 1, 1)
        + styled("Nine", "Clause") + styled("Ten", "Clause") + styled("Eleven", "Sub")
        + item("Twelve", 4) + item("Thirteen", 4)
    )  # fmt: skip
    assert read(docx(tmp_path / "a.docx", body, numbering=NUMBERING, styles=STYLES)).split("\n\n") == [
        "1. One", "1.1 Two", "1.2 Three", "(a) Four", "(b) Five", "IV) Six", "Text between.", "2. Seven", "2.1 Eight",
        "§ 09 Nine", "§ 10 Ten", "10-1 Eleven", "1. Twelve", "2. Thirteen",
    ]  # fmt: skip


def test_bullets_stay_bullets(tmp_path: Path) -> None:
    body = item("One", 3) + item("Two", 3)
    assert read(docx(tmp_path / "a.docx", body, numbering=NUMBERING)) == "* One\n* Two"


def test_merged_cells_are_filled(tmp_path: Path) -> None:
    down, goes_on, wide = "<w:vMerge w:val='restart'/>", "<w:vMerge/>", "<w:gridSpan w:val='2'/>"
    body = table(
        cell("Tenant") + cell("Rent", wide),
        cell("Lark", down) + cell("2023") + cell("1200"),
        cell("", goes_on) + cell("2024") + cell("1450"),
        "<w:trPr><w:gridBefore w:val='1'/></w:trPr>" + cell("2025") + cell("1500"),
        cell("Wren") + cell("2023") + cell("800"),
    )
    rows = [line.strip("| ").split(" | ") for line in read(docx(tmp_path / "a.docx", body)).split("\n")[2:]]
    assert rows == [
        ["Tenant", "Rent", "Rent"],
        ["Lark", "2023", "1200"],
        ["Lark", "2024", "1450"],
        ["2025", "1500"],
        ["Wren", "2023", "800"],
    ]


def test_an_embedded_document_is_named_as_skipped(tmp_path: Path) -> None:
    path = docx(tmp_path / "a.docx", p(t("Body.")) + "<w:altChunk r:id='x'/>")
    with open_documents([str(path)]) as document:
        assert document.warnings == (
            f"Skipped in {path}: an embedded document; open the file in Word and save that text.",
        )


@pytest.mark.parametrize(
    ("main", "slash"), [("word/document2.xml", "/"), ("word/document.xml", "\\"), ("x/y.xml", "/")]
)
def test_the_text_is_found_wherever_the_file_keeps_it(tmp_path: Path, main: str, slash: str) -> None:
    assert read(docx(tmp_path / "a.docx", p(t("Body.")), main, slash)) == "Body."


@pytest.mark.parametrize(
    "document",
    [
        "<w:document",
        "",
        f"<w:document xmlns:w='{W}'/>",
        f"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><w:document xmlns:w='{W}'><w:body><w:p/>&a;</w:body></w:document>",
        f"<w:document xmlns:w='{W}'><w:body>{'<w:sdt>' * 300}{'</w:sdt>' * 300}</w:body></w:document>",
    ],
    ids=["cut", "empty", "no body", "entities", "nested"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, document: str) -> None:
    path = docx(tmp_path / "a.docx", "")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, document if name == "word/document.xml" else data)
    with pytest.raises(DocumentError, match=r"a\.docx is damaged \(it cannot be read as DOCX\)"):
        open_documents([str(path)])
