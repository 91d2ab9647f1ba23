"""Patterns of written text that several rooms share: where sentences end, and which scripts have no spaces."""

from __future__ import annotations

SENTENCE_END = r"[.!?…][\"'”’)\]]*"
"""The end of a sentence in scripts with spaces, with closing quotes and brackets, without the space after it."""

MARKED_SENTENCE_END = r"[.!?…][\"'”’»)\]*_]*"
"""The same in documents, which may have Markdown's emphasis (`*` and `_`) around a sentence."""

CJK_SENTENCE_END = r"[。！？]"
"""The end of a sentence in Chinese and Japanese, without the quotes and brackets after it."""

CJK_CLOSING = r"[」』”’）]*"
"""Closing quotes and brackets in Chinese and Japanese."""

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts without spaces between words, for a character class: Thai, Lao, Burmese, Khmer, kana, Chinese characters."""
