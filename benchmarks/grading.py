"""How long grading takes, what it needs, and whether every mark is right: docs/grading_measured.md.

    python benchmarks/grading.py batch       200 made-up submissions, at once; and again with two `kill -9` in between
    python benchmarks/grading.py baseline    32 small cases, graded by a plain pytest autograder and by ours
    python benchmarks/grading.py page        the page, of all lines in benchmarks/grading.csv

Linux only: processes and memory are counted in /proc.  The first two replace their own lines of the file.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from autograders import CASES, GRADERS, Case
from submissions import Made, make

from minipeft.course.exercise import exercises
from minipeft.course.runner import confine
from minipeft.course.runner.answers import Report
from minipeft.grading.nursery import Apart, Limits, Nursery

ROOT = Path(__file__).resolve().parents[1]
FILE, PAGE = ROOT / "benchmarks" / "grading.csv", ROOT / "docs" / "grading_measured.md"
FIELDS = ("part", "name", "grader", "value", "machine")
CORES = 2


# -- running it -------------------------------------------------------------------------------------------------------


def command(course: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "minipeft.cli", "grade", "--course", str(course), *map(str, arguments)]


def start(course: Path, folder: Path, out: Path, seconds: float) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    (out.parent / "temporary").mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(out.parent / "temporary")}
    arguments = ("--class", folder, "--out", out, "--jobs", CORES, "--seconds", seconds)
    return subprocess.Popen(command(course, *arguments), cwd=ROOT, env=environment, **quiet)


def finish(process: subprocess.Popen) -> None:
    said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(f"grading failed: {said}")


class Memory(threading.Thread):
    """The most that a process and all that came from it hold together, looked at ten times a second.

    `resident` adds up what each of them holds, shared pages once for each; `proportional` counts a page that is shared
    by n processes as 1/n in each.
    """

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.resident, self.proportional, self.over = pid, 0, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            sums: Counter[str] = Counter()
            for pid in (self.pid, *confine.descendants(self.pid)):
                with suppress(OSError):
                    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                        name, amount, *_ = line.split()
                        sums[name] += int(amount) << 10
            self.resident = max(self.resident, sums["Rss:"])
            self.proportional = max(self.proportional, sums["Pss:"])


@contextmanager
def watched(process: subprocess.Popen) -> Iterator[Memory]:
    memory = Memory(process.pid)
    memory.start()
    try:
        yield memory
    finally:
        memory.over.set()
        memory.join()


def results(out: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(out.glob("results/*.json"))}


def written(out: Path) -> dict[str, tuple[int, int]]:
    """Of each result, its inode and when it was written: both are new if it is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("results/*.json")}


