"""The course on the command line: list, next, ask, check, hint, watch, reset, progress, lab.

Each is a function of the parsed arguments that returns an exit code.  All but `reset` only read what a learner wrote,
and `reset` keeps a dated copy.
"""

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from . import stubs
from .exercise import Exercise, chosen
from .record import replace
from .result import Overview, check_one, give_hint, overview, question
from .root import root


def add(command: Callable) -> None:
    """Add the course's commands; `command(name, run, about)` makes a parser."""

    def course_command(name: str, run: Callable[[Namespace], int], about: str):
        p = command(name, run, about)
        p.add_argument("--course", metavar="DIR", help="the course's folder (default: the one around this directory)")
        return p

    course_command("lab", lab, "open the course in JupyterLab, on lesson 00")
    course_command("list", show_list, "list the exercises: minutes, points, and which you have passed")
    course_command("next", show_next, "show the next exercise to do")
    p = course_command("ask", ask, "show what an exercise asks for")
    p.add_argument("exercise", help="such as 15.1")
    p = course_command("check", check, "check your answers (exit code 1: not all are right)")
    p.add_argument("exercise", nargs="*", help="such as 15.1, or 15 for a whole lesson (default: all)")
    p.add_argument("--seed", type=int, help="the seed that a failure's message names, for the same inputs again")
    p = course_command("hint", hint, "give the next hint for an exercise: three steps, then the worked answer")
    p.add_argument("exercise", help="such as 15.1")
    course_command("watch", watch, "check an exercise file whenever it is saved, until Ctrl-C")
    p = course_command("reset", reset, "start an exercise anew; what you wrote is kept in exercises/.backup")
    p.add_argument("exercise", help="such as 15.1, or 15 for a whole lesson")
    course_command("progress", show_progress, "show your points, lesson by lesson")


def lab(args: Namespace) -> int:
    folder = root(args.course)
    try:
        import jupyterlab  # noqa: F401
    except ImportError:
        raise ImportError('JupyterLab is not installed: pip install "minipeft[course]"') from None
    # a notebook named as an argument would make its own folder the root, and exercises/ would be out of sight
    start = [f"--ServerApp.root_dir={folder}", "--LabApp.default_url=/lab/tree/lessons/00_start_here.ipynb"]
    with subprocess.Popen([sys.executable, "-m", "jupyterlab", *start]) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                pass  # Jupyter hears Ctrl-C too: it asks whether to stop, and shuts the kernels down


def show_list(args: Namespace) -> int:
    rows = overview(root(args.course)).rows
    width = max(len(item.title) for item, _, _ in rows)
    print(f"{'':6} {'':{width}}  level   minutes  points  state")
    for item, day, hints in rows:
        state = f"passed {day}" if day else f"{hints} hint{'s' * (hints > 1)} used" if hints else ""
        line = f"{item.id:6} {item.title:{width}}  {item.level:6}  {item.minutes:7}  {item.points:6}  {state}"
        print(line.rstrip())
    return 0


def show_next(args: Namespace) -> int:
    folder = root(args.course)
    upcoming = next_exercise(overview(folder))
    print(question(upcoming, folder) if upcoming else "Every exercise is passed.")
    return 0


def next_exercise(state: Overview) -> Exercise | None:
    return next((item for item, day, _ in state.rows if not day), None)


def ask(args: Namespace) -> int:
    folder = root(args.course)
    for item in chosen(folder, args.exercise):
        print(question(item, folder))
    return 0


def check(args: Namespace) -> int:
    folder = root(args.course)
    items = [item for which in args.exercise or [None] for item in chosen(folder, which)]
    results = []
    for item in items:
        results.append(check_one(item, folder, args.seed))
        print(results[-1], flush=True)
    if len(results) > 1:
        print(f"{sum(r.points for r in results)} of {sum(r.exercise.points for r in results)} points")
    return 0 if all(r.passed for r in results) else 1


def hint(args: Namespace) -> int:
    print(give_hint(root(args.course), args.exercise))
    return 0


def show_progress(args: Namespace) -> int:
    print(overview(root(args.course)))
    return 0


def watch(args: Namespace) -> int:
    """Look at the files' times twice a second; that works on every system and on network drives."""
    folder = root(args.course)
    items = chosen(folder, None)
    paths = {topic: folder / "exercises" / f"{topic}.py" for topic in dict.fromkeys(item.topic for item in items)}
    seen = {topic: saved(path) for topic, path in paths.items()}
    print("watching exercises/: save a file to check it, Ctrl-C to stop", flush=True)
    try:
        while True:
            time.sleep(0.5)
            for topic, path in paths.items():
                if (now := saved(path)) != seen[topic] and now is not None:
                    print(f"\n{time.strftime('%H:%M:%S')} {path.name}", flush=True)
                    for item in items:
                        if item.topic == topic:
                            print(check_one(item, folder), flush=True)
                seen[topic] = now
    except KeyboardInterrupt:
        return 0


def saved(path: Path) -> tuple[int, int] | None:
    """When a file was written last, and its size; None where there is none, as in the moment of its saving."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def reset(args: Namespace) -> int:
    folder = root(args.course)
    items = chosen(folder, args.exercise)
    whole = "." not in args.exercise
    for topic in dict.fromkeys(item.topic for item in items):
        path, fresh = folder / "exercises" / f"{topic}.py", stubs.stub_of(folder, topic)
        text = fresh
        if not whole and path.exists():
            try:
                text = stubs.put_back(path.read_text(encoding="utf-8"), fresh, items[0].name)
            except (SyntaxError, UnicodeDecodeError) as e:
                raise ValueError(
                    f"exercises/{topic}.py is not Python as it stands ({e}), so one function can't be put back: "
                    f"mend it, or start the whole file anew with minipeft reset {items[0].lesson}"
                ) from None
        kept = replace(path, text)
        names = f"exercises/{topic}.py" if whole else f"{items[0].name} in exercises/{topic}.py"
        print(
            f"{names} is as it was at the start" + (f"; what you had is in {kept.relative_to(folder)}" if kept else "")
        )
    return 0
