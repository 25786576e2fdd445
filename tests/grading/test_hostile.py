"""Every submission of hostile.py, graded by the command as one class, and again without any wall around the child.

What is looked at: each exercise's state, points and sentence; that the command says "done"; that no process and no file
is left behind; and that nothing of the learner's gets out of the pages and tables.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

from minipeft.course.exercise import exercises
from minipeft.course.runner.confine import LAYERS
from minipeft.grading import result as results
from minipeft.grading.grade import grade
from minipeft.grading.handed_in import handed_in
from minipeft.grading.nursery import Limits, Nursery
from tests.grading.hostile import CASES, MARK, RIGHT, ROOT, TALK, Case
from tests.grading.small import OTHER, small_course

SECONDS = 2
POINTS = {"01.1": 2, "01.2": 3, "02.1": 5}
BY_NAME = {case.name: case for case in CASES}
FREE = [case.name for case in CASES if not case.needs and not case.make and case not in RIGHT]  # hold without walls
REPEATED = ["flaky", "flaky_by_numpy", "flaky_by_torch", "right_random_beside", "optimised", "debug"]
SLOW_START = ["right", "endless_in_a_call", "hard_exit_when_read"]

pytestmark = pytest.mark.slow

if os.name == "nt":
    pytest.skip("a class is graded with fork", allow_module_level=True)


def offered() -> set[str]:
    with Nursery() as nursery:
        return set(nursery.isolation["layers"])


def snapshot(folder: Path) -> dict[str, str]:
    """Everything in a folder: {path: hash of its content, or what else it is}."""
    found = {}
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = (
            hashlib.sha256(path.read_bytes()).hexdigest() if plain else str(path.lstat().st_mode)
        )
    return found


def left_over(temporary: Path) -> list[str]:
    """Processes that were given this folder for temporary files, or speak of what a case leaves."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(temporary).encode() in told and process.name != str(os.getpid()):
            found.append(told.decode("utf-8", "replace"))
    return found


def control_groups() -> set[str]:
    return set(map(str, Path("/sys/fs/cgroup").rglob("minipeft-*")))


@dataclass(frozen=True)
class Run:
    out: Path
    process: subprocess.CompletedProcess
    changed: list[str]  # what was written where nothing should be
    processes: list[str]
    groups: set[str]
    layers: set[str]

    def result(self, name: str) -> dict:
        return results.read(self.out / "results" / f"{name}.json")


