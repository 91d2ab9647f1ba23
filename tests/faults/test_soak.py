"""The process's memory stays flat over a reading of 20,000 turns, with its journal and citations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TURNS, SOON = 20_000, 2_000

PROGRAM = """
import json, re, sys
from pathlib import Path
from memagent import Budget, MemoryAgent, open_documents
from memagent.models.scripted import ScriptedChat

document, run, soon = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
turns, sizes = 0, []

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def reply(request):
    global turns
    turns += 1
    if turns % soon == 0:
        sizes.append(resident())
    if request.kind == "answer":
        return request.memory
    numbers = re.findall(r"The code is code-(\\d+)", request.segment.text)
    return f"The code is code-{numbers[-1]}." if numbers else request.memory

agent = MemoryAgent(ScriptedChat(reply, keep=False), budget=Budget(100, 130, 64, 64), fsync=False)
with agent, open_documents([document]) as opened:
    answer = agent.ask("Which code?", opened, run=run)
quotes = [citation.quote for citation in answer.citations]
print(json.dumps({"turns": turns, "answer": answer.text, "quotes": quotes, "sizes": sizes}))
"""


@pytest.mark.slow
def test_twenty_thousand_turns(tmp_path: Path) -> None:
    document = tmp_path / "long.txt"
    document.write_text("\n\n".join(f"The code is code-{number}. {'The river runs. ' * 6}" for number in range(TURNS)))
    command = [sys.executable, "-c", PROGRAM, str(document), str(tmp_path / "run"), str(SOON)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["turns"] >= TURNS
    assert found["answer"] == f"The code is code-{TURNS - 1}."
    assert [quote.strip() for quote in found["quotes"]] == [f"The code is code-{TURNS - 1}."]
    assert max(found["sizes"]) - found["sizes"][0] < 16, found["sizes"]  # MiB
