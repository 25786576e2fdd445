"""A class, graded: a folder of submissions in, a folder of results out.

    OUT/grading.json        what was asked for: exercises, seed, limits, version of the checks
    OUT/results/ada.json    one result each, written as soon as it is there
    OUT/reports/ada.html    for the learner
    OUT/index.html class.csv nbgrader.csv junit.xml similarity.html similarity.csv    for the teacher

Each worker is a process that holds the checks, with a nursery of its own.  Whatever ends a worker or all of this, what
is written stays, and the same command goes on from there.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from ..course.exercise import Exercise, chosen
from ..course.record import write as write_text
from . import result as results
from .emit import class_csv, junit, nbgrader_csv
from .grade import Result, given_up, grade
from .handed_in import Handed, handed_in, names, submissions
from .nursery import Limits, Nursery
from .page import class_page, learner_page
from .release import course_version
from .similarity import similar, similarity_csv, similarity_page


@dataclass(frozen=True)
class Plan:
    """What is asked for.  A folder of results belongs to one plan."""

    root: Path  # the course
    out: Path
    seed: str
    only: tuple[str, ...] = ()  # exercises or lessons; none: all
    limits: Limits = Limits()

    @property
    def items(self) -> list[Exercise]:
        found = [item for which in self.only or (None,) for item in chosen(self.root, which)]
        return list({item.id: item for item in found}.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "format": "minipeft-grading",
            "version": 1,
            "course": course_version(self.root),
            "exercises": [item.id for item in self.items],
            "seed": self.seed,
            "limits": asdict(self.limits),
        }

    def result(self, name: str) -> Path:
        return self.out / "results" / f"{name}.json"


def grade_class(
    folder: Path, plan: Plan, workers: int = 2, step: Callable[[Result, int], None] = lambda result, total: None
) -> list[Result]:
    """All results, in the order of their names; the pages and tables are in plan.out.

    step    called with each new result and how many there will be

    Raises FileNotFoundError where there is no such folder, ValueError where it holds no submission, or where plan.out
    belongs to another plan, OSError where no process can be started.
    """
    paths = names(submissions(folder))
    if not paths:
        raise ValueError(f"{folder} holds no submission: a folder, .zip, .py or .ipynb for each learner is expected")
    plan.out.mkdir(parents=True, exist_ok=True)
    with alone(plan.out):
        begin(plan)
        items = plan.items
        handed = {name: handed_in(path, items, name) for name, path in paths.items()}
        there = {name: found for name in paths if (found := finished(plan, handed[name]))}
        missing = {name: path for name, path in paths.items() if name not in there}
        for name, result in work(missing, plan, min(workers, len(missing))):
            there[name] = result
            step(result, len(missing))
        ordered = [there[name] for name in paths]
        publish(ordered, handed, plan)
    return ordered


def begin(plan: Plan) -> None:
    """Note the plan, or find that it is the one that was noted."""
    path, now = plan.out / "grading.json", plan.as_json()
    if not path.exists():
        if any(plan.out.glob("results/*.json")):
            raise ValueError(f"{plan.out} holds results, but no grading.json that says of what: choose another --out")
        write_text(path, json.dumps(now, indent=1) + "\n")
        path.chmod(0o600)  # it holds the seed
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is damaged: choose another --out") from None
    if differs := [key for key in now if before.get(key) != now[key]]:
        raise ValueError(f"{plan.out} was graded with another {' and '.join(differs)}: choose another --out")
    for scrap in plan.out.glob("results/.*"):  # of a write that was cut off
        scrap.unlink()


def finished(plan: Plan, handed: Handed) -> Result | None:
    """The result that is there already, if it is one of what is handed in now."""
    with contextlib.suppress(OSError, ValueError):
        found = results.read(plan.result(handed.name))
        return found if found["source"]["sha256"] == handed.sha256 else None
    return None


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Nobody else writes here meanwhile.  The lock is the kernel's, so a killed process leaves none behind."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(out / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another minipeft is grading into {out} just now") from None
        yield
    (out / ".lock").unlink(missing_ok=True)


def publish(ordered: Sequence[Result], handed: dict[str, Handed], plan: Plan) -> None:
    """Everything that is made of the results."""
    for result in ordered:
        write_text(plan.out / "reports" / f"{result['name']}.html", learner_page(result))
    pairs = similar(handed, plan.root, plan.items)
    pages = {
        "class.csv": class_csv(ordered),
        "nbgrader.csv": nbgrader_csv(ordered),
        "junit.xml": junit(ordered),
        "similarity.html": similarity_page(pairs),
        "similarity.csv": similarity_csv(pairs),
        "index.html": class_page(ordered, pairs),
    }
    for name, text in pages.items():
        write_text(plan.out / name, text)


# -- workers ----------------------------------------------------------------------------------------------------------


def work(missing: dict[str, Path], plan: Plan, workers: int) -> Iterator[tuple[str, Result]]:
    """Results as they come, from workers that are replaced when one ends; after the second time nothing is graded."""
    jobs: Queue = Queue()
    for job in missing.items():
        jobs.put((*job, 1))
    news: Queue = Queue()
    stop = threading.Event()
    staff: list[Worker] = []
    threads = [threading.Thread(target=tend, args=(jobs, news, plan, staff, stop), daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for _ in missing:
            name, result = news.get()
            if isinstance(result, Exception):
                raise result
            yield name, result
    finally:
        stop.set()
        for worker in list(staff):
            worker.dismiss()
        for thread in threads:
            thread.join(30)


def tend(jobs: Queue, news: Queue, plan: Plan, staff: list["Worker"], stop: threading.Event) -> None:
    """One worker after the other, until there is nothing to do."""
    worker = None
    try:
        while not stop.is_set():
            try:
                name, path, attempt = jobs.get_nowait()
            except Empty:
                return
            if not worker:
                staff.append(worker := Worker(plan))
            if not stop.is_set() and worker.grade(name, path):
                with contextlib.suppress(ValueError):  # a result that is none is no result
                    news.put((name, results.read(plan.result(name))))
                    continue
            if stop.is_set():
                return
            worker = worker.close()
            if attempt == 1:
                jobs.put((name, path, 2))
            else:
                why = "grading this submission ended the grader, twice: nothing of it could be graded"
                handed = handed_in(path, plan.items, name)
                with Nursery(plan.limits) as nursery:
                    result = given_up(handed, plan.items, nursery, course_version(plan.root), why)
                results.write(plan.result(name), result)
                news.put((name, result))
    except Exception as e:
        news.put(("", e))
    finally:
        if worker:
            worker.close()


class Worker:
    """A process that grades one submission after the other: `worker`.

    Raises OSError if it doesn't start.
    """

    def __init__(self, plan: Plan):
        here = str(Path(__file__).parents[2])
        program = f"import sys; sys.path.insert(0, {here!r}); from minipeft.grading.batch import worker; worker()"
        self.process = subprocess.Popen(  # -P: we may be in a folder of submissions, and one may be called numpy.py
            [sys.executable, "-P", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True, text=True, encoding="utf-8", env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        order = {"root": str(plan.root), "out": str(plan.out), "seed": plan.seed, "only": plan.only}
        self._tell({**order, "limits": asdict(plan.limits)})
        if not self.process.stdout.readline():  # no submission's fault
            self.close()
            raise OSError("a process that grades submissions does not start; what it said stands above")

    def _tell(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended, or is dismissed
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()

    def grade(self, name: str, path: Path) -> bool:
        """Whether there is a result.  Raises OSError if the worker says that it can't work at all."""
        self._tell({"name": name, "path": str(path)})
        line = self.process.stdout.readline()
        if not line:
            return False
        answer = json.loads(line)
        if "failed" in answer:
            raise OSError(answer["failed"])
        return True

    def dismiss(self) -> None:
        """It ends, whatever it is at."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def close(self) -> None:
        self.dismiss()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def worker() -> None:
    """Orders come line by line.  When they end we end: in order if idle, at once if whoever gave them is gone."""
    orders: Queue = Queue()
    busy = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            orders.put(json.loads(line))
        orders.put(None)
        if busy.is_set():
            os._exit(1)  # the nursery sees it, and ends with all that is in it

    threading.Thread(target=listen, daemon=True).start()
    order = orders.get()
    limits = Limits(**order["limits"])
    plan = Plan(Path(order["root"]), Path(order["out"]), order["seed"], tuple(order["only"]), limits)
    items, course = plan.items, course_version(plan.root)
    with Nursery(limits) as nursery:
        print(json.dumps({"ready": nursery.isolation["layers"]}), flush=True)
        while order := orders.get():
            busy.set()
            try:
                handed = handed_in(Path(order["path"]), items, order["name"])
                results.write(plan.result(order["name"]), grade(handed, items, nursery, course, plan.seed))
                answer = {"done": order["name"]}
            except OSError as e:
                answer = {"failed": str(e)}
            busy.clear()
            with contextlib.suppress(BrokenPipeError):  # whoever asked is gone; the orders end too
                print(json.dumps(answer), flush=True)
    os._exit(0)  # torch takes half a second to end
