"""After kill -9 in the middle of a wave, every finished call is kept, so that none is paid for twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from fault_server import Body, FaultServer, Reply, ok
from keeper import KEYS, QUESTION, perfect, text

from memagent.core.prompts import CHECK, MERGE
from memagent.core.records import Message, Request, Segment
from memagent.runs.run import Run

AT_ONCE = 4


def reading(body: Body) -> Reply:
    """Reply as a perfect model does. The kind of request has to be recognised from the prompt."""
    prompt = body["messages"][0]["content"]
    memory = prompt[prompt.index("<memory>") : prompt.index("</memory>")]
    shown = prompt[prompt.index("<section>") : prompt.index("</section>")] if "<section>" in prompt else ""
    kinds = {"merge": MERGE, "check": CHECK}
    kind = next((name for name, template in kinds.items() if prompt.startswith(template[:60])), "answer")
    segment = Segment(0, len(shown), shown, 1) if shown else None
    asked = Request((Message("user", prompt),), 64, segment, memory, "memorize" if shown else kind)
    return ok(perfect(asked), usage={"prompt_tokens": len(prompt) // 3, "completion_tokens": 5})(body)


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "kills"), [("parallel", 12), ("search", 4)])
def test_a_wave_that_is_killed_again_and_again(tmp_path: Path, reader: str, kills: int) -> None:
    document = tmp_path / "keepers.txt"
    document.write_text(text())
    draw, killed = random.Random(7), 0
    with FaultServer([reading], pause=0.05) as server:
        command = [
            *(sys.executable, "-m", "memagent", "ask", QUESTION, str(document), "--model", "m", "--reader", reader),
            *("--base-url", server.url, "--run", str(tmp_path / "run"), "--segment-tokens", "200", "--json", "--quiet"),
            *("--concurrency", str(AT_ONCE)),
        ]
        while True:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OPENAI_API_KEY": "k"}
            )
            if killed < kills:
                asked = len(server.requests)
                while len(server.requests) < asked + draw.randrange(2, 7) and process.poll() is None:
                    threading.Event().wait(0.003)
                threading.Event().wait(draw.random() * 0.04)
                process.kill()
                killed += process.wait() == -signal.SIGKILL
            out, err = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, err.decode()
    assert json.loads(out)["answer"] == KEYS
    turns = list(Run(tmp_path / "run").trace.turns)
    paid = Counter(body["messages"][0]["content"] for body in server.bodies if body["max_tokens"] != 16)
    assert killed >= min(kills, 3)
    assert {turn.request.messages[0].content for turn in turns} <= set(paid)
    assert sum(paid.values()) - len(turns) <= killed * AT_ONCE
    assert max(Counter(turn.wave for turn in turns).values()) > AT_ONCE or reader == "search"
