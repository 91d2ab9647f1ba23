from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from make_results import make_results, tokens

from memagent.bench.ledger import Ledger, key_of, read_results, read_settings
from memagent.errors import RunError, StorageError

SETTINGS = {"memagent": "1", "model": "m", "seed": 42, "data": {"prose": "abc"}}
RESULTS = make_results(["vt", "fwe"], tokens(4096), samples=4)


def filled(folder: Path) -> Ledger:
    ledger = Ledger(folder, SETTINGS)
    for result in RESULTS:
        ledger.append(result)
    return ledger


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    filled(tmp_path).close()
    assert list(read_results(tmp_path)) == RESULTS
    again = Ledger(tmp_path, SETTINGS)
    assert [again.attempts(key_of(result)) for result in RESULTS] == [result.attempts for result in RESULTS]
    again.close()


def test_a_failure_is_not_done_and_a_retry_replaces_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SETTINGS)
    failed = replace(RESULTS[0], status="failed", attempts=1)
    ledger.append(failed)
    assert not ledger.done(key_of(failed))
    retried = replace(failed, status="done", attempts=2)
    ledger.append(RESULTS[1])
    ledger.append(retried)
    assert ledger.done(key_of(failed))
    assert list(read_results(tmp_path)) == [RESULTS[1], retried]
    ledger.tidy()
    assert sorted(read_results(tmp_path), key=key_of) == list(read_results(tmp_path))
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
    ledger.close()


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert list(read_results(tmp_path)) == RESULTS[:-1]
    ledger = Ledger(tmp_path, SETTINGS)
    ledger.append(RESULTS[-1])
    assert path.read_bytes() == whole
    ledger.tidy()
    ledger.close()
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())
    Ledger(tmp_path, SETTINGS).close()


def test_a_damaged_line_is_told_with_its_number(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], '{"task": "vt"}\n', *lines[3:]]))
    with pytest.raises(RunError, match=r"Line 3 of .*results\.jsonl is damaged"):
        Ledger(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "bored"), ("scores", {"f1": "<b>"}), ("facts", [{"depth": 0.5}]), ("number", None), ("answers", 7),
        ("prediction", ["a"]),
    ],
)  # fmt: skip
def test_a_line_that_no_benchmark_writes_is_refused(tmp_path: Path, key: str, value: object) -> None:
    filled(tmp_path).close()
    path = tmp_path / "results.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(json.loads(first) | {key: value}) + "\n", *rest]))
    with pytest.raises(RunError, match=r"Line 1 of .*results\.jsonl is damaged"):
        list(read_results(tmp_path))


def test_half_a_character_of_a_model_does_not_cost_its_line(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "results.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(json.loads(first) | {"prediction": "gold \ud83d"}) + "\n", *rest]))
    assert next(read_results(tmp_path)).prediction == "gold \ufffd"


def test_other_settings_are_refused_but_another_version_and_more_data_are_not(tmp_path: Path) -> None:
    filled(tmp_path).close()
    Ledger(tmp_path, SETTINGS | {"memagent": "2", "data": {"squad": "xyz"}}).close()
    assert read_settings(tmp_path)["data"] == {"prose": "abc", "squad": "xyz"}
    with pytest.raises(RunError, match=r"its data was .*abc.* and is now .*def"):
        Ledger(tmp_path, SETTINGS | {"data": {"prose": "def"}})
    with pytest.raises(RunError, match=r'its model was "m" and is now "n"\. Give the same settings, or another --out'):
        Ledger(tmp_path, SETTINGS | {"model": "n"})


def test_settings_under_which_nothing_was_paid_for_bind_nobody(tmp_path: Path) -> None:
    Ledger(tmp_path, SETTINGS).close()
    Ledger(tmp_path, SETTINGS | {"seed": 7}).close()
    assert read_settings(tmp_path)["seed"] == 7
    (tmp_path / "runs").mkdir()  # a journal may hold turns
    with pytest.raises(RunError, match="its seed was 7 and is now 42"):
        Ledger(tmp_path, SETTINGS)


def test_two_processes_do_not_write_at_once(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    with pytest.raises(RunError, match="Another process is writing to"):
        Ledger(tmp_path, SETTINGS)
    ledger.close()


def test_places_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RunError, match="is a file: give --out a folder"):
        Ledger(file, SETTINGS)
    with pytest.raises(RunError, match="There are no benchmark results in"):
        list(read_results(tmp_path))
    with pytest.raises(RunError, match="There are no benchmark results in"):
        read_settings(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        read_settings(tmp_path)


def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = filled(tmp_path / "run")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    number = UUID(int=0)
    monkeypatch.setattr("memagent.disk.uuid4", lambda: number)
    (tmp_path / "run" / f".results.jsonl.{number.hex}").symlink_to(full)
    with pytest.raises(StorageError, match="No space left on device"):
        ledger.tidy()
    ledger.close()
    assert list(read_results(tmp_path / "run")) == RESULTS


def test_what_a_full_disk_tore_is_taken_back_before_another_result_follows(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    extra = make_results(["cwe"], tokens(4096), samples=2)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, hard))
        with pytest.raises(StorageError, match="make room, then run the same command"):
            ledger.append(extra[0])
        assert path.read_bytes() == whole
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    ledger.append(extra[1])
    ledger.tidy()
    ledger.close()
    assert sorted(read_results(tmp_path), key=key_of) == sorted([*RESULTS, extra[1]], key=key_of)


def test_a_line_is_plain_json(tmp_path: Path) -> None:
    filled(tmp_path).close()
    line = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])
    assert line["task"] == "vt"
    assert set(line["scores"]) == {"string_match_all"}
