"""Read a text of any length with a model of any window: segment by segment, into one memory.

from memagent import MemoryAgent

with MemoryAgent() as agent:
    answer = agent.ask("Who hid the compass?", "book.pdf")
print(answer.text, answer.citations)
"""

from __future__ import annotations

__version__ = "0.1.0"

from memagent.agent import MemoryAgent
from memagent.answers import Answer, Cited
from memagent.asking import Watch
from memagent.budget import Budget
from memagent.chat import Chat, Sampling
from memagent.chat.connect import connect
from memagent.chat.scripted import ScriptedChat
from memagent.documents import Document, open_documents, text_document
from memagent.errors import MemagentError
from memagent.limits import Limits, Price
from memagent.reading import reading
from memagent.records import Completion, Message, Request, Segment, Trace, Turn, Usage
from memagent.segments import segments
from memagent.tokenizer import ByteTokenizer, load_tokenizer

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
    "Usage",
    "Watch",
    "connect",
    "load_tokenizer",
    "open_documents",
    "reading",
    "segments",
    "text_document",
]
