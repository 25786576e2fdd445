"""The teacher's commands: grade, release, autograder."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from ..course.record import write as write_text
from ..course.root import root
from ..progress import Progress
from . import result as results
from .batch import Plan, grade_class
from .emit import github_classroom, github_notices, github_summary, gradescope, junit
from .grade import PUBLIC, Result, grade
from .handed_in import handed_in
from .nursery import Limits, Nursery
from .page import learner_page
from .release import autograder, course_version, release

GRADE = """A submission is a .py file, a notebook, a zip or a folder; with --class, a folder that holds many.
Broken off and started again with the same --out, a class goes on where it was.

examples:
  minipeft grade ada.zip                                     one, in words
  minipeft grade ada/ --only 15 16.1 --html ada.html         of two lessons, with the learner's page
  minipeft grade --class handed_in --out marks --only 15     all, with tables, pages and a report of who wrote the same
"""


def add(command: Callable) -> None:
    """Add the teacher's commands; `command(name, run, about, epilog)` makes a parser."""
    p = command("grade", run_grade, "grade a submission, or a class, each exercise in a confined process", GRADE)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("path", nargs="?", type=Path, metavar="PATH", help="a .py file, a notebook, a zip or a folder")
    what.add_argument("--class", dest="folder", type=Path, metavar="DIR", help="a folder with a submission each")
    p.add_argument("--out", type=Path, metavar="DIR", help="of a class: where results, pages and tables go")
    _only(p)
    _seed(p, required=False)
    p.add_argument("--seconds", type=float, default=Limits.call_seconds, help="for one call (default: %(default)g)")
    p.add_argument("--jobs", type=int, default=2, metavar="N", help="of a class: how many at a time (default: 2)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the result, as minipeft/grading/schema.json says")
    p.add_argument("--html", type=Path, metavar="FILE", help="write the learner's page")
    p.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    p.add_argument("--gradescope", type=Path, metavar="FILE", help="write Gradescope's results.json")
    p.add_argument("--github", action="store_true", help="report to GitHub Actions: summary, points, annotations")
    _course(p)
    p = command("release", run_release, "make the learner's bundle: everything but solutions and wrong answers")
    p.add_argument("out", type=Path, metavar="OUT", help="a folder that isn't there yet, or a .zip")
    _course(p)
    p = command("autograder", run_autograder, "make the zip that Gradescope takes as an autograder")
    p.add_argument("out", type=Path, metavar="OUT", help="a .zip")
    _only(p)
    _seed(p, required=True)
    _course(p)


def _course(p) -> None:
    p.add_argument("--course", metavar="DIR", help="the course's folder (default: the one around this directory)")


def _only(p) -> None:
    p.add_argument("--only", nargs="+", default=[], metavar="WHICH", help="lessons or exercises, such as 15 16.1")


def _seed(p, required: bool) -> None:
    which = p.add_mutually_exclusive_group(required=required)
    which.add_argument("--seed", help="any text; it decides the inputs, so keep it to yourself")
    which.add_argument("--seed-file", type=Path, metavar="FILE", help="the same, from the first line of a file")


def read_seed(args: Namespace) -> str:
    seed = args.seed_file.read_text(encoding="utf-8").partition("\n")[0].strip() if args.seed_file else args.seed
    if seed == "":
        raise ValueError("the seed is empty: give any text")
    return seed or PUBLIC


def run_grade(args: Namespace) -> int:
    folder, seed = root(args.course), read_seed(args)
    if args.seconds <= 0:
        raise ValueError(f"--seconds {args.seconds:g}: a call needs more than no time")
    limits = Limits(call_seconds=args.seconds, exercise_seconds=max(60.0, 2 * args.seconds))
    plan = Plan(folder, args.out or Path(), seed, tuple(args.only), limits)
    return many(args, plan) if args.folder else single(args, plan)


def single(args: Namespace, plan: Plan) -> int:
    if args.out:
        raise ValueError("--out is for --class; one submission takes --json FILE or --html FILE")
    items = plan.items
    handed = handed_in(args.path, items)
    bar = Progress(len(items), handed.name)
    with Nursery(plan.limits) as nursery:
        result = grade(handed, items, nursery, course_version(plan.root), plan.seed, lambda item: bar.step(item.id))
    bar.close(f"{handed.name}: {result['points']} of {result['of']} points")
    files = {
        args.html: learner_page,
        args.junit: lambda result: junit([result]),
        args.gradescope: lambda result: json.dumps(gradescope(result), indent=1),
    }
    for path, form in files.items():
        if path:
            write_text(path, form(result))
    if args.json:
        results.write(args.json, result)
    if args.github:
        report_to_github(result)
    else:
        print(in_words(result))
    return 0


def in_words(result: Result) -> str:
    lines = [f"note: {note}" for note in result["source"]["notes"]]
    for entry in result["exercises"]:
        if entry["state"] != "passed":
            lines.append(f"{entry['id']} {entry['title']}: {entry['state']} (0 of {entry['of']} points)")
            parts = {"what was called": entry["called"], "what came back": entry["found"]}
            parts["the likely mistake"] = entry["mistake"]
            lines += [f"  {label}: {text}" for label, text in parts.items() if text]
    return "\n".join([*lines, f"{result['name']}: {result['points']} of {result['of']} points"])


def report_to_github(result: Result) -> None:
    """Into the files that a step of GitHub Actions is given, and commands on its output."""
    for variable, text in (
        ("GITHUB_STEP_SUMMARY", github_summary(result)),
        ("GITHUB_OUTPUT", f"result={github_classroom(result)}\n"),
    ):
        if path := os.environ.get(variable):
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)
    print(github_notices(result), end="")


def many(args: Namespace, plan: Plan) -> int:
    if not args.out:
        raise ValueError("--class needs --out DIR, for results, pages and tables")
    if args.jobs < 1:
        raise ValueError(f"--jobs {args.jobs}: at least one is needed")
    bar = None

    def step(result: Result, total: int) -> None:
        nonlocal bar
        bar = bar or Progress(total, "graded")
        bar.step(f"{result['name']} {result['points']}/{result['of']}")

    try:
        ordered = grade_class(args.folder, plan, args.jobs, step)
    except KeyboardInterrupt:
        print(f"\nbroken off; what is graded stays in {plan.out}, and the same command goes on", file=sys.stderr)
        raise
    if bar:
        bar.close(f"{bar.done} graded, {len(ordered) - bar.done} were there")
    print(table(ordered))
    print(f"done: {len(ordered)} submissions; open {plan.out / 'index.html'}")
    return 0


def table(ordered: list[Result]) -> str:
    width = max(len(result["name"]) for result in ordered)
    lines = [f"{'':{width}}  points   not passed"]
    for result in ordered:
        states = [entry["state"] for entry in result["exercises"] if entry["state"] != "passed"]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        points = f"{result['points']}/{result['of']}"
        lines.append(f"{result['name']:{width}}  {points:8} {result['reason'] or counts}".rstrip())
    return "\n".join(lines)


def run_release(args: Namespace) -> int:
    print(*release(root(args.course), args.out), sep="\n")
    return 0


def run_autograder(args: Namespace) -> int:
    print(
        *autograder(root(args.course), args.out, read_seed(args), os.environ.get("PIP_EXTRA_INDEX_URL", "")), sep="\n"
    )
    return 0
