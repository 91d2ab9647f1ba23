"""Rooms import only from rooms above them in the table of docs/structure.md; importing memagent loads nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import memagent

ROOT = Path(memagent.__file__).parent
TABLE = Path(__file__).parents[1] / "docs" / "structure.md"
APART = {"bench", "train", "cluster", "serve"}
"""Rooms that never import each other."""


def rooms() -> list[str]:
    """Return the rooms in the order of the table's rows; a row may name several."""
    rows = re.findall(r"^\| (`[^|]+`) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)(?:/|\.py)`", row)]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """Return the rooms that a file imports, anywhere and in any form of import; "" is the package itself."""
    here = ("memagent", *path.relative_to(root).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join((*package, *filter(None, [node.module])))
            names = [f"{module}.{alias.name}" if module == "memagent" else module for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names if name.split(".")[0] == "memagent"]
        found |= {part[1] if len(part) > 1 and part[1] in rooms() else "" for part in parts}
    return found


def test_every_room_is_in_the_table() -> None:
    found = {room_of(path) for path in ROOT.rglob("*.py")} - {"__init__", "__main__"}
    assert found == set(rooms())


def test_a_room_imports_only_from_rooms_above_it() -> None:
    order = rooms()
    upward = []
    for path in sorted(ROOT.rglob("*.py")):
        room = room_of(path)
        if room in ("__init__", "__main__"):
            continue
        allowed = set(order[: order.index(room) + 1]) - (APART - {room} if room in APART else set())
        upward += [f"{path.relative_to(ROOT)} -> {other or 'memagent'}" for other in imports(path) - allowed]
    assert upward == []


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "core" / "file.py"
    file.parent.mkdir()
    for line, room in {
        "import memagent.cli.ask": "cli",
        "import memagent": "",
        "from memagent import cli": "cli",
        "from memagent import MemoryAgent": "",
        "from memagent.train.loss import loss": "train",
        "from .. import bench": "bench",
        "from ..bench.plan import Plan": "bench",
        "from . import prompts": "core",
        "def f():\n    from ..train import loss": "train",
    }.items():
        file.write_text(line)
        assert imports(file, tmp_path) == {room}, line


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


def test_files_are_short_and_no_two_have_one_name() -> None:
    files = [path for path in ROOT.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in files]
    assert median(lengths) < 110
    assert max(lengths) <= 350
    assert Counter(path.name for path in files).most_common(1)[0][1] == 1
