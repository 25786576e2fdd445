"""Everything in the course that is generated, made by one command from its source.

    python -m minipeft.course.build                 stubs, and the lessons that are not current
    python -m minipeft.course.build 15_lora         stubs, and this lesson
    python -m minipeft.course.build --all           stubs, and every lesson
    python -m minipeft.course.build --check         make nothing, say what is not current, exit code 1 if any

    solutions/NAME.py           ->  exercises/NAME.py           (an edited one is kept in exercises/.backup)
    lessons/src/NN_NAME.py      ->  lessons/NN_NAME.ipynb       (jupytext's percent format, run from top to bottom)

A lesson runs in a copy of the course, with every exercise still to be written.  It is refused, and the notebook left
as it was, if a cell raises, writes to stderr, or shows what differs from machine to machine (an absolute path, an
object's address).  Where no code has changed, but text, it isn't run: the new text stands beside the old outputs.  Two
digests in the notebook's metadata tell later whether the source has changed since, and whether somebody has edited or
run the notebook.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from . import stubs
from .record import replace, write
from .root import root as find_root

LIMIT_BYTES, LIMIT_SECONDS = 1_500_000, 60
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


# -- lessons ----------------------------------------------------------------------------------------------------------


def lessons(root: Path) -> list[str]:
    """Names of all lessons, such as "15_lora"."""
    return sorted(path.stem for path in (root / "lessons" / "src").glob("[0-9][0-9]_*.py"))


def unexecuted(source: str) -> nbformat.NotebookNode:
    """The cells of a lesson's source, with steady ids and metadata."""
    nb = nbformat.v4.new_notebook()
    nb.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "minipeft": {"source": stubs.version(source)},
    }
    for n, cell in enumerate(jupytext.reads(source, fmt="py:percent").cells):
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        nb.cells.append(make(cell.source, id=f"cell-{n:02d}"))
    return nb


def execute(nb: nbformat.NotebookNode, root: Path) -> None:
    """Run all cells in `root`/lessons, in a kernel that imports this minipeft.  Raises ValueError on any fault."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "MINIPEFT_COURSE": str(root)}
    client = NotebookClient(
        nb, timeout=4 * LIMIT_SECONDS, record_timing=False, resources={"metadata": {"path": root / "lessons"}}
    )
    try:
        client.execute(env=environment)
    except (CellExecutionError, CellTimeoutError) as e:
        raise ValueError(re.sub(r"\x1b\[[0-9;]*m", "", str(e))) from None
    nb.metadata.language_info = {"name": "python"}  # without the version of the Python that ran it
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in map(tidy, cell.outputs) if o.output_type != "stream" or o.text]
    if found := faults(nb, [str(root), package, str(Path.home())]):
        raise ValueError("; ".join(found))


def tidy(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An output as the eye sees it at the end: of a line that was rewritten (a progress bar), the last version."""
    if output.output_type == "stream":
        output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
    elif "data" in output:
        output.data.pop("application/vnd.jupyter.widget-view+json", None)
        output.get("transient", {}).clear()
    return output


