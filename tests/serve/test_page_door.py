"""The requests that the page sends to the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keeper
import pytest
from make_documents import pdf
from served import Served, SlowChat, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("service")) as found:
        yield found


def ask(served: Served, *documents: dict[str, Any], question: str = keeper.QUESTION) -> dict[str, Any]:
    found = served.client.post("/api/readings", json={"question": question, "documents": documents})
    assert found.status_code == 202, found.text
    reading: dict[str, Any] = found.json()
    return reading


def events(served: Served, id_: str) -> list[tuple[str, Any]]:
    """Return all events of a reading until its stream ends."""
    found = []
    with served.client.stream("GET", f"/api/readings/{id_}/events") as response:
        name = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
    return found


def test_a_reading_is_watched_to_its_end(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat) as served:
        reading = ask(served, {"text": keeper.text(), "name": "Pasted text"})
        assert (reading["state"], reading["answer"], reading["documents"][0]["name"]) == ("queued", None, "Pasted text")
        served.loop.call_soon_threadsafe(served.loop.call_later, 0.3, chat.gate.set)
        found = events(served, reading["id"])
    names = [name for name, _ in found]
    assert (names[0], names[-1]) == ("reading", "reading")
    turns = [data for name, data in found if name == "turn"]
    assert [turn["turn"] for turn in turns] == sorted({turn["turn"] for turn in turns})
    assert {text for turn in turns for op, text in turn["parts"] if op == "added"}
    last = found[-1][1]
    assert (last["state"], last["answer"]) == ("done", keeper.KEYS)
    assert sorted(each["quote"] for each in last["citations"]) == sorted(keeper.FACTS)
    assert (last["usage"]["prompt_tokens"] > 0, last["progress"]["segments"] > 2) == (True, True)
    shares = [data["progress"]["read"] for name, data in found if name == "reading"]
    assert shares[1:-1] == sorted(shares[1:-1])


def test_a_pdf_is_uploaded_and_cited_with_its_page(served: Served, tmp_path: Path) -> None:
    pages = [f"{keeper.FILLER}\n{keeper.fact(number)}" for number in (1, *keeper.ASKED)]
    kept = served.client.post(
        "/api/documents", files={"file": ("keeper.pdf", pdf(tmp_path / "a.pdf", pages).read_bytes())}
    )
    assert (kept.status_code, kept.json()["name"]) == (201, "keeper.pdf")
    reading = events(served, ask(served, {"id": kept.json()["id"]})["id"])[-1][1]
    assert reading["answer"] == keeper.KEYS
    for number, cited in enumerate(reading["citations"]):
        page = 2 + keeper.ASKED.index(int(cited["quote"].split()[4]))
        assert (cited["document"], cited["page"]) == ("keeper.pdf", page)
        passage = served.client.get(f"/api/readings/{reading['id']}/passages/{number}").json()
        assert (passage["quote"], passage["page"]) == (cited["quote"], page)
        assert passage["before"].rstrip().endswith("nobody spoke of it.")
    assert served.client.get(f"/api/readings/{reading['id']}/passages/2").status_code == 404


def test_several_questions_about_one_document(served: Served) -> None:
    first = ask(served, {"text": keeper.text(30), "name": "a"})
    second = ask(served, {"id": first["documents"][0]["id"]}, question=f"{keeper.QUESTION} Again.")
    assert first["documents"] == second["documents"]
    for reading in (first, second):
        events(served, reading["id"])
    listed = served.client.get("/api/readings", params={"limit": 2}).json()["readings"]
    assert [each["id"] for each in listed] == [second["id"], first["id"]]
    assert {each["state"] for each in listed} == {"done"}


def test_a_reading_is_cancelled_resumed_and_removed(tmp_path: Path) -> None:
    chat = SlowChat()
    with serving(tmp_path, chat) as served:
        path = f"/api/readings/{ask(served, {'text': keeper.text(), 'name': 'a'})['id']}"
        assert served.client.post(f"{path}/cancel").json()["state"] == "cancelled"
        served.call(chat.gate.set)
        assert served.client.post(f"{path}/resume").json()["state"] == "queued"
        assert events(served, path.rpartition("/")[2])[-1][1]["answer"] == keeper.KEYS
        assert served.client.delete(path).status_code == 204
        assert served.client.get(path).status_code == 404


def test_a_finished_reading_is_downloaded_as_one_page(served: Served) -> None:
    reading = ask(served, {"text": f"<script>alert(1)</script>\n{keeper.text(50)}", "name": "<b>name</b>"})
    events(served, reading["id"])
    found = served.client.get(f"/api/readings/{reading['id']}/page.html")
    assert found.headers["content-disposition"] == f'attachment; filename="{reading["id"]}.html"'
    assert keeper.KEYS in found.text
    assert "<b>name</b>" not in found.text
    assert "<script>alert" not in found.text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"question": "", "documents": [{"text": "a"}]},
        {"question": "Who?", "documents": []},
        {"question": "Who?", "documents": [{"text": ""}]},
        {"question": "Who?", "documents": [{"text": " \n"}]},
        {"question": "Who?", "documents": [{"text": "\ud800"}]},
        {"question": "\ud800", "documents": [{"text": "a"}]},
        {"question": "Who?" * 1000, "documents": [{"text": "a"}]},
        {"question": "Who?", "documents": [{"id": "file-none"}]},
        {"question": "Who?", "documents": [{"text": "a"}], "reader": "telepathy"},
    ],
)
def test_a_bad_question_gets_a_sentence(served: Served, form: dict[str, Any]) -> None:
    found = served.client.post("/api/readings", content=json.dumps(form), headers={"Content-Type": "application/json"})
    assert found.status_code in (400, 404)
    assert found.json()["error"]["message"].endswith(".")


def test_unknown_readings_are_not_found(served: Served) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/resume"), ("GET", "/events")):
        found = served.client.request(method, f"/api/readings/none{path}")
        assert (found.status_code, found.json()["error"]["code"]) == (404, "reading_not_found")
    assert served.client.get("/api/nothing").json()["error"]["message"] == "Not Found."
    assert served.client.put("/api/readings").status_code == 405


def test_the_service_describes_itself(served: Served) -> None:
    about = served.client.get("/api/about").json()
    assert (about["model"], about["reader"], about["needs_key"]) == ("scripted", "overwrite", False)
    assert "search" in about["readers"]
    served.client.get("/health")
    figures = served.client.get("/metrics").text
    assert 'memagent_requests_total{path="/health",status="200"}' in figures
    assert 'memagent_readings{state="reading"} 0.0' in figures
