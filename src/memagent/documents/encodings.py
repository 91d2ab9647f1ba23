"""Find the encoding of a text or an HTML page, and decode declared encodings as browsers do.

Pages say iso-8859-1 and mean windows-1252, or say gb2312 and contain characters that only GB 18030 has. So labels are
resolved by the Encoding Standard (https://encoding.spec.whatwg.org). The search for a label follows the prescan of the
HTML standard, but goes beyond the first 1,024 bytes.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import webencodings

DECLARED_WITHIN = 1 << 20  # bytes of a page to search for its encoding

_BOMS = {  # UTF-32 comes first because its mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_XML = re.compile(rb"""\s{0,100}<\?xml\s[^>]{0,200}?encoding\s{0,20}=\s{0,20}["']([\w.:-]{1,40})""")
_CODECS = {"gbk": "gb18030", "x-user-defined": "cp1252"}
"""Python codecs to use where Python has the standard's decoder only in a narrower form, or not at all."""

AS_BROWSERS = "memagent-as-browsers"
"""Name of the error handler that decodes bytes as browsers do where an encoding leaves them undefined."""


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """The name of a codec, and of the error handler for bytes that it cannot decode."""

    name: str = "utf-8"
    errors: str = "strict"


def encoding_of(beginning: bytes, markup: bool, asked: str | None, served: str | None) -> TextEncoding:
    """Return the encoding of a text: `asked`, else by byte order mark, else `served`, else as declared, else UTF-8.

    Args:
        beginning: the first bytes of the text, at most `DECLARED_WITHIN`.
        markup: whether the text is HTML.
        asked: the name of a Python codec.
        served: the label in the server's header.
    """
    if asked:
        return TextEncoding("utf-8-sig" if codecs.lookup(asked).name == "utf-8" else asked)
    if marked := marked_encoding(beginning):
        return TextEncoding(marked)
    return _labelled(served) or _declared(beginning, markup) or TextEncoding()


def marked_encoding(beginning: bytes) -> str | None:
    """Return the encoding that a byte order mark stands for; None if there is no mark."""
    return next((encoding for mark, encoding in _BOMS.items() if beginning.startswith(mark)), None)


def is_known_encoding(name: str) -> bool:
    """Whether Python has a text codec with that name."""
    try:
        b"a".decode(name, "replace")
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        return False
    return True


def _labelled(label: str | None) -> TextEncoding | None:
    """Return the encoding that browsers use for a label; None for an unknown label."""
    found = webencodings.lookup(label) if label else None
    if found is None or found.name == "replacement":
        return None
    name = _CODECS.get(found.name, found.codec_info.name)
    return TextEncoding(name, "strict" if name == "utf-8" else AS_BROWSERS)


def _declared(beginning: bytes, markup: bool) -> TextEncoding | None:
    if xml := _XML.match(beginning):
        found = _labelled(xml[1].decode("ascii"))
    else:
        found = next(filter(None, map(_labelled, _labels(beginning))), None) if markup else None
    # The declaration was readable as ASCII, so the text cannot be UTF-16.
    return TextEncoding() if found and found.name.startswith("utf-16") else found


def _labels(page: bytes) -> list[str]:
    """Return the labels in <meta> tags outside comments. It takes linear time, even on hostile pages."""
    found: list[str] = []
    place = page.find(b"<")
    while place >= 0:
        if page.startswith(b"<!--", place):
            end = page.find(b"-->", place + 2)
            if end < 0:
                break
            place = end + 3
        elif page[place + 1 : place + 2].isalpha() or page.startswith(b"</", place):
            attributes, end = _attributes(page, place + 1)
            if page[place + 1 : place + 5].lower() == b"meta" and page[place + 5 : place + 6] in b" \t\n\f\r/":
                found += _label(attributes)
            place = end
        else:
            place += 1
        place = page.find(b"<", place)
    return found


_ATTRIBUTE = re.compile(
    rb"""[\s/]*+([^\s/>=]++[^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"'][^\s>]*+)?))?+"""
)
_NAME = re.compile(rb"[^\s/>]*+")


def _attributes(page: bytes, place: int) -> tuple[dict[bytes, bytes], int]:
    """Return the attributes of the tag whose name begins at `place`, and the end of the tag."""
    name = _NAME.match(page, place)
    place = name.end() if name else place
    found: dict[bytes, bytes] = {}
    while (match := _ATTRIBUTE.match(page, place)) and match.end() > place:
        found.setdefault(match[1].lower(), match[2] or match[3] or match[4] or b"")
        place = match.end()
    while place < len(page) and page[place : place + 1] in b" \t\n\f\r/":
        place += 1
    return found, place + 1


def _label(attributes: dict[bytes, bytes]) -> list[str]:
    label = attributes.get(b"charset", b"")
    if not label and attributes.get(b"http-equiv", b"").strip().lower() == b"content-type":
        _, _, rest = attributes.get(b"content", b"").lower().partition(b"charset")
        label = rest.strip().removeprefix(b"=").strip(b" \t\n\f\r\"'").partition(b";")[0]
    return [label.decode("ascii", "replace").strip()] if label.strip() else []


def _as_browsers(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        if error.encoding == "gb18030" and byte == 0x80:
            return "€", error.start + 1
        if 0x80 <= byte < 0xA0 and error.encoding == "charmap":
            return chr(byte), error.start + 1
    raise error


codecs.register_error(AS_BROWSERS, _as_browsers)
