"""`check`, `hint`, `progress` and `learner`: the course as a notebook sees it, and how it looks there.

Everything is shown twice: as quiet HTML that follows the notebook's theme, and as plain text for a terminal.  Text
from a submission is always escaped.  Words, never colour alone, say what happened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from . import stubs
from .exercise import Exercise, chosen, exercises, fresh_seed, one
from .judge import Unwritten, Wrong
from .record import Progress
from .root import root as find_root
from .submission import Submission

GREEN, AMBER, GREY = "#3a9d5d", "#c77c11", "#8a8a8a"  # readable as a border on white and on black


def box(colour: str, *paragraphs: str) -> str:
    """A calm frame around paragraphs of HTML; text and background stay the theme's own."""
    style = f"border-left: 4px solid {colour}; padding: 0.2em 0 0.2em 1em; margin: 0.4em 0"
    inside = "".join(f'<p style="margin: 0.3em 0">{p}</p>' for p in paragraphs)
    return f'<div role="status" style="{style}">{inside}</div>'


@dataclass(frozen=True)
class Result:
    """One exercise, checked."""

    exercise: Exercise
    where: str  # the learner's file, as they know it
    refusal: Wrong | None = None
    notes: tuple[str, ...] = ()  # sentences that follow, such as where to compare answers

    @property
    def passed(self) -> bool:
        return self.refusal is None

    @property
    def points(self) -> int:
        return self.exercise.points if self.passed else 0

    @property
    def state(self) -> str:
        if self.passed:
            return "passed"
        return "not written yet" if isinstance(self.refusal, Unwritten) else "not right yet"

    @property
    def heading(self) -> str:
        item = self.exercise
        return f"{item.id} {item.title}: {self.state} ({self.points} of {item.points} points)"

    def details(self) -> list[tuple[str, str]]:
        if self.passed:
            return []
        if isinstance(self.refusal, Unwritten):
            return [("Where", f"write {self.exercise.name} in {self.where}, save the file, and check again")]
        return self.refusal.parts()

    def __str__(self) -> str:
        lines = [
            self.heading,
            *(f"  {label}: {text}" for label, text in self.details()),
            *(f"  {n}" for n in self.notes),
        ]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = GREEN if self.passed else GREY if isinstance(self.refusal, Unwritten) else AMBER
        details = [f"{escape(label)}: <code>{escape(text)}</code>" for label, text in self.details()]
        return box(colour, f"<strong>{escape(self.heading)}</strong>", *details, *map(escape, self.notes))


@dataclass(frozen=True)
class Results:
    """Several exercises, checked."""

    results: tuple[Result, ...] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        return all(r.passed for r in self.results)

    @property
    def total(self) -> str:
        points, full = sum(r.points for r in self.results), sum(r.exercise.points for r in self.results)
        return f"{points} of {full} points"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.total])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(r._repr_html_() for r in self.results) + f"<p>{self.total}</p>"


def check_one(item: Exercise, root: Path, seed: int | None = None) -> Result:
    """Check the learner's present file, and remember a pass."""
    submission = Submission.load(root / "exercises" / f"{item.topic}.py", item.imports)
    refusal = item.judge(submission, fresh_seed() if seed is None else seed)
    notes = []
    if refusal is None:
        try:
            Progress(root).pass_(item.id)
        except OSError as e:
            notes.append(f"(Your progress could not be saved: {e.strerror}.)")
        if place := solution_place(item, root):
            notes.append(f"To compare: {place}")
    elif not isinstance(refusal, Unwritten) and refusal.mistake is None:
        notes.append(f'A hint: hint("{item.id}") here, or minipeft hint {item.id} in a terminal.')
    return Result(item, submission.where, refusal, tuple(notes))


def check(which: str | float | None = None, *, seed: int | None = None) -> Result | Results:
    """Check one exercise, check("15.1"), all of a lesson, check("15"), or all that there are.

    The inputs are new each time; the seed in a failure's message brings the same ones again.
    Raises ValueError for an exercise that isn't there.
    """
    root = find_root()
    items = chosen(root, None if which is None else str(which))
    results = tuple(check_one(item, root, seed) for item in items)
    return results[0] if "." in str(which) else Results(results)