def killed(process: subprocess.Popen, out: Path, at: int) -> tuple[int, float]:
    """End it by `kill -9` when there are so many results.

    How many processes are left of it two seconds later, and the seconds until none was.  We are the subreaper: whatever
    loses its parent becomes our child.
    """
    while len(written(out)) < at and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    began, late = time.monotonic(), None
    while left := confine.descendants(os.getpid()):
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if late is None and time.monotonic() > began + 2:
            late = len(left)
            for pid in left:
                with suppress(OSError):
                    print("still there:", Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        time.sleep(0.02)
    return late or 0, time.monotonic() - began


# -- a class ----------------------------------------------------------------------------------------------------------


def batch(course: Path, n: int, kills: int, seconds: float) -> Iterator[tuple[str, Any]]:
    """(name, value) of all that is measured."""
    confine.prctl(confine.SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder, out, again = (Path(temporary, name) for name in ("handed_in", "marks", "again"))
        made = make(course, folder, n)
        yield "submissions", n
        for kind, number in Counter(one.kind for one in made.values()).items():
            yield f"of kind {kind}", number
        for form, number in Counter(one.form for one in made.values()).items():
            yield f"as {form}", number

        began = time.monotonic()
        process = start(course, folder, out, seconds)
        with watched(process) as memory:
            finish(process)
        yield "seconds, all", round(time.monotonic() - began, 1)
        yield "seconds, a submission", round((time.monotonic() - began) / n, 2)
        yield "peak memory, MB, resident", round(memory.resident / 1e6)
        yield "peak memory, MB, proportional", round(memory.proportional / 1e6)
        found = results(out)
        yield from marks(made, found)

        whole = {}  # by name of a result, what it was when it was first there
        for k in range(kills):
            left, ended = killed(start(course, folder, again, seconds), again, (k + 1) * n // (kills + 1))
            whole = written(again) | whole
            yield f"results after kill {k + 1}", len(written(again))
            yield f"processes left two seconds after kill {k + 1}", left
            yield f"seconds until none is left after kill {k + 1}", round(ended, 2)
        finish(start(course, folder, again, seconds))
        after = written(again)
        yield "graded twice", sum(after[name] != before for name, before in whole.items())
        yield "lost", len(found.keys() - results(again).keys())
        yield "results that differ after the kills", len(differing(found, results(again)))
        yield "temporary files left", len([*(out.parent / "temporary").glob("minipeft-*")])

        yield from alone(course, Path(temporary))
    yield from pieces(course)


def marks(made: dict[str, Made], found: dict[str, dict]) -> Iterator[tuple[str, Any]]:
    """Every exercise of every submission against what it must get."""
    right, hinted, hints = 0, 0, 0
    for name, one in made.items():
        entries = {entry["id"]: entry for entry in found[name]["exercises"]}
        wrong = [id for id, points in one.points.items() if entries[id]["points"] != points]
        right += not wrong
        for id in wrong:
            print(f"{name}, {one.kind}, {one.form}: {id} should get {one.points[id]} points: {entries[id]}")
        hints += len(one.hints)
        hinted += sum(entries[id]["mistake"] == hint for id, hint in one.hints.items())
    yield "marks as expected", right
    yield "exercises", sum(len(one.points) for one in made.values())
    yield "exercises that ran", sum(e["seconds"] > 0 for result in found.values() for e in result["exercises"])
    yield "known wrong answers", hints
    yield "of these, with their own hint", hinted
    states = Counter(e["state"] for result in found.values() for e in result["exercises"])
    for state, number in sorted(states.items()):
        yield f"exercises {state}", number


def timeless(result: dict) -> dict:
    graded = {key: value for key, value in result["graded"].items() if key not in ("at", "seconds")}
    entries = [{key: value for key, value in e.items() if key != "seconds"} for e in result["exercises"]]
    return result | {"graded": graded, "exercises": entries}


def differing(one: dict[str, dict], other: dict[str, dict]) -> list[str]:
    """Names of results that differ in more than times."""
    names = [name for name in one if name not in other or timeless(one[name]) != timeless(other[name])]
    for name in names:
        pairs = zip(one[name]["exercises"], other.get(name, one[name])["exercises"], strict=True)
        for before, after in pairs:
            changed = {k: (before[k], after[k]) for k in before if k != "seconds" and before[k] != after[k]}
            if changed:
                print(f"{name}, {before['id']} differs: {changed}")
    return names


def alone(course: Path, temporary: Path) -> Iterator[tuple[str, Any]]:
    """One whole right submission, start of the program included."""
    folder = temporary / "whole"
    shutil.copytree(course / "solutions", folder / "exercises", ignore=shutil.ignore_patterns("__pycache__"))
    began = time.monotonic()
    run = subprocess.run(command(course, folder, "--json", temporary / "one.json"), cwd=ROOT, capture_output=True)
    seconds = time.monotonic() - began
    result = json.loads((temporary / "one.json").read_bytes()) if not run.returncode else {}
    yield "one whole submission, seconds", round(seconds, 1)
    yield "one whole submission, points missing", result["of"] - result["points"]


class Timed(Apart):
    """Notes how long each call takes, on the way there and back."""

    def ask(self, *question: Any) -> Report:
        began = time.perf_counter()
        try:
            return super().ask(*question)
        finally:
            self.__dict__.setdefault("calls", []).append(time.perf_counter() - began)


def pieces(course: Path) -> Iterator[tuple[str, Any]]:
    """Where the time of an exercise goes, for right answers."""
    torch.set_num_threads(1)
    starts, calls, judging, ends = [], [], [], []
    with Nursery() as nursery:
        began = time.perf_counter()
        yield "walls", ", ".join(nursery.isolation["layers"])
        yield "ms, start of a nursery", round(1000 * (time.perf_counter() - began))
        for item in exercises(course):
            text = (course / "solutions" / f"{item.topic}.py").read_bytes()
            before = time.perf_counter()
            with nursery.child(item.imports) as child:
                submission = Timed(child, text, f"exercises/{item.topic}.py")
                submission.open()
                opened = time.perf_counter()
                assert item.judge(submission, 1) is None
                judged = time.perf_counter()
            ends.append(time.perf_counter() - judged)
            starts.append(opened - before)
            calls += submission.calls
            judging.append(judged - opened - sum(submission.calls))
    yield "calls", len(calls)
    for name, seconds in {
        "a child's start": starts,
        "a call": calls,
        "judging": judging,
        "a child's end": ends,
    }.items():
        low, middle, high = (1000 * x for x in statistics.quantiles(seconds, n=20, method="inclusive")[::9])
        yield f"ms, {name}, median", round(middle, 1)
        yield f"ms, {name}, 5% and 95%", f"{low:.1f} and {high:.1f}"


# -- small cases ------------------------------------------------------------------------------------------------------


def baseline() -> Iterator[tuple[str, str, str]]:
    """(case, grader, what became of it)"""
    with tempfile.TemporaryDirectory() as temporary:
        for grader, grade in GRADERS.items():
            for case, points in zip(CASES, grade(Path(temporary, grader), CASES), strict=True):
                yield case.name, grader, verdict(case, points)


def verdict(case: Case, points: float | None) -> str:
    if points is None:
        return "no result"
    return "right" if points == case.points else f"{points:g} instead of {case.points}"


# -- the file and the page --------------------------------------------------------------------------------------------


def machine() -> str:
    python, version = platform.python_version(), torch.__version__.split("+")[0]
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {python}, torch {version}"


def read(file: Path) -> list[dict[str, str]]:
    with suppress(FileNotFoundError), file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
    return []


def write(file: Path, part: str, lines: Sequence[tuple[str, str, Any]]) -> None:
    """Replace the lines of one part: (name, grader, value)."""
    rest = [line for line in read(file) if line["part"] != part]
    new = [dict(zip(FIELDS, (part, *line, machine()), strict=True)) for line in lines]
    with file.open("w", newline="", encoding="utf-8") as handle:
        out = csv.DictWriter(handle, FIELDS, lineterminator="\n")
        out.writeheader()
        out.writerows(rest + new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("batch", "baseline", "page"))
    parser.add_argument("--n", type=int, default=200, help="submissions of the batch")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=Limits.call_seconds, help="for one call")
    parser.add_argument("--course", type=Path, default=ROOT)
    parser.add_argument("--file", type=Path, default=FILE)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.what == "page":
        return
    if args.what == "batch":
        lines = (
            (name, "minipeft", value) for name, value in batch(args.course.resolve(), args.n, args.kills, args.seconds)
        )
    else:
        lines = baseline()
    kept = []
    for line in lines:
        print(*line, sep=" | ", flush=True)
        kept.append(line)
    write(args.file, args.what, kept)


if __name__ == "__main__":
    main()
