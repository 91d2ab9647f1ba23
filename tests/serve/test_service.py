"""Readings as jobs on disk."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest.mock import patch

import keeper
import pytest
from served import BUDGET, SlowChat, perfect_chat, serving

from memagent.errors import BudgetError, DocumentError, ModelError, StorageError, UsageError
from memagent.models.chat import Chat
from memagent.serve.intake import keep_text
from memagent.serve.outcome import outcome_of
from memagent.serve.service import Busy, NoSuchReading, Service
from memagent.serve.service_limits import ServiceLimits
from memagent.serve.shelf import FolderInUse, NoSuchDocument

Test = Callable[[Service], Awaitable[None]]


def run(folder: Path, test: Test, chat: Chat | None = None, limits: ServiceLimits | None = None) -> None:
    async def inside() -> None:
        async with Service(chat or perfect_chat(), folder, budget=BUDGET, limits=limits) as service:
            await test(service)

    asyncio.run(inside())


async def document(service: Service, owner: str = "a", text: str | None = None) -> str:
    return (await keep_text(service, owner, "keeper.txt", text or keeper.text())).id


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def ended(service: Service, id_: str, owner: str = "a") -> str:
    if job := service.worker.jobs.get(id_):
        await job.end()
        await asyncio.sleep(0)
    return service.find(owner, id_).state


def test_a_reading_is_found_by_its_owner_only(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        assert await ended(service, stored.id) == "done"
        outcome = await service.worker.outcome(service.find("a", stored.id))
        assert outcome
        assert (outcome.answer, [each.document for each in outcome.citations]) == (keeper.KEYS, ["keeper.txt"] * 2)
        for asked in (service.find, service.resume):
            with pytest.raises(NoSuchReading):
                asked("b", stored.id)
        with pytest.raises(NoSuchReading):
            await service.remove("b", stored.id)
        with pytest.raises(NoSuchDocument):
            service.start("b", keeper.QUESTION, stored.documents)
        assert [each.id for each in service.shelf.readings("a", 9)] == [stored.id]
        assert service.shelf.readings("b", 9) == []

    run(tmp_path, test)


def test_owners_who_ask_the_same_do_not_share_a_reading(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        found = [service.start(owner, keeper.QUESTION, [await document(service, owner)]) for owner in "ab"]
        assert found[0].id != found[1].id
        assert [await ended(service, each.id, each.owner) for each in found] == ["done", "done"]

    run(tmp_path, test)


def test_an_answer_is_paid_for_once(tmp_path: Path) -> None:
    chat = perfect_chat()

    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        await ended(service, stored.id)
        calls = len(chat.requests)
        again = service.start("a", keeper.QUESTION, [await document(service)])
        assert (again.id, again.state, len(chat.requests)) == (stored.id, "done", calls)
        service.start("a", keeper.QUESTION, [await document(service)], fresh=True)
        assert await ended(service, stored.id) == "done"
        assert len(chat.requests) == 2 * calls

    run(tmp_path, test, chat)


def test_a_second_service_on_a_folder_is_refused(tmp_path: Path) -> None:
    async def test(_: Service) -> None:
        with pytest.raises(FolderInUse, match="Another memagent service is using"):
            Service(perfect_chat(), tmp_path)

    run(tmp_path, test)
    run(tmp_path, lambda service: asyncio.sleep(0))  # the folder is free again


def test_readings_go_on_after_a_restart(tmp_path: Path) -> None:
    first, ids = SlowChat(concurrency=2), list[str]()

    async def begin(service: Service) -> None:
        for number in range(3):
            question = f"{keeper.QUESTION} ({number})"
            ids.append(service.start("a", question, [await document(service)]).id)
        first.gate.set()
        await until(lambda: len(first.requests) > 6)
        first.gate.clear()

    async def go_on(service: Service) -> None:
        assert [await ended(service, id_) for id_ in ids] == ["done"] * 3
        found = [await service.worker.outcome(service.find("a", id_)) for id_ in ids]
        assert [each.answer for each in found if each] == [keeper.KEYS] * 3

    run(tmp_path, begin, first)
    second = perfect_chat()
    run(tmp_path, go_on, second)
    paid = Counter(request.messages for request in [*first.requests, *second.requests])
    assert sum(paid.values()) - len(paid) <= 2  # only calls that were in flight when the service ended


def test_a_reading_that_was_cancelled_can_be_resumed(tmp_path: Path) -> None:
    chat = SlowChat()

    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        chat.gate.set()
        await until(lambda: len(chat.requests) > 1)
        chat.gate.clear()
        assert (await service.cancel("a", stored.id)).state == "cancelled"
        assert service.worker.jobs.get(stored.id) is None
        before = len(chat.requests)
        chat.gate.set()
        assert service.resume("a", stored.id).state == "queued"
        assert await ended(service, stored.id) == "done"
        assert len({request.messages for request in chat.requests}) >= len(chat.requests) - 1
        assert len(chat.requests) > before

    run(tmp_path, test, chat)


def test_a_removed_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        await ended(service, stored.id)
        await service.remove("a", stored.id)
        with pytest.raises(NoSuchReading):
            service.find("a", stored.id)
        assert list((tmp_path / "readings").iterdir()) == []
        assert list((tmp_path / "documents").iterdir()) == []

    run(tmp_path, test)


def test_a_document_stays_as_long_as_a_reading_needs_it(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        first = service.start("a", keeper.QUESTION, [await document(service)])
        second = service.start("a", "Which?", [await document(service)])
        for stored in (first, second):
            await ended(service, stored.id)
        await service.remove("a", first.id)
        assert len(list((tmp_path / "documents").iterdir())) == 1
        assert service.resume("a", second.id).state == "done"

    run(tmp_path, test)


def test_the_queue_is_bounded_and_fair(tmp_path: Path) -> None:
    chat = SlowChat()

    async def test(service: Service) -> None:
        ids = [service.start("a", f"Which? {n}", [await document(service)]).id for n in range(3)]
        await until(lambda: chat.now == 1)
        with pytest.raises(Busy, match="You already have 2 readings in the queue"):
            service.start("a", "Which? 3", [await document(service)])
        other = service.start("b", keeper.QUESTION, [await document(service, "b")])
        assert [service.ahead(service.find("a", id_)) for id_ in ids] == [0, 0, 1]
        chat.gate.set()
        assert await ended(service, other.id, "b") == "done"
        assert service.find("a", ids[0]).state == "done"
        assert service.find("a", ids[2]).state != "done"  # b's reading came before a's third one

    run(tmp_path, test, chat, ServiceLimits(readings=1, waiting=2))


def test_all_readings_share_the_models_places(tmp_path: Path) -> None:
    chat = SlowChat(concurrency=3)

    async def test(service: Service) -> None:
        ids = [service.start("a", f"{keeper.QUESTION} {n}", [await document(service)]).id for n in range(8)]
        await until(lambda: chat.now == 3)
        chat.gate.set()
        assert [await ended(service, id_) for id_ in ids] == ["done"] * 8
        assert chat.most == 3

    run(tmp_path, test, chat)


def test_limits_stop_a_reading(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        assert await ended(service, stored.id) == "stopped"
        assert service.find("a", stored.id).error

    run(tmp_path / "tokens", test, limits=ServiceLimits(tokens=5000))
    run(tmp_path / "seconds", test, SlowChat(), ServiceLimits(seconds=0.1))

    async def large(service: Service) -> None:
        with pytest.raises(DocumentError, match=r"keeper\.txt is larger than"):
            await document(service)
        assert list((tmp_path / "bytes" / "documents").iterdir()) == []

    run(tmp_path / "bytes", large, limits=ServiceLimits(document_bytes=1000))


def test_a_model_that_fails_is_reported(tmp_path: Path) -> None:
    def fail(_: object) -> str:
        raise ModelError("The model is on holiday.")

    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        assert await ended(service, stored.id) == "failed"
        assert service.find("a", stored.id).error == "The model is on holiday."

    run(tmp_path, test, perfect_chat(fail))


def test_a_bug_ends_a_reading_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> str:
        raise ZeroDivisionError("a bug")

    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        assert await ended(service, stored.id) == "failed"
        await until(lambda: "ZeroDivisionError" in caplog.text)
        assert "failed unexpectedly" in (service.find("a", stored.id).error or "")

    run(tmp_path, test, perfect_chat(fail))


def test_bad_questions_are_refused_at_once(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        ids = [await document(service)]
        for question, says in (("  ", "empty"), ("why " * 200, "more than its budget")):
            with pytest.raises(BudgetError, match=says):
                service.start("a", question, ids)
        with pytest.raises(UsageError, match="no reader telepathy"):
            service.start("a", "Who?", ids, reader="telepathy")
        assert service.shelf.readings("a", 9) == []

    run(tmp_path, test)


def test_a_reading_is_not_resumed_with_another_model(tmp_path: Path) -> None:
    ids = list[str]()

    async def begin(service: Service) -> None:
        ids.append(service.start("a", keeper.QUESTION, [await document(service)]).id)

    async def look(service: Service) -> None:
        stored = service.find("a", ids[0])
        assert stored.state == "stopped"
        assert stored.error
        assert "another model" in stored.error
        with pytest.raises(UsageError, match="another model"):
            service.resume("a", ids[0])
        assert service.start("a", keeper.QUESTION, stored.documents).id != ids[0]

    async def go_on(service: Service) -> None:
        service.resume("a", ids[0])
        assert await ended(service, ids[0]) == "done"

    run(tmp_path, begin, SlowChat())
    other = perfect_chat()
    other.model = "other"
    run(tmp_path, look, other)
    run(tmp_path, go_on)


def test_a_fresh_reading_is_fresh_after_a_restart(tmp_path: Path) -> None:
    async def read(service: Service) -> None:
        await ended(service, service.start("a", keeper.QUESTION, [await document(service)]).id)

    async def again(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)], fresh=True)
        assert stored.answer is None

    async def look(service: Service) -> None:
        [stored] = service.shelf.readings("a", 9)
        assert await ended(service, stored.id) == "done"

    run(tmp_path, read)
    run(tmp_path, again, SlowChat())
    chat = perfect_chat()
    run(tmp_path, look, chat)
    assert len(chat.requests) > 5


def test_a_request_during_a_cancellation_begins_anew(tmp_path: Path) -> None:
    chat = SlowChat()

    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        await until(lambda: chat.now == 1)
        cancelling = asyncio.create_task(service.cancel("a", stored.id))
        await asyncio.sleep(0)
        assert service.start("a", keeper.QUESTION, stored.documents).state == "queued"
        await cancelling
        chat.gate.set()
        assert await ended(service, stored.id) == "done"

    run(tmp_path, test, chat)


def test_an_owner_without_a_reading_does_not_wait_for_others(tmp_path: Path) -> None:
    chat = SlowChat()

    async def test(service: Service) -> None:
        mine = [service.start("a", f"Which? {n}", [await document(service)]).id for n in range(3)]
        other = service.start("b", "Which?", [await document(service, "b")]).id
        await until(lambda: chat.now == 2)
        assert [service.find("a", id_).state for id_ in mine] == ["reading", "queued", "queued"]
        assert service.find("b", other).state == "reading"

    run(tmp_path, test, chat, ServiceLimits(readings=1))


def test_patience_starts_when_the_last_client_leaves(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)], detached=False)
        for _ in range(3):
            with service.worker.attached(stored):
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
        assert service.find("a", stored.id).state == "reading"
        await until(lambda: service.find("a", stored.id).state == "cancelled")

    run(tmp_path, test, SlowChat(), ServiceLimits(patience=0.3))


def test_nothing_is_kept_for_a_question_that_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for more in ({"question": "why " * 400}, {"reader": "telepathy"}):
            form = {"question": "Who?", "documents": [{"text": keeper.text(20)}]} | more
            assert served.client.post("/api/readings", json=form).status_code == 400
        assert list((tmp_path / "documents").iterdir()) == []


def test_a_state_that_could_not_be_stored_is_not_shown_as_active(tmp_path: Path) -> None:
    chat = SlowChat()

    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        await until(lambda: chat.now == 1)
        job = service.worker.jobs[stored.id]
        with patch.object(service.shelf, "put", side_effect=StorageError("The disk is full.")):
            chat.gate.set()
            await ended(service, stored.id)
        assert job.stored.answer == keeper.KEYS  # for the clients that waited
        assert service.find("a", stored.id).state == service.readings("a", 9)[0].state == "stopped"
        calls = len(chat.requests)
        service.resume("a", stored.id)
        assert await ended(service, stored.id) == "done"
        assert len(chat.requests) == calls

    run(tmp_path, test, chat)


def test_what_is_too_old_is_removed(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        await keep_text(service, "a", "unused.txt", "Something to read.", listed=True)
        used = (await keep_text(service, "a", "keeper.txt", keeper.text(), listed=True)).id
        old = service.start("a", "Which?", [used])
        await ended(service, old.id)
        service.shelf.expire(old.created - 5)
        assert len(service.shelf.documents("a")) == 2
        now = time.time()
        chat.gate.clear()
        active = service.start("a", keeper.QUESTION, [used])
        service.shelf.expire(now)
        assert [each.id for each in service.readings("a", 9)] == [active.id]
        assert [each.name for each in service.shelf.documents("a")] == ["keeper.txt"]
        assert not service.shelf.journal(old.id).exists()
        chat.gate.set()
        assert await ended(service, active.id) == "done"

    chat = SlowChat()
    chat.gate.set()
    run(tmp_path, test, chat)


def test_a_journal_is_scanned_once(tmp_path: Path) -> None:
    async def test(service: Service) -> None:
        stored = service.start("a", keeper.QUESTION, [await document(service)])
        await ended(service, stored.id)
        with patch("memagent.serve.worker.outcome_of", side_effect=outcome_of) as scan:
            found = [await service.worker.outcome(service.find("a", stored.id)) for _ in range(3)]
        assert scan.call_count == 1
        assert found[0] is found[2]

    run(tmp_path, test)


def test_what_a_killed_service_left_behind_is_swept_up(tmp_path: Path) -> None:
    async def leave(service: Service) -> None:
        await document(service)  # and no reading for it
        service.start("a", keeper.QUESTION, [await document(service, "a", keeper.text(30))])
        (tmp_path / "documents" / ".0123").write_text("half an upload")

    async def look(service: Service) -> None:
        [stored] = service.shelf.readings("a", 9)
        assert await ended(service, stored.id) == "done"
        assert len(list((tmp_path / "documents").iterdir())) == 1

    run(tmp_path, leave, SlowChat())
    assert len(list((tmp_path / "documents").iterdir())) == 3
    run(tmp_path, look)


def test_a_document_that_is_refused_does_not_take_another_with_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        kept = served.client.post("/v1/files", files={"file": ("a.txt", b"Something to read.")}).json()
        with patch("memagent.serve.intake.stored_documents", side_effect=DocumentError("A passing reason.")):
            again = served.client.post("/v1/files", files={"file": ("a.txt", b"Something to read.")})
        assert again.status_code == 400
        assert served.client.get(f"/v1/files/{kept['id']}/content").content == b"Something to read."
