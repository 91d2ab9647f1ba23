"""Write docs/errors.md from the program's error messages: `PYTHONPATH=tests python tests/errors_page.py`."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from memagent import errors

ROOT = Path(errors.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
HEAD = """# Errors

Every error is one or two sentences on standard error, after "Error: ", and an exit status. `--debug` adds a traceback.
Names in braces stand for values that memagent fills in. `PYTHONPATH=tests python tests/errors_page.py` makes this page
from the source.

Other statuses: 0 done; 1 a wrong answer in `demo`, or a bug in memagent; 130 interrupted.
"""


def sentences() -> dict[int, dict[str, set[str]]]:
    """Return the messages of all errors that the source creates, by exit status and room."""
    found: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            target.id: node.value
            for node in tree.body if isinstance(node, ast.Assign)
            for target in node.targets if isinstance(target, ast.Name)
        }  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                said = node.args[0]
                text = _text(named.get(said.id, said) if isinstance(said, ast.Name) else said)
                if text and (status := STATUSES.get(node.func.id)):
                    found[status][room].add(text)
    return found


def page() -> str:
    parts = [HEAD]
    for status, rooms in sorted(sentences().items()):
        parts.append(f"\n## {status}: {MEANINGS[status]}\n")
        for room, texts in sorted(rooms.items()):
            parts.append(f"\n`{room}`\n\n")
            parts += [f"- {text}\n" for text in sorted(texts)]
    return "".join(parts)


STATUSES = {
    name: each.status
    for name, each in {
        **vars(errors),
        "NotADocument": errors.DocumentError,
        "BadReply": errors.ModelError,
        "NotPulled": errors.ModelError,
    }.items()
    if isinstance(each, type) and issubclass(each, errors.MemagentError)
}
"""Exit status of each error class, by the name of the class."""

MEANINGS = {
    2: "the command, its options, or a run",
    3: "the document",
    4: "the model or its server",
    5: "stopped early; run the same command to resume",
}


def _text(node: ast.expr) -> str:
    """Return a string, with its fields as names in braces; empty if the node is not a string, or only one word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{_name(part.value)}}}"  # type: ignore[attr-defined]
            for part in node.values
        )
    else:
        return ""
    return " ".join(text.split()) if " " in text else ""


def _name(node: ast.expr) -> str:
    """Return the name that stands for an expression: the outermost one in it."""
    names = [each.attr if isinstance(each, ast.Attribute) else each.id for each in ast.walk(node)
             if isinstance(each, ast.Attribute | ast.Name)]  # fmt: skip
    return names[0].strip("_") if names else "…"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
