"""Measure the service: the time that it adds to a short prompt, 200 clients at once, and restarts under load.

    python benchmarks/serving.py [overhead] [load [SECONDS]] [killed]

The simulated model server and the service run in separate processes, and the service starts as a user would start it.
The documents are about lighthouse keepers. The model finds the key that a question asks for, so the benchmark can check
every answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import httpx2
from common import figure
from simulated import Server, serve, serving

CLIENTS = 200
SECONDS = 600.0
_FILLER = "The sea was grey that morning and nobody spoke of it. " * 8
_ASKED = re.compile(r"lighthouse (\d+)\?")
_FACT = re.compile(r"lighthouse (\d+) hides")
_SHORT = "Say something short, please."


class Keepers(Server):
    """Copies the key that the question asks for, if the key is in the prompt. Counts the prompts about each segment."""

    async def reply(self, body: bytes) -> tuple[str, int, int]:
        await asyncio.sleep(self._seconds * self._random.uniform(1 - self._jitter, 1 + self._jitter))
        prompt = json.loads(body)["messages"][-1]["content"]
        if not (asked := _ASKED.search(prompt)):
            return "It is short.", len(body) // 3, 5
        first = _FACT.search(prompt.partition("<section>")[2])
        self.waits[f"{asked[1]} {first[1] if first else 'answer'}".encode()].append(1.0)
        fact = re.search(rf"The keeper of lighthouse {asked[1]} hides the key \d+\.", prompt)
        if prompt.rstrip().endswith("Your answer:"):
            return f"\\boxed{{{fact[0].split()[-1].rstrip('.') if fact else 'none'}}}", len(body) // 3, 10
        return fact[0] if fact else "Nothing relevant yet.", len(body) // 3, 20


def document(seed: int, paragraphs: int) -> tuple[str, str, str]:
    """Return a text, a question about it, and the right answer."""
    chance = random.Random(seed)
    numbers = chance.sample(range(100_000), paragraphs)
    keys = {number: chance.randrange(10**6, 10**7) for number in numbers}
    text = "\n\n".join(f"{_FILLER}The keeper of lighthouse {n} hides the key {keys[n]}." for n in numbers)
    asked = chance.choice(numbers)
    return text, f"Which key is hidden in lighthouse {asked}?", str(keys[asked])


@contextmanager
def service(model_url: str, folder: Path, port: int = 0, *more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `memagent serve` in front of a model. Yields its address and its process."""
    command = [sys.executable, "-m", "memagent", "serve", "--model", "m", "--base-url", model_url, "--port", str(port)]
    command += ["--folder", str(folder), "--segment-tokens", "800", "--memory-tokens", "200", "--window", "4096", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"OpenAI +(http\S+)/v1", line):
                    yield found[1], process
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def resident(process: subprocess.Popen[str]) -> float:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


# -- overhead ----------------------------------------------------------------------------------------------------------


def overhead(rounds: float = 300) -> None:
    with (
        serving(__file__, "model", "0", "0") as (url, _),
        tempfile.TemporaryDirectory() as folder,
        service(url, Path(folder)) as (own, _),
        httpx2.Client(timeout=30) as client,
    ):
        for stream in (False, True):
            asked = {"messages": [{"role": "user", "content": _SHORT}], "stream": stream, "model": "m"}
            seconds: dict[str, list[float]] = {url: [], f"{own}/v1": []}
            for _ in range(int(rounds)):  # in turn, so that both run under the same conditions
                for base in seconds:
                    began = time.perf_counter()
                    reply = client.post(f"{base}/chat/completions", json=asked)
                    seconds[base].append(time.perf_counter() - began)
                    assert "short" in reply.text
            alone, through = (1000 * median(times) for times in seconds.values())
            added = f"{through - alone:.1f} ms ({alone:.1f} without it)"
            figure(f"serving: time added to {'a stream' if stream else 'a short prompt'}", added, "at most 5 ms")


# -- load --------------------------------------------------------------------------------------------------------------


