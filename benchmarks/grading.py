"""How long grading takes, what it needs, and whether every mark is right: docs/grading_measured.md.

    python benchmarks/grading.py batch       200 made-up submissions, at once; and again with two `kill -9` in between
    python benchmarks/grading.py one         a whole right submission, and where its time goes
    python benchmarks/grading.py baseline    32 small cases, graded by a plain pytest autograder and by ours
    python benchmarks/grading.py page        the page, of all lines in benchmarks/grading.csv

Linux only: processes and memory are counted in /proc.  The first three replace their own lines of the file.
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
    try:
        said = process.communicate()[1]
    except BaseException:  # broken off: nothing goes on behind our back
        process.kill()
        raise
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
        differ = differing(found, results(again))
        yield "results that differ after the kills", len(differ)
        yield "results that differ in points after the kills", sum("points" in keys for keys in differ.values())
        yield "temporary files left", len([*(out.parent / "temporary").glob("minipeft-*")])


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


def differing(one: dict[str, dict], other: dict[str, dict]) -> dict[str, set[str]]:
    """Names of results that differ in more than times, and what differs in their exercises."""
    found = {}
    for name in one.keys() & other.keys():
        if timeless(one[name]) != timeless(other[name]):
            keys = found[name] = set()
            for before, after in zip(one[name]["exercises"], other[name]["exercises"], strict=True):
                changed = {k: (before[k], after[k]) for k in before if k != "seconds" and before[k] != after[k]}
                keys |= changed.keys()
                if changed:
                    print(f"{name}, {before['id']} differs: {changed}")
    return found


def alone(course: Path) -> Iterator[tuple[str, Any]]:
    """A whole right submission, start of the program included; and its pieces."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary, "whole"), Path(temporary, "one.json")
        shutil.copytree(course / "solutions", folder / "exercises", ignore=shutil.ignore_patterns("__pycache__"))
        began = time.monotonic()
        subprocess.run(command(course, folder, "--json", out), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        yield "seconds", round(time.monotonic() - began, 1)
        result = json.loads(out.read_bytes())
        yield "points missing", result["of"] - result["points"]
        yield "exercises", len(result["exercises"])
    yield from pieces(course)


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


ABOUT = """# Grading, measured

Made by `python benchmarks/grading.py`, on {machine}.
The walls that stood around each child: {walls}.

## A class of {submissions}

Of each exercise, a made-up submission has the worked answer, the stub, one of the known wrong answers, or a hostile
function (an endless loop, a fork bomb, a forged report, ...), so the right mark of each is known beforehand. All {all}
exercises of the course are asked for; what a submission does not hold is missing, and costs nothing.

{kinds}

All of them in one batch (`minipeft grade --class`, two workers), and again into another folder, with `kill -9` of the
process that coordinates after a third and after two thirds of the results:

{batch}

How a fork bomb or a memory bomb ends (refused, ended, or out of time) depends on the moment, and so do the sentences
about it; it gets no points in any case. {late} exercises were ended by the limit of {limit:g} seconds for a call;
without them, the class would take about {waited:.0f} seconds less. Other work shared the machine for a part of the
time.

Memory is read ten times a second in `/proc/PID/smaps_rollup` of every process of the batch. The first number adds up
what each of them holds, and counts what they share, torch's libraries for the most part, once for each; the second
shares that out. The copies that a fork bomb makes of itself swell the first; a memory bomb, which may take 2 GB before
it is refused, is in both.

## One submission

A whole right one, all {all} exercises, takes {alone} s with the start of the program. Of each of its exercises:

{pieces}

A child's start is the fork, its walls, and reading the learner's file; its end lasts until nothing that came from it is
left. A call goes there and back: its arguments, what the learner's function computes, and the answer. Judging is what
the parent does: inputs, the right answers, comparison. So most of the time goes into a fresh process for each exercise,
and hardly any into the learner's code.

## 32 small cases

Graded by plain pytest as many courses use it (the tests import what was handed in, expected values are computed before
the call, a JUnit report is read; 20 seconds for the run, memory limited), and by `minipeft grade --class`, all in one
batch. A right mark is that of the functions that are right: a hostile one costs its own points and no others.

{cases}

{sums}

A stricter set-up with pytest mends some of its rows: inputs drawn anew each time, one process for each test, shapes
compared first. What rests on the learner's code and the score being in one process stays.
"""


LABELS = {"pytest": "Plain pytest", "minipeft": "`minipeft grade`"}


def rows(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    table = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in table)


def page(file: Path) -> str:
    lines = read(file)
    found = {line["name"]: line["value"] for line in lines if line["part"] == "batch"}
    single = {line["name"]: line["value"] for line in lines if line["part"] == "one"}
    made = {
        "of kind whole": "worked answers to everything",
        "of kind stubs": "fresh stubs",
        "of kind partial": "some exercises done, others stubs",
        "of kind wrong": "known wrong answers among right ones and stubs",
        "of kind hostile": "hostile functions among right ones and stubs",
        "as folder": "handed in as a folder",
        "as zip": "as a zip",
        "as file": "as one file",
        "as notebook": "as a notebook",
    }
    measured = {
        "seconds, all": "seconds in all",
        "seconds, a submission": "seconds for each",
        "exercises that ran": "exercises that ran, each in a child of its own",
        "peak memory, MB, resident": "most memory, MB, shared pages once for each process",
        "peak memory, MB, proportional": "most memory, MB, shared pages shared out",
        "marks as expected": f"submissions with the right mark in every exercise, of {found['submissions']}",
        "of these, with their own hint": f"known wrong answers with their own hint, of {found['known wrong answers']}",
    }
    for k in (1, 2):
        measured |= {
            f"results after kill {k}": f"results after kill {k}",
            f"processes left two seconds after kill {k}": f"processes left two seconds after kill {k}",
            f"seconds until none is left after kill {k}": f"seconds until none was left, kill {k}",
        }
    measured |= {
        "lost": "results lost",
        "graded twice": "submissions graded twice",
        "results that differ in points after the kills": "results with other points than without a kill",
        "results that differ after the kills": "results with another sentence or state than without a kill",
        "temporary files left": "temporary files left",
    }
    parts = ("a child's start", "a call", "judging", "a child's end")
    pieces = [(part, single[f"ms, {part}, median"], single[f"ms, {part}, 5% and 95%"]) for part in parts]
    cases = {(line["name"], line["grader"]): line["value"] for line in lines if line["part"] == "baseline"}
    names = list(dict.fromkeys(name for name, _ in cases))
    table = [(name, cases[name, "pytest"], cases[name, "minipeft"]) for name in names]
    return ABOUT.format(
        machine=next(line["machine"] for line in lines if line["part"] == "batch"),
        walls=single["walls"],
        submissions=found["submissions"],
        all=single["exercises"],
        kinds=rows(["submissions", ""], [(label, found[name]) for name, label in made.items()]),
        late=found["exercises time"],
        limit=Limits.call_seconds,
        waited=int(found["exercises time"]) * Limits.call_seconds / CORES,
        batch=rows(["measured", ""], [(label, found[name]) for name, label in measured.items() if name in found]),
        alone=single["seconds"],
        pieces=rows(["ms", "median", "5% and 95%"], pieces),
        cases=rows(["case", *LABELS.values()], table),
        sums=" ".join(f"{LABELS[who]}: {counted([cases[name, who] for name in names])}." for who in GRADERS),
    )


def counted(verdicts: Sequence[str]) -> str:
    right, none = verdicts.count("right"), verdicts.count("no result")
    return f"{right} right marks, {len(verdicts) - right - none} wrong ones, {none} without a result"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("batch", "one", "baseline", "page"))
    parser.add_argument("--n", type=int, default=200, help="submissions of the batch")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=Limits.call_seconds, help="for one call")
    parser.add_argument("--course", type=Path, default=ROOT)
    parser.add_argument("--file", type=Path, default=FILE)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.what == "page":
        PAGE.write_text(page(args.file), encoding="utf-8")
        return
    course = args.course.resolve()
    if args.what == "baseline":
        lines = baseline()
    else:
        measured = alone(course) if args.what == "one" else batch(course, args.n, args.kills, args.seconds)
        lines = ((name, "minipeft", value) for name, value in measured)
    kept = []
    for line in lines:
        print(*line, sep=" | ", flush=True)
        kept.append(line)
    write(args.file, args.what, kept)


if __name__ == "__main__":
    main()
