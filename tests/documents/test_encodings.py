"""Declared encodings are found and decoded as browsers do it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.documents.encodings import TextEncoding, encoding_of, is_known_encoding


def decoded(page: bytes, served: str | None = None) -> str:
    encoding = encoding_of(page, True, None, served)
    return page.decode(encoding.name, encoding.errors)


@pytest.mark.parametrize(
    ("label", "written", "meant"),
    [
        ("iso-8859-1", b"\x93caf\xe9\x94 \x80\x81", "“café” €\x81"),
        ("latin1", b"\x85", "…"),
        ("us-ascii", b"\x99", "™"),
        ("iso-8859-9", b"\xfe\x80", "ş€"),
        ("gb2312", b"\x80100 \xe9\x46", "€100 镕"),
        ("x-sjis", b"\x87\x40", "①"),
        ("ks_c_5601-1987", b"\x8c\x63", "똠"),
        ("koi8-r", b"\xd0\xd2\xc9", "при"),
        ("utf8", "é".encode(), "é"),
        ("utf-16", "é".encode(), "é"),
    ],
)
@pytest.mark.parametrize(
    "tag",
    [
        '<meta charset="{}">',
        "<META  name=x\ncharset = '{}'/>",
        "<meta charset={}>",
        '<meta http-equiv="Content-Type" content="text/html; charset={}">',
        "<meta content='text/html;charset={};x' http-equiv=content-type>",
    ],
)
def test_a_label_means_what_browsers_make_of_it(label: str, written: bytes, meant: str, tag: str) -> None:
    page = f"<html><head>{tag.format(label)}</head><body>".encode()
    assert decoded(page + written).endswith(f"<body>{meant}")


@pytest.mark.parametrize(
    "before",
    [
        "<!-- <meta charset=koi8-r> -->",
        "<!--><meta charset=windows-1251><!-- -->".replace("<meta charset=windows-1251>", ""),
        '<meta name="description" content="how to set charset=koi8-r">',
        "<title a='<meta charset=koi8-r>'>",
        "<metadata charset=koi8-r>",
        "<meta charset=klingon>",
        "<meta data-charset=koi8-r>",
        "</ meta charset=koi8-r>",
        f"<!-- {'x' * 90_000} -->",
    ],
)
def test_what_is_no_declaration_does_not_decide(before: str) -> None:
    page = f"<html>{before}<meta charset=iso-8859-1>".encode()
    assert encoding_of(page, True, None, None).name == "cp1252"


def test_what_decides_before_what() -> None:
    declared = b"<meta charset=koi8-r>"
    assert encoding_of(b"\xef\xbb\xbf" + declared, True, None, "iso-8859-5") == TextEncoding("utf-8-sig")
    assert encoding_of(declared, True, "latin-1", "iso-8859-5") == TextEncoding("latin-1")
    assert encoding_of(declared, True, None, "iso-8859-5").name == "iso8859-5"
    assert encoding_of(declared, True, None, "klingon").name == "koi8-r"
    assert encoding_of(declared, False, None, None) == TextEncoding()
    assert encoding_of(b'<?xml version="1.0" encoding="ISO-8859-1"?><a>', False, None, None).name == "cp1252"
    assert encoding_of(b"<?xml version='1.0'?><html><meta charset=koi8-r>", True, None, None).name == "koi8-r"


@pytest.mark.parametrize(
    "hostile",
    [b"<meta ", b"<meta charset", b"<", b"<!--", b"<meta a=", b"<meta a='", b"< <a ", b"<a/", b"=\"'<meta ", b"<?xml "],
)
def test_hostile_pages_take_no_time(hostile: bytes) -> None:
    began = time.process_time()
    encoding_of(hostile * (1 << 18), True, None, None)
    assert time.process_time() - began < 5  # seconds; quadratic time would take hours


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_have_an_encoding_that_exists(page: bytes, markup: bool) -> None:
    encoding = encoding_of(page, markup, None, None)
    assert isinstance(page.decode(encoding.name, "replace"), str)
    assert is_known_encoding(encoding.name)
