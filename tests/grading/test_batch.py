"""A class in workers: nothing lost, nothing graded twice, the same marks in the same order, whatever ends meanwhile."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minipeft.course.runner import confine
from minipeft.grading import batch, emit
from minipeft.grading import result as results
from minipeft.grading.batch import Plan, grade_class
from minipeft.grading.nursery import Limits
from tests.grading.small import OTHER, SMALL, hand_in, small_course

ROOT = Path(__file__).parents[2]
LIMITS = Limits(call_seconds=2)
WRONG = SMALL.replace("2 * x", "x ** 2")
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return small_course(tmp_path_factory.mktemp("course") / "small")


def written(folder):
    """Four learners, with the points of MARKS."""
    hand_in(folder / "ada", small=SMALL, other=OTHER)
    hand_in(folder / "bob", small=WRONG, other=OTHER)
    hand_in(folder / "eve", small="def double(:", other=OTHER)
    (folder / "nobody").mkdir()
    return folder


@pytest.fixture
def plan(course, tmp_path):
    def plan(out="marks", seed="s3cret", limits=LIMITS):
        return Plan(course, tmp_path / out, seed, limits=limits)

    return plan


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "class")


@pytest.fixture(scope="module")
def once(course, tmp_path_factory):
    """Graded by one worker."""
    here = tmp_path_factory.mktemp("once")
    ordered = grade_class(written(here / "class"), Plan(course, here / "marks", "s3cret", limits=LIMITS), 1)
    return here / "marks", ordered


@pytest.fixture
def graded(once, plan, folder):
    """`folder`, graded already into plan().out."""
    return shutil.copytree(once[0], plan().out)


MARKS = [("ada", 10), ("bob", 8), ("eve", 5), ("nobody", 0)]


def marks(ordered):
    return [(result["name"], result["points"]) for result in ordered]


def timeless(ordered):
    """Results without what differs from one time to the next."""
    graded = [{k: v for k, v in result["graded"].items() if k not in ("at", "seconds")} for result in ordered]
    entries = [[{k: v for k, v in e.items() if k != "seconds"} for e in result["exercises"]] for result in ordered]
    return [r | {"graded": g, "exercises": e} for r, g, e in zip(ordered, graded, entries, strict=True)]


def workers():
    """Processes that grade for us, or for a process that we started."""
    found = [(pid, Path(f"/proc/{pid}/cmdline")) for pid in confine.descendants(os.getpid())]
    return [pid for pid, line in found if line.exists() and b"grading.batch" in line.read_bytes()]


def gone(pids, seconds=5):
    """Whether these processes end within this time; one that nobody has waited for counts as ended."""

    def runs(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    deadline = time.monotonic() + seconds
    while any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(runs, pids))


def test_marks_and_order_do_not_depend_on_the_workers(plan, folder, once):
    marks_of_one, one = once
    two = grade_class(folder, plan(), 2)
    assert marks(one) == MARKS and timeless(one) == timeless(two)
    for name in ("class.csv", "nbgrader.csv"):
        assert (plan().out / name).read_bytes() == (marks_of_one / name).read_bytes()
    page = (plan().out / "index.html").read_text(encoding="utf-8")
    places = [page.index(f"reports/{name}.html") for name, _ in MARKS]
    assert places == sorted(places)


def test_what_changes_is_graded_again_and_what_is_removed_is_gone(plan, folder, graded):
    before = {path.stem: path.stat().st_mtime_ns for path in plan().out.glob("results/*.json")}
    hand_in(folder / "bob", small=SMALL)
    shutil.rmtree(folder / "eve")
    news = []
    ordered = grade_class(folder, plan(), step=lambda result, total: news.append((result["name"], total)))
    assert marks(ordered) == [("ada", 10), ("bob", 10), ("nobody", 0)] and news == [("bob", 1)]
    assert (plan().out / "results" / "ada.json").stat().st_mtime_ns == before["ada"]
    with (plan().out / "class.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.reader(file))
    assert not any("eve" in cell for line in table for cell in line) and any("bob" in line for line in table)
    assert "eve" not in (plan().out / "index.html").read_text(encoding="utf-8")


def test_a_damaged_result_is_graded_again(plan, folder, graded):
    (plan().out / "results" / "ada.json").write_text('{"points": 500}')
    (plan().out / "results" / ".bob.json.xyz").write_text("cut o")
    news = []
    assert marks(grade_class(folder, plan(), step=lambda result, total: news.append(result["name"]))) == MARKS
    assert news == ["ada"] and not list((plan().out / "results").glob(".*"))


def test_another_plan_is_refused(plan, folder, graded):
    with pytest.raises(ValueError, match="was graded with another seed: choose another --out"):
        grade_class(folder, plan(seed="another"))
    with pytest.raises(ValueError, match="was graded with another limits: choose another --out"):
        grade_class(folder, plan(limits=Limits(call_seconds=3)))
    (plan().out / "grading.json").unlink()
    with pytest.raises(ValueError, match="holds results, but no grading.json"):
        grade_class(folder, plan())
    (plan().out / "grading.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        grade_class(folder, plan())
    assert len(list(plan().out.glob("results/*.json"))) == 4


def test_the_seed_decides_the_inputs_and_is_told_nobody(plan, folder, once):
    marks_of_one, one = once
    two = grade_class(folder, plan(seed="an0ther"))
    assert marks(one) == marks(two) == MARKS
    seeds = [[e["seed"] for r in ordered for e in r["exercises"] if e["seed"] is not None] for ordered in (one, two)]
    assert len(seeds[0]) == len(seeds[1]) == 7 and not set(seeds[0]) & set(seeds[1])
    assert one[1]["exercises"][0]["found"] != two[1]["exercises"][0]["found"]
    for path in marks_of_one.rglob("*"):
        assert path.is_dir() or path.name == "grading.json" or b"s3cret" not in path.read_bytes(), path
    assert (marks_of_one / "grading.json").stat().st_mode & 0o077 == 0


def test_names_with_odd_characters(plan, tmp_path):
    names = ["=1+1", "Zoë Ångström", "a b\nc", "'; rm -rf ~", "<b>x</b>", "-n", "学生 1"]
    for name in names:
        hand_in(tmp_path / "class" / name, small=SMALL)
    hand_in(tmp_path / "class" / "Ada", small=SMALL)
    (tmp_path / "class" / "ada.py").write_text(OTHER)
    (tmp_path / "class" / ".hidden.py").write_text(OTHER)
    ordered = grade_class(tmp_path / "class", plan())
    assert len(ordered) == len(names) + 2 and all(result["points"] == 5 for result in ordered)
    stems = {path.stem for path in plan().out.glob("results/*.json")}
    assert stems == {result["name"] for result in ordered} and len({s.casefold() for s in stems}) == len(ordered)
    assert {path.stem for path in plan().out.glob("reports/*.html")} == stems


def test_an_empty_folder_is_told(plan, tmp_path):
    (tmp_path / "class").mkdir()
    with pytest.raises(ValueError, match="holds no submission: a folder, .zip, .py or .ipynb for each learner"):
        grade_class(tmp_path / "class", plan())
    assert not plan().out.exists()


def test_two_at_once_are_refused(plan, folder):
    pytest.importorskip("fcntl")
    plan().out.mkdir()
    with batch.alone(plan().out), pytest.raises(ValueError, match="another minipeft is grading into .*marks just now"):
        grade_class(folder, plan())
    assert marks(grade_class(folder, plan())) == MARKS
    assert not (plan().out / ".lock").exists()


@linux
def test_a_worker_that_is_killed_is_replaced(plan, folder):
    """With the submission that it was at; its nursery ends with it."""
    killed = []

    def step(result, total):
        if not killed:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    assert marks(grade_class(folder, plan(), 1, step)) == MARKS
    assert killed and not workers()


def test_what_ends_the_grader_twice_gets_nothing(plan, folder, monkeypatch):
    right, tries = batch.Worker.grade, []

    def grade(self, name, path):
        if name == "bob":
            tries.append(name)
            self.process.kill()
            self.process.wait()
        return right(self, name, path)

    monkeypatch.setattr(batch.Worker, "grade", grade)
    ordered = grade_class(folder, plan())
    assert marks(ordered) == [("ada", 10), ("bob", 0), ("eve", 5), ("nobody", 0)] and tries == ["bob", "bob"]
    assert {e["state"] for e in ordered[1]["exercises"]} == {"died"}
    assert "ended the grader, twice" in ordered[1]["exercises"][0]["found"]
    assert results.read(plan().out / "results" / "bob.json") == ordered[1]
    assert emit.junit(ordered) == (plan().out / "junit.xml").read_text(encoding="utf-8")


@linux
def test_ctrl_c_keeps_what_is_there(course, folder, tmp_path):
    hand_in(folder / "zed", small="def double(x):\n    while True: pass\n")
    out = tmp_path / "marks"
    command = [sys.executable, "-m", "minipeft.cli", "grade", "--class", folder, "--out", out, "--course", course]
    run = subprocess.Popen(
        [*command, "--jobs", "1"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores Ctrl-C
    )  # fmt: skip
    while run.poll() is None and not (out / "results" / "nobody.json").exists():
        time.sleep(0.02)
    time.sleep(0.5)  # zed's loop is running
    began, started = time.monotonic(), confine.descendants(run.pid)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=20)[1]
    assert run.returncode == 130 and time.monotonic() - began < 8
    assert "what is graded stays" in said and "the same command goes on" in said and "Traceback" not in said
    assert len(started) >= 2 and gone(started)
    assert sorted(path.stem for path in out.glob("results/*.json")) == ["ada", "bob", "eve", "nobody"]
    assert all(results.read(path) for path in out.glob("results/*.json")) and not (out / "class.csv").exists()


@linux
@pytest.mark.slow
def test_a_class_with_a_kill_in_the_middle(course, tmp_path):
    """The measurement of docs/grading_measured.md, small: marks by construction, one `kill -9`, nothing lost."""
    file = tmp_path / "lines.csv"
    run = [sys.executable, ROOT / "benchmarks" / "grading.py", "batch", "--n", "10", "--kills", "1", "--seconds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*run, "--course", course, "--file", file], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with file.open(encoding="utf-8", newline="") as lines:
        found = {line["name"]: line["value"] for line in csv.DictReader(lines)}
    assert found["marks as expected"] == found["submissions"] == "10", done.stdout
    assert 0 < int(found["results after kill 1"]) < 10
    for name in ("graded twice", "lost", "results that differ after the kills", "temporary files left"):
        assert found[name] == "0", done.stdout
    assert float(found["seconds until none is left after kill 1"]) < 10
