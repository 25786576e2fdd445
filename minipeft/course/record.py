"""What a learner has done, in one small file beside the exercises, and how their files are kept safe.

exercises/.progress.json    {"version": 1, "passed": {"15.1": "2026-03-01"}, "hints": {"15.1": 2}}
exercises/.backup/          what `reset` and a rebuild replaced, under its date; never overwritten, never deleted
"""

import json
import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path

VERSION = 1


def write(path: Path, text: str) -> None:
    """All of the file or none of it: write beside it, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as f:
            f.write(text)
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def aside(path: Path, folder: Path) -> Path:
    """Copy a file into `folder` under the present time, never over another, and say where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp, n = datetime.now().strftime("%Y%m%d-%H%M%S"), 0
    while True:
        kept = folder / f"{path.stem}-{stamp}{f'-{n}' if n else ''}{path.suffix}"
        try:
            with kept.open("xb") as f:
                f.write(path.read_bytes())
            return kept
        except FileExistsError:
            n += 1


def replace(path: Path, text: str) -> Path | None:
    """Write a learner's file anew; what stood there, if something else, is kept, and the copy's place returned."""
    if path.exists() and path.read_bytes() == text.encode():
        return None
    kept = aside(path, path.parent / ".backup") if path.exists() else None
    write(path, text)
    return kept


class Progress:
    """Which exercises are passed, and how many hints were given.  Each change is on disk when its method returns."""

    def __init__(self, root: Path):
        self.path = root / "exercises" / ".progress.json"
        self.passed: dict[str, str] = {}  # exercise: the day it was passed first
        self.hints: dict[str, int] = {}  # exercise: how many hints were given
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            passed, hints = data["passed"], data["hints"]
            if data["version"] != VERSION or not all(isinstance(day, str) for day in passed.values()):
                raise ValueError
            if not all(type(n) is int and 0 <= n <= 3 for n in hints.values()):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            kept = aside(self.path, self.path.parent / ".backup")
            self.path.unlink()
            print(
                f"the record of your progress was damaged: it is kept as {kept}, and a new one begins", file=sys.stderr
            )
        else:
            self.passed, self.hints = passed, hints

    def pass_(self, id: str) -> None:
        if id not in self.passed:
            self._read()  # another window may have written since
            self.passed[id] = datetime.now().strftime("%Y-%m-%d")
            self._write()

    def hint(self, id: str) -> int:
        """Count one more hint, at most three; the number of the hint to give."""
        self._read()
        self.hints[id] = min(self.hints.get(id, 0) + 1, 3)
        self._write()
        return self.hints[id]

    def _write(self) -> None:
        data = {"version": VERSION, "passed": self.passed, "hints": self.hints}
        write(self.path, json.dumps(data, indent=1) + "\n")
