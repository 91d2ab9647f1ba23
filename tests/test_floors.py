"""A room imports only from lower floors, and importing memagent loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import memagent

ROOT = Path(memagent.__file__).parent

FLOORS: dict[str, float] = {
    "records": 0, "errors": 0,
    "prompts": 1, "tokenizer": 1, "budget": 1, "segments": 1.5, "quoting": 1, "reading": 1.6, "memories": 1.7,
    "scoring": 1.5, "limits": 1, "intervals": 1, "losses": 2, "habits": 1.8,
    "demo": 1, "documents": 1, "catalogue": 1,
    "chat": 2, "tasks": 2, "journal_lines": 1.9, "journal": 2, "citations": 2, "timeline": 2,
    "page": 3, "answers": 3, "asking": 3,
    "agent": 4,
    "bench": 4.5, "train": 4.5,
    "cli": 5,
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """The rooms of memagent that a file imports, wherever in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "memagent":
            names = [f"memagent.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        rooms |= {name.split(".")[1] for name in names if name.startswith("memagent.")}
    return rooms & FLOORS.keys()


def test_every_room_has_a_floor_and_imports_only_from_lower_ones() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        assert room in FLOORS, f"{room} has no floor"
        wrong += [f"{room} -> {other}" for other in imports(path) if other != room and FLOORS[other] >= FLOORS[room]]
    assert wrong == []


def loaded_by(code: str) -> set[str]:
    program = f"import sys; {code}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_memagent_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "peft", "accelerate"}
    heavy |= {"openvino", "openvino_genai", "markitdown", "openai", "numpy", "matplotlib"}
    assert loaded_by("import memagent, memagent.agent; memagent.MemoryAgent") & heavy == set()
    commands = "import memagent.cli.ask, memagent.cli.bench, memagent.cli.train"
    assert loaded_by(commands) & (heavy | {"rich", "tokenizers", "bm25s", "wonderwords"}) == set()
