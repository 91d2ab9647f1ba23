from __future__ import annotations

from pathlib import Path

import pytest
from data import needs_default_model, needs_smollm2

from memagent.errors import UsageError
from memagent.models.adapters import adapter_config
from memagent.models.chat import Sampling
from memagent.models.connect import connect, is_local
from memagent.models.http import HttpChat
from memagent.models.local import LocalChat


@needs_default_model
def test_local_is_the_default_model() -> None:
    chat = connect()
    assert isinstance(chat, LocalChat)
    assert (chat.model, chat.window) == ("memagent-qwen2.5-coder-0.5b", 32_768)
    assert connect("local", window=100).window == 100


@needs_smollm2
def test_a_policy_and_its_base_have_names() -> None:
    tiny = connect("tiny")
    assert isinstance(tiny, LocalChat)
    assert (tiny.model, tiny.window, tiny.defaults.reader) == ("memagent-smollm2-135m", 8192, "extract")
    untrained = connect("smollm2-135m")
    assert (untrained.model, untrained.defaults.reader) == ("smollm2-135m", "overwrite")
    assert isinstance(connect("tiny", base_url="http://127.0.0.1:9/v1"), HttpChat)


def test_an_older_adapter_of_smollm2_calls_it_local(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "local", "r": 1, "lora_alpha": 2}')
    assert adapter_config(tmp_path).base_model_name_or_path == "smollm2-135m"


@pytest.mark.parametrize(
    ("model", "base_url", "local"),
    [
        ("local", None, True), ("tiny", None, True), ("qwen2.5-coder-1.5b", None, True), ("local:a.gguf", None, True),
        ("tiny", "http://127.0.0.1:9/v1", False), ("scripted:a", None, False), ("gpt", None, False),
    ],
)  # fmt: skip
def test_the_names_that_the_embedded_engine_runs(model: str, base_url: str | None, local: bool) -> None:
    assert is_local(model, base_url) is local


def test_a_name_is_a_servers() -> None:
    chat = connect("qwen", base_url="http://127.0.0.1:9/v1", sampling=Sampling(0.5), window=77)
    assert isinstance(chat, HttpChat)
    assert (chat.model, chat.window, chat.sampling) == ("qwen", 77, Sampling(0.5))
    # A name that contains a colon, as Ollama's do, is a name.
    assert connect("qwen2.5:7b", base_url="http://127.0.0.1:9/v1").model == "qwen2.5:7b"
    with pytest.raises(UsageError, match="a name that the server knows"):
        connect(base_url="http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("", "name of the model is empty"),
        ("local:", "no path after"),
        ("local:/none.gguf", "no model at"),
        ("scripted:/none", "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(model: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        connect(model)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("hello")
    with pytest.raises(UsageError, match="not a GGUF file"):
        connect(f"local:{tmp_path / 'a.gguf'}")
    with pytest.raises(UsageError, match=r"no openvino_model\.xml"):
        connect(f"local:{tmp_path}")