@dataclass(frozen=True)
class Text:
    """A heading and paragraphs, for a notebook and for a terminal."""

    heading: str
    paragraphs: tuple[str, ...]
    code: str = ""

    def __str__(self) -> str:
        return "\n".join(
            [self.heading, *(f"  {p}" for p in self.paragraphs), *([f"\n{self.code}"] if self.code else [])]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        code = f"<pre>{escape(self.code)}</pre>" if self.code else ""
        return box(GREY, f"<strong>{escape(self.heading)}</strong>", *map(escape, self.paragraphs)) + code


def solution_place(item: Exercise, root: Path) -> str | None:
    path = root / "solutions" / f"{item.topic}.py"
    return f"solutions/{item.topic}.py, {item.name}" if path.exists() else None


def hint(which: str | float) -> Text:
    """The next hint for an exercise: a question, then the idea, then half a line; after the third, the worked answer.

    Raises ValueError for an exercise that isn't there.
    """
    return give_hint(find_root(), str(which))


def give_hint(root: Path, which: str) -> Text:
    item, progress = one(root, which), Progress(root)
    if progress.hints.get(item.id, 0) == 3 or item.id in progress.passed:
        return worked_answer(item, root)
    number = progress.hint(item.id)
    after = (
        "The next one is more explicit." if number < 3 else "That was the last; asking again shows the worked answer."
    )
    return Text(f"{item.id} {item.title}: hint {number} of 3", (item.hints[number - 1], after))


def ask(which: str | float) -> Text:
    """What an exercise asks for: its signature and docstring.  Raises ValueError for an exercise that isn't there."""
    root = find_root()
    return question(one(root, str(which)), root)


def question(item: Exercise, root: Path) -> Text:
    path = root / "exercises" / f"{item.topic}.py"
    return Text(item.header, (f"Write {item.name} in exercises/{path.name}.",), stubs.question(root, item))


def worked_answer(item: Exercise, root: Path) -> Text:
    path = root / "solutions" / f"{item.topic}.py"
    if not path.exists():
        return Text(f"{item.id} {item.title}: all hints are given", item.hints)
    code = stubs.answer(path.read_text(encoding="utf-8"), item.name)
    return Text(f"{item.id} {item.title}: the worked answer", (), code)


@dataclass(frozen=True)
class Overview:
    """Every exercise, with its state."""

    rows: tuple[tuple[Exercise, str, int], ...]  # exercise, day it was passed or "", hints given

    def lessons(self) -> dict[int, list[tuple[Exercise, str, int]]]:
        by_lesson: dict[int, list] = {}
        for row in self.rows:
            by_lesson.setdefault(row[0].lesson, []).append(row)
        return by_lesson

    @staticmethod
    def points(rows: list[tuple[Exercise, str, int]]) -> tuple[int, int]:
        return sum(item.points for item, day, _ in rows if day), sum(item.points for item, _, _ in rows)

    def lines(self) -> list[str]:
        lines = []
        for lesson, rows in self.lessons().items():
            got, full = self.points(rows)
            passed = sum(bool(day) for _, day, _ in rows)
            lines.append(f"lesson {lesson:02d}: {passed} of {len(rows)} exercises, {got} of {full} points")
        got, full = self.points(list(self.rows))
        hints = sum(n for _, _, n in self.rows)
        return [*lines, f"together: {got} of {full} points, {hints} hint{'s' * (hints != 1)} used"]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return box(GREY, *map(escape, self.lines()))


def overview(root: Path) -> Overview:
    done = Progress(root)
    return Overview(tuple((e, done.passed.get(e.id, ""), done.hints.get(e.id, 0)) for e in exercises(root)))


def progress() -> Overview:
    """Points and exercises passed, lesson by lesson."""
    return overview(find_root())


def learner(which: str) -> Callable:
    """The learner's own function if it passes its check now; until then the reference, with a line that says so.

    For lessons: they run before, during and after the exercises are solved.
    """
    root = find_root()
    item = one(root, which)
    submission = Submission.load(root / "exercises" / f"{item.topic}.py", item.imports)
    if item.judge(submission, fresh_seed()) is None:
        print(f"{item.name}: yours, from {submission.where}")
        return submission.function(item.name)
    print(f'{item.name}: the reference, until yours passes check("{item.id}")')
    return item.reference