def command(course: Path, folder: Path, out: Path, temporary: Path, *flags: str) -> subprocess.CompletedProcess:
    """`minipeft grade --class` from inside the class's folder, where submissions are called numpy.py and the like."""
    program = f"import sys; sys.path.append({str(ROOT)!r}); from minipeft.cli import main; sys.exit(main())"
    arguments = ["grade", "--class", ".", "--out", str(out), "--course", str(course), "--seconds", str(SECONDS)]
    return subprocess.run(
        [sys.executable, "-P", *flags, "-c", program, *arguments, "--seed", "the teacher's own", "--jobs", "2"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "TMPDIR": str(temporary), "MINIPEFT_SECRET": "x", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def run_of(place: Path, cases: list[Case], *flags: str) -> Run:
    course, folder, temporary = place / "course", place / "class", place / "temporary"
    for each in (folder, temporary):
        each.mkdir()
    small_course(course)
    for case in cases:
        case.hand_in(folder)
    for name in ("numpy.py", "torch.py", "json.py", "conftest.py", "sitecustomize.py"):
        (folder / name).write_text(f"open('/tmp/{MARK}', 'w')\nraise SystemExit('imported')\n")
    groups = control_groups()
    places = [course, folder, temporary, ROOT / "minipeft", ROOT / "solutions", ROOT / "exercises"]
    before = {each: snapshot(each) for each in places}
    process = command(course, folder, place / "out", temporary, *flags)
    time.sleep(0.5)
    after = {each: snapshot(each) for each in places}
    changed = [
        f"{each}/{name}"
        for each in places
        for name in before[each] | after[each]
        if before[each].get(name) != after[each].get(name) and "__pycache__" not in name
    ]
    marked = [Path(p, MARK) for p in ("/tmp", "/var/tmp", "/dev/shm", "/", Path.home(), place, ROOT)]
    changed += [str(path) for path in marked if path.exists()]
    new = {g for g in control_groups() - groups if not Path("/proc", g.rpartition("-")[2]).exists()}
    layers = set()
    for path in (place / "out" / "results").glob("*.json"):
        layers |= set(json.loads(path.read_text())["isolation"]["layers"])
    return Run(place / "out", process, changed, left_over(temporary), new, layers)


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Run:
    return run_of(tmp_path_factory.mktemp("hostile"), CASES)


@pytest.fixture(scope="module")
def optimised(tmp_path_factory) -> Run:
    """A few once more, in Python without assertions."""
    return run_of(tmp_path_factory.mktemp("optimised"), [BY_NAME[name] for name in REPEATED], "-O")


def compare(case: Case, result: dict, ids: Collection[str] = POINTS) -> None:
    """Each exercise has the state, the points and the sentence that the case says."""
    assert result["status"] == ("unreadable" if len(case.expected) == 3 else "graded")
    assert {item["id"] for item in result["exercises"]} == set(ids)
    for item in result["exercises"]:
        state, says = case.expected.get(item["id"], ("passed", ""))
        told = f"{item['id']}: {item['state']}, {item['found']!r}"
        assert item["state"] in state.split("|"), told
        assert says in item["found"], told
        assert bool(item["found"]) == (item["state"] != "passed"), told
        assert (item["points"], item["of"]) == (POINTS[item["id"]] * (item["state"] == "passed"), POINTS[item["id"]])
    assert result["points"] == sum(item["points"] for item in result["exercises"])


def test_there_are_enough_of_them():
    assert len(CASES) == len(BY_NAME) > 200
    assert sum(bool(case.expected) for case in CASES) > 100


@pytest.mark.parametrize("name", BY_NAME)
def test_as_a_class(graded, name):
    case = BY_NAME[name]
    if missing := set(case.needs) - graded.layers:
        pytest.skip(f"this system does not offer {', '.join(missing)}")
    compare(case, graded.result(name))


def test_the_command_ends_well(graded):
    assert graded.process.returncode == 0, graded.process.stderr
    assert f"done: {len(CASES) + 5} submissions" in graded.process.stdout
    assert "Traceback" not in graded.process.stderr


def test_nothing_is_left(graded):
    assert graded.changed == []
    assert graded.processes == []
    assert graded.groups == set()


def test_nothing_reaches_the_terminal(graded):
    said = graded.process.stdout + graded.process.stderr
    assert "\x1b" not in said and "::error" not in said and "imported" not in said


def test_submissions_with_the_names_of_modules_are_submissions(graded):
    for name in ("numpy", "torch", "json", "conftest", "sitecustomize"):
        assert graded.result(name)["points"] == 0


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [key for key, _ in attributes]


@pytest.mark.parametrize("name", [case.name for case in TALK])
def test_pages_show_texts_as_texts(graded, name):
    page = Tags()
    page.feed((graded.out / "reports" / f"{name}.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form"} & set(page.tags)
    assert not [key for key in page.attributes if key.startswith("on")]


def test_tables_hold_no_formulas_and_no_control_characters(graded):
    for name in ("class.csv", "nbgrader.csv", "similarity.csv"):
        with open(graded.out / name, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
            assert not any(ord(c) < 32 and c != "\n" for c in cell)
    tree = ElementTree.parse(graded.out / "junit.xml")
    assert len(list(tree.iter("testcase"))) == len(POINTS) * (len(CASES) + 5)


def test_other_ways_of_running_python_give_the_same_marks(graded, optimised):
    """Without assertions; and flaky answers get the same mark each time."""
    assert optimised.process.returncode == 0 and optimised.changed == optimised.processes == []
    for name in REPEATED:
        compare(BY_NAME[name], optimised.result(name))
        marks = [[(i["id"], i["state"], i["found"], i["seed"]) for i in run.result(name)["exercises"]]
                 for run in (graded, optimised)]  # fmt: skip
        assert marks[0] == marks[1]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = small_course(tmp_path_factory.mktemp("plain") / "course")
    (root.parent / "class").mkdir()
    return root, exercises(root)


@pytest.fixture(scope="module")
def bare():
    with Nursery(Limits(call_seconds=SECONDS), without=LAYERS) as nursery:
        yield nursery


@pytest.mark.parametrize("name", FREE)
def test_without_walls(course, bare, name):
    """The split alone: a child that may do what its user may."""
    root, items = course
    case = BY_NAME[name]
    case.hand_in(root.parent / "class")
    items = [item for item in items if item.topic == ("small" if case.other == OTHER else "other")]
    handed = handed_in(root.parent / "class" / name, items)
    compare(case, grade(handed, items, bare, "small", "the teacher's own"), {item.id for item in items})
    assert set(bare.isolation["layers"]) <= {"resource limits"}


@pytest.mark.parametrize("name", SLOW_START)
def test_without_fork(course, name):
    root, items = course
    case = BY_NAME[name]
    case.hand_in(root.parent / "class")
    with Nursery(Limits(call_seconds=SECONDS), fork=False) as nursery:
        result = grade(handed_in(root.parent / "class" / name, items), items[:2], nursery, "small")
    for item in result["exercises"]:
        assert item["state"] == case.expected.get(item["id"], ("passed", ""))[0]
