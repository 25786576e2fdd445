"""One submission, graded: every exercise in a child of its own, judged here, written into one result.

    result = grade(handed_in(path, items), items, nursery, course_version(root), seed="the teacher's own")

The inputs of an exercise follow from the seed, the exercise, and what was handed in: another text, other inputs.  So
the marks are the same whenever and wherever it is graded, and an answer that was made for some inputs meets others.
"""

import hashlib
import hmac
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import torch

from .. import __version__
from ..course.exercise import Exercise
from ..course.judge import Unwritten, Wrong
from ..course.runner.answers import Report
from ..course.submission import refusal
from .handed_in import Handed, Source
from .nursery import Apart, Ended, Limits, Nursery
from .result import clean, line

PUBLIC = "public"  # the seed where a teacher gives none
PATIENCE, HURRY = 120.0, 2.0  # seconds: after waiting so long for one submission in vain, so much for each further call
Result = dict[str, Any]


def seed_of(secret: str, exercise: str, text: bytes) -> int:
    """The seed of one exercise's inputs: nobody can tell it without the secret, and it changes with the text."""
    digest = hmac.new(secret.encode(), exercise.encode() + b"\0" + hashlib.sha256(text).digest(), hashlib.sha256)
    return int.from_bytes(digest.digest()[:4]) % 10**6


def grade(
    handed: Handed,
    items: Sequence[Exercise],
    nursery: Nursery,
    course: str,
    seed: str = PUBLIC,
    step: Callable[[Exercise], None] = lambda item: None,
) -> Result:
    """The result of one submission, as schema.json describes it.

    course    the version of the checks, for the record
    step      called after each exercise

    Raises OSError where no process can be started at all: then nobody's work was at fault, and there is no result.
    """
    began = time.monotonic()
    done, unreadable, waited = [], {}, 0.0
    for item in items:
        source = handed.files.get(item.topic)
        if source and item.topic in unreadable:
            entry = told(item, source.where, unreadable[item.topic])
        elif source:
            limits = replace(nursery.limits, call_seconds=min(HURRY, nursery.limits.call_seconds))
            limits = nursery.limits if waited < PATIENCE else limits
            entry, broken = one(item, source, nursery, limits, seed_of(seed, item.id, source.text))
            if entry["state"] in ("time", "died"):
                waited += entry["seconds"]
                if broken:  # waiting for it once is enough
                    unreadable[item.topic] = broken
        else:
            why = handed.reason or f"there is no file {item.topic}.py, and no notebook that defines {item.name}"
            entry = told(item, f"exercises/{item.topic}.py", Wrong(why, "none", "", "missing"))
        done.append(entry)
        step(item)
    return result(handed, done, nursery, course, time.monotonic() - began)


def given_up(handed: Handed, items: Sequence[Exercise], nursery: Nursery, course: str, why: str) -> Result:
    """The result of a submission that nobody could grade: nothing, and the reason."""
    verdict = Wrong(why, "died", "", "died")
    entries = [told(item, f"exercises/{item.topic}.py", verdict) for item in items]
    return result(handed, entries, nursery, course, 0.0)


def result(handed: Handed, entries: list[dict[str, Any]], nursery: Nursery, course: str, seconds: float) -> Result:
    return {
        "format": "minipeft-result",
        "version": 1,
        "name": line(handed.name),
        "source": {
            "kind": handed.kind,
            "sha256": handed.sha256,
            "files": sorted({clean(source.where) for source in handed.files.values()}),
            "notes": [clean(note) for note in handed.notes],
        },
        "status": "unreadable" if handed.reason else "graded",
        "reason": clean(handed.reason),
        "points": sum(e["points"] for e in entries),
        "of": sum(e["of"] for e in entries),
        "exercises": entries,
        "isolation": nursery.isolation,
        "limits": {k: v for k, v in asdict(nursery.limits).items() if k != "printed_bytes"},
        "graded": {
            "minipeft": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "course": course,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
        },
    }


def one(
    item: Exercise, source: Source, nursery: Nursery, limits: Limits, seed: int
) -> tuple[dict[str, Any], Wrong | None]:
    """An exercise's entry; and the refusal, if it is the file as a whole that can't be used."""
    began, broken = time.monotonic(), None
    with nursery.child(item.imports, limits) as child:
        submission = Apart(child, source.text, source.where)
        report = reading(submission)
        if report["state"] == "read":
            verdict = judge(item, submission, seed)
        else:
            broken = verdict = refusal(report, f"reading {source.where}")
    entry = told(item, source.where, verdict, None if broken else seed)
    entry["output"] = clean(child.output.decode("utf-8", "replace"))
    entry["seconds"] = round(time.monotonic() - began, 3)
    return entry, broken


def reading(submission: Apart) -> Report:
    try:
        return submission.open()
    except Ended as end:
        return end.report


def judge(item: Exercise, submission: Apart, seed: int) -> Wrong | None:
    """As the learner's own check does.  A check that fails over an answer refuses it: it was no answer to judge."""
    try:
        return item.judge(submission, seed)
    except Exception as e:
        return Wrong(f"the answer is of a kind that can't be judged ({type(e).__name__}: {e})", "check")


def told(item: Exercise, where: str, verdict: Wrong | None, seed: int | None = None) -> dict[str, Any]:
    """An exercise's entry in a result."""
    passed = verdict is None
    unwritten = isinstance(verdict, Unwritten)
    found = "" if passed else f"write {item.name} in {where}" if unwritten else verdict.found
    return {
        "id": item.id,
        "name": item.name,
        "title": item.title,
        "topic": item.topic,
        "lesson": item.lesson,
        "points": item.points if passed else 0,
        "of": item.points,
        "state": "passed" if passed else verdict.state,
        "where": clean(where),
        "called": "" if passed or unwritten else clean(verdict.called),
        "found": clean(found),
        "mistake": clean(verdict.mistake or "") if verdict else "",
        "hint": "" if passed else item.hints[0],
        "seed": seed,
        "output": "",
        "seconds": 0.0,
    }
