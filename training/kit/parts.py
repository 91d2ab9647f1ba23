"""Split a file into parts that are small enough to send, and join them again. A manifest holds the sha256.

python training/kit/parts.py split FILE FOLDER MEBIBYTES     # FOLDER/FILE.000, FILE.001 … and FILE.parts.json
python training/kit/parts.py join FOLDER FILE                # FILE, out of its parts in FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

_BLOCK = 1 << 20


def split(file: Path, folder: Path, mebibytes: int) -> list[Path]:
    """Write the parts of a file, each of at most `mebibytes` MiB. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    digest, parts = hashlib.sha256(), list[Path]()
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            part = folder / f"{file.name}.{len(parts):03}"
            with part.open("wb") as target:
                for _ in range(mebibytes):
                    digest.update(block)
                    target.write(block)
                    if target.tell() == mebibytes * _BLOCK or not (block := source.read(_BLOCK)):
                        break
            parts.append(part)
    manifest = {"sha256": digest.hexdigest(), "parts": [part.name for part in parts]}
    (folder / f"{file.name}.parts.json").write_text(json.dumps(manifest), encoding="utf-8")
    return parts


def join(folder: Path, file: Path) -> Path:
    """Join the parts of a file. Raises SystemExit if a part is missing or damaged."""
    manifest = json.loads((folder / f"{file.name}.parts.json").read_text(encoding="utf-8"))
    if missing := [name for name in manifest["parts"] if not (folder / name).is_file()]:
        sys.exit(f"{', '.join(missing)} of {file.name} did not arrive in {folder}: send them again.")
    digest = hashlib.sha256()
    with file.open("wb") as target:
        for name in manifest["parts"]:
            content = (folder / name).read_bytes()
            digest.update(content)
            target.write(content)
    if digest.hexdigest() != manifest["sha256"]:
        file.unlink()
        sys.exit(f"The parts of {file.name} in {folder} are damaged: send them again.")
    return file


if __name__ == "__main__":
    if sys.argv[1:2] == ["split"] and len(sys.argv) == 5:
        print(*split(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])), sep="\n")
    elif sys.argv[1:2] == ["join"] and len(sys.argv) == 4:
        print(join(Path(sys.argv[2]), Path(sys.argv[3])))
    else:
        sys.exit(__doc__)
