"""Read a text of any length with any model: segment by segment, with one memory of fixed length.

from memagent import MemoryAgent

with MemoryAgent() as agent:
    answer = agent.ask("Who hid the compass?", "book.pdf")
print(answer.text, answer.citations)
"""

from __future__ import annotations

from memagent._version import __version__
from memagent.agent import MemoryAgent
from memagent.core.budget import Budget
from memagent.core.limits import Limits, Price
from memagent.core.reading import Underway
from memagent.core.records import Completion, Message, Request, Segment, Trace, Turn, Usage
from memagent.core.segments import segments
from memagent.core.tokenizer import ByteTokenizer, load_tokenizer
from memagent.documents import Document, bytes_document, open_documents, text_document
from memagent.errors import MemagentError
from memagent.evidence.answer import Answer, Cited
from memagent.models.chat import Chat, Sampling
from memagent.models.connect import connect
from memagent.models.scripted import ScriptedChat
from memagent.readers.overwrite import overwrite
from memagent.runs.watch import Watch

__all__ = [
    "Answer",
    "Budget",
    "ByteTokenizer",
    "Chat",
    "Cited",
    "Completion",
    "Document",
    "Limits",
    "MemagentError",
    "MemoryAgent",
    "Message",
    "Price",
    "Request",
    "Sampling",
    "ScriptedChat",
    "Segment",
    "Trace",
    "Turn",
    "Underway",
    "Usage",
    "Watch",
    "__version__",
    "bytes_document",
    "connect",
    "load_tokenizer",
    "open_documents",
    "overwrite",
    "segments",
    "text_document",
]