def faults(nb: nbformat.NotebookNode, private: list[str] = ()) -> list[str]:
    """Why a notebook must not be committed: errors, stderr, cells that were not run, what differs from run to run."""
    found, count = [], 0
    for n, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count != count:
            found.append(f"cell {n} has execution count {cell.execution_count}, not {count}")
        for output in cell.outputs:
            texts = [output.get("text", "")] + [
                v for k, v in output.get("data", {}).items() if not k.startswith("image/")
            ]
            text = "".join(map(str, texts))
            if output.output_type == "error":
                found.append(f"cell {n} raises {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"cell {n} writes to stderr: {text[:300]}")
            found += [f"cell {n} shows the path {p}" for p in private if p in text]
            if address := ADDRESS.search(text):
                found.append(f"cell {n} shows an address, which differs each time:{address[0]}")
    size = len(nbformat.writes(nb).encode())
    if size > LIMIT_BYTES:
        found.append(f"the notebook has {size / 1e6:.1f} MB; {LIMIT_BYTES / 1e6:.1f} MB is the limit")
    return found


def fingerprint(nb: nbformat.NotebookNode) -> str:
    """Of what the cells say and show; unchanged when Jupyter merely saves the notebook again."""
    cells = [
        (c.cell_type, c.source, c.get("execution_count"), [sorted(o.items(), key=str) for o in c.get("outputs", [])])
        for c in nb.cells
    ]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def state(root: Path, name: str) -> str:
    """Of lessons/NAME.ipynb: "current", "edited" (or run again, since it was built), "stale" or "missing"."""
    path = root / "lessons" / f"{name}.ipynb"
    if not path.exists():
        return "missing"
    nb = read(path)
    built = nb.metadata.get("minipeft", {})
    if built.get("source") != stubs.version((root / "lessons" / "src" / f"{name}.py").read_text(encoding="utf-8")):
        return "stale"
    return "current" if built.get("built") == fingerprint(nb) else "edited"


def copy(root: Path, out: Path) -> None:
    """The course as it is handed out: the data that lessons read, and every exercise still to be written."""
    shutil.copytree(root / "lessons", out / "lessons", ignore=shutil.ignore_patterns("*.ipynb", ".ipynb_checkpoints"))
    for folder in ("solutions", "tests/exercises", "docs/comparison"):
        if (root / folder).is_dir():
            shutil.copytree(root / folder, out / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for topic in stubs.topics(root):
        write(out / "exercises" / f"{topic}.py", stubs.stub_of(root, topic))


def code(nb: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def reuse(nb: nbformat.NotebookNode, root: Path, name: str) -> bool:
    """Take the outputs from the notebook as it was built, if only its text differs from the lesson's source."""
    if state(root, name) != "stale":
        return False
    old = read(root / "lessons" / f"{name}.ipynb")
    same = [cell.source for cell in code(old)] == [cell.source for cell in code(nb)]
    if not same or old.metadata.minipeft.get("built") != fingerprint(old):
        return False
    for cell, before in zip(code(nb), code(old), strict=True):
        cell.execution_count, cell.outputs = before.execution_count, before.outputs
    return True


def build_lesson(root: Path, name: str, afresh: bool = False) -> float:
    """Run a lesson and write its notebook; the seconds it took, 0 where its outputs could be kept.

    Raises ValueError if it must not be committed.
    """
    source = (root / "lessons" / "src" / f"{name}.py").read_text(encoding="utf-8")
    nb, seconds = unexecuted(source), 0.0
    if afresh or not reuse(nb, root, name):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            course = Path(folder).resolve()
            copy(root, course)
            execute(nb, course)
        seconds = time.monotonic() - began
    nb = nbformat.reads(nbformat.writes(nb), as_version=4)  # as it will be read
    nb.metadata.minipeft["built"] = fingerprint(nb)
    nbformat.validate(nb)
    write(root / "lessons" / f"{name}.ipynb", nbformat.writes(nb) + "\n")
    return seconds


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m minipeft.course.build", description="Build exercises and lessons.")
    p.add_argument("lesson", nargs="*", help="such as 15_lora (default: those that are not current)")
    p.add_argument("--all", action="store_true", help="every lesson, run afresh")
    p.add_argument("--check", action="store_true", help="make nothing; exit code 1 if something is not current")
    p.add_argument("--course", metavar="DIR", help="the course's folder (default: the one around this directory)")
    args = p.parse_args(argv)
    root = find_root(args.course)
    names = lessons(root)
    if unknown := set(args.lesson) - set(names):
        p.error(f"no lesson {', '.join(sorted(unknown))}; there are {', '.join(names)}")

    if args.check:
        states = {f"exercises/{topic}.py": stubs.state(root, topic) for topic in stubs.topics(root)}
        states |= {f"lessons/{name}.ipynb": state(root, name) for name in names}
        old = {path: s for path, s in states.items() if s != "current"}
        print(*(f"{path} is {s}" for path, s in old.items()), sep="\n" if old else "")
        return 1 if old else 0

    for topic in stubs.topics(root):
        path = root / "exercises" / f"{topic}.py"
        if stubs.state(root, topic) != "current":
            kept = replace(path, stubs.stub_of(root, topic))
            print(
                f"exercises/{topic}.py" + (f" (what was there: {kept.relative_to(root)})" if kept else ""), flush=True
            )
    failed = False
    for name in args.lesson or [name for name in names if args.all or state(root, name) != "current"]:
        print(f"lessons/{name}.ipynb ...", end=" ", flush=True)
        try:
            seconds = build_lesson(root, name, args.all)
            late = f", more than {LIMIT_SECONDS}" if seconds > LIMIT_SECONDS else ""
            print(f"{seconds:.0f} s{late}" if seconds else "its text", flush=True)
        except ValueError as e:
            failed = True
            print(f"left as it was:\n{e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