class Load:
    """Clients that keep asking questions, and check every answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.failed: list[str] = []

    async def client(self, number: int, until: float) -> None:
        chance = random.Random(number)
        async with httpx2.AsyncClient(base_url=self.url, timeout=300) as client:
            turn = 0
            while time.monotonic() < until:
                turn += 1
                kind = chance.choices(["short", "read", "stream", "file"], [4, 3, 2, 1])[0]
                try:
                    await getattr(self, f"_{kind}")(client, number * 100_000 + turn)
                    self.done[kind] += 1
                except (httpx2.HTTPError, KeyError, ValueError) as error:
                    self.failed.append(f"{kind}: {type(error).__name__}: {error}")
                await asyncio.sleep(chance.uniform(0, 2))

    async def _short(self, client: httpx2.AsyncClient, seed: int) -> None:
        self._check(await _ask(client, f"{_SHORT} {seed}"), "It is short.")

    async def _read(self, client: httpx2.AsyncClient, seed: int) -> None:
        text, question, key = document(seed, 40)
        self._check(await _ask(client, f"{text}\n\n{question}"), key)

    async def _file(self, client: httpx2.AsyncClient, seed: int) -> None:
        text, question, key = document(seed, 40)
        kept = (await client.post("/v1/files", files={"file": ("keeper.txt", text.encode())})).raise_for_status().json()
        parts = [{"type": "file", "file": {"file_id": kept["id"]}}, {"type": "text", "text": question}]
        self._check(await _ask(client, parts), key)
        (await client.delete(f"/v1/files/{kept['id']}")).raise_for_status()

    async def _stream(self, client: httpx2.AsyncClient, seed: int) -> None:
        text, question, key = document(seed, 40)
        asked = {"model": "m", "messages": [{"role": "user", "content": f"{text}\n\n{question}"}], "stream": True}
        found = ""
        async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line.removeprefix("data: "))["choices"]:
                        found += choice["delta"].get("content") or ""
        self._check(found, key)

    def _check(self, found: str, right: str) -> None:
        if found != right:
            self.wrong.append(f"{found!r}, not {right!r}")


async def _ask(client: httpx2.AsyncClient, content: object) -> str:
    asked = {"model": "m", "messages": [{"role": "user", "content": content}]}
    reply = (await client.post("/v1/chat/completions", json=asked)).raise_for_status().json()
    text: str = reply["choices"][0]["message"]["content"]
    return text


def load(seconds: float = SECONDS) -> None:
    with serving(__file__, "model", "0.1", "0.5") as (url, _), tempfile.TemporaryDirectory() as folder:
        more = ["--concurrency", "16", "--readings", "64", "--waiting", "1000"]
        with service(url, Path(folder), 0, *more) as (own, process):
            asking, memory = Load(own), list[float]()

            async def run() -> None:
                until = time.monotonic() + seconds
                tasks = [asking.client(number, until) for number in range(CLIENTS)]
                async with asyncio.TaskGroup() as group:
                    for each in tasks:
                        group.create_task(each)
                    while time.monotonic() < until:
                        memory.append(resident(process))
                        await asyncio.sleep(seconds / 20)

            # In its own process, because the clients keep this one busy.
            command = [sys.executable, __file__, "probe", own, str(seconds)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as probing:
                asyncio.run(run())
                health = json.loads(probing.communicate()[0])
    asked = ", ".join(f"{number:,} {kind}" for kind, number in sorted(asking.done.items()))
    figure(f"serving: {CLIENTS} clients for {seconds:.0f} s", asked)
    figure("serving: failed requests, wrong answers", f"{len(asking.failed)}, {len(asking.wrong)}", "none")
    p99 = 1000 * quantiles(health, n=100)[98]
    figure("serving: /health, median and p99", f"{1000 * median(health):.0f} and {p99:.0f} ms", "p99 under 100 ms")
    half = len(memory) // 2
    figure("serving: memory in the middle and at the end", f"{memory[half]:.0f} MB, {memory[-1]:.0f} MB", "flat")
    for each in [*asking.failed[:5], *asking.wrong[:5]]:
        print("   ", each)


def probe(url: str, seconds: float) -> None:
    """Request /health ten times a second, and print the seconds that each reply took."""
    found, until = list[float](), time.monotonic() + seconds
    with httpx2.Client(base_url=url, timeout=30) as client:
        while time.monotonic() < until:
            began = time.perf_counter()
            client.get("/health").raise_for_status()
            found.append(time.perf_counter() - began)
            time.sleep(0.1)
    print(json.dumps(found))


# -- killed ------------------------------------------------------------------------------------------------------------


def killed(readings: int = 40, kills: int = 3) -> None:
    """Kill the service under load several times, and check that every reading resumes."""
    concurrency = 16
    with serving(__file__, "model", "0.2", "0.5") as (url, seen), tempfile.TemporaryDirectory() as name:
        folder, right = Path(name), dict[str, str]()
        for turn in range(kills + 1):
            with (
                service(url, folder, 0, "--concurrency", str(concurrency)) as (own, process),
                httpx2.Client(base_url=own, timeout=60) as client,
            ):
                for seed in range(turn * readings, (turn + 1) * readings if turn < kills else 0):
                    text, question, key = document(seed, 60)
                    form = {"question": question, "documents": [{"text": text}]}
                    right[client.post("/api/readings", json=form).raise_for_status().json()["id"]] = key
                if turn < kills:
                    time.sleep(1.5)
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    continue
                states = _ended(client, len(right))
                answers = {id_: client.get(f"/api/readings/{id_}").json()["answer"] for id_ in right}
    wrong = sum(answers[id_] != key for id_, key in right.items())
    figure(
        f"serving: {len(right)} readings, killed {kills} times",
        f"{dict(states)}, {wrong} wrong",
        "all done, none wrong",
    )
    twice = sum(len(times) - 1 for times in seen.values())
    calls = sum(map(len, seen.values()))
    figure("serving: calls paid for twice", f"{twice} of {calls:,}", f"at most {kills * concurrency}: calls in flight")


def _ended(client: httpx2.Client, number: int) -> Counter[str]:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        found = client.get("/api/readings", params={"limit": 1000}).json()["readings"]
        states = Counter(each["state"] for each in found)
        if len(found) == number and not states["queued"] + states["reading"]:
            break
        time.sleep(0.5)
    return states


def main() -> None:
    overhead()
    killed()
    load()


if __name__ == "__main__":
    if sys.argv[1:2] == ["model"]:
        asyncio.run(serve(Keepers(float(sys.argv[2]), float(sys.argv[3]))))
    elif sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2], float(sys.argv[3]))
    elif len(sys.argv) > 1:
        for number, name in enumerate(sys.argv[1:], 1):
            if not name[0].isdigit():
                following = sys.argv[number + 1 : number + 2]
                globals()[name](*(float(each) for each in following if each[0].isdigit()))
    else:
        main()
