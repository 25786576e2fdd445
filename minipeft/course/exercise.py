"""An exercise: its header, its hints, and the function that checks it, all written once, in tests/exercises/.

    tests/exercises/test_lora.py        @exercise("15.1", "The layer", ...) def test_lora_linear(submission, cases)
    tests/exercises/wrong/lora.py       @wrong("lora_linear", "the hint it earns") def ...
    solutions/lora.py                   def lora_linear, its body between BEGIN SOLUTION and END SOLUTION
    exercises/lora.py                   made from it (`stubs.py`); here the learner writes

The same check runs in a notebook, in the terminal, under pytest, and for a teacher.
"""

import functools
import importlib.util
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch

from .judge import Cases, Wrong, alike
from .submission import Asked, Submission


@dataclass(frozen=True)
class Exercise:
    """`reference` is a right answer made from the library: lessons use it until the learner has their own."""

    id: str  # the lesson's number in two digits, and the exercise's: "01.2"
    title: str
    difficulty: int  # 1 to 3
    minutes: int
    points: int
    hints: tuple[str, str, str]  # a question, the idea, half a line
    reference: Callable
    check: Callable = field(repr=False)
    imports: tuple[str, ...] = ()  # of the packages that hold answers, those that this one may import

    @property
    def name(self) -> str:
        """The function to write."""
        return self.check.__name__.removeprefix("test_")

    @property
    def topic(self) -> str:
        """The stem of its files."""
        return Path(self.check.__code__.co_filename).stem.removeprefix("test_")

    @property
    def lesson(self) -> int:
        return int(self.id.split(".")[0])

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(map(int, self.id.split(".")))

    @property
    def level(self) -> str:
        return ("easy", "medium", "hard")[self.difficulty - 1]

    @property
    def header(self) -> str:
        return f"{self.id} {self.title} · {self.level} · {self.minutes} minutes · {self.points} points"

    def attempt(self, submission: Asked, seed: int) -> Wrong | None:
        """What the bare check says: None is a pass."""
        with torch.random.fork_rng(devices=[]):
            try:
                self.check(submission, Cases(seed))
            except Wrong as refusal:
                return refusal
        return None

    def judge(self, submission: Asked, seed: int) -> Wrong | None:
        """The same, with the seed, and the hint of the known wrong answer that is refused on the same evidence."""
        refusal = self.attempt(submission, seed)
        if refusal:
            refusal.seed = seed
        if refusal and refusal.state == "wrong":
            for function in self.wrong_answers():
                known = self.attempt(Submission({self.name: function}), seed)
                if known and alike(known.evidence, refusal.evidence):
                    refusal.mistake = function.hint
                    break
        return refusal

    def wrong_answers(self) -> list[Callable]:
        """The known ones; none where their file is not handed out."""
        path = Path(self.check.__code__.co_filename).parent / "wrong" / f"{self.topic}.py"
        functions = vars(load(path)).values() if path.exists() else ()
        return [f for f in functions if getattr(f, "answers", None) == self.name]


def exercise(id: str, title: str, **header) -> Callable[[Callable], Callable]:
    """Make a check function an exercise: its refusals then name the known mistake, under pytest as elsewhere."""

    def decorate(check: Callable) -> Callable:
        item = Exercise(id, title, check=check, **header)

        @functools.wraps(check)
        def judged(submission: Asked, cases: Cases) -> None:
            if refusal := item.judge(submission, cases.seed):
                raise refusal

        judged.exercise = item
        return judged

    return decorate


def wrong(name: str, hint: str) -> Callable[[Callable], Callable]:
    """Mark a function as a wrong answer to the exercise called `name`."""

    def mark(function: Callable) -> Callable:
        function.answers, function.hint = name, hint
        return function

    return mark


def load(path: Path) -> ModuleType:
    """Run a file of ours that is not part of the package."""
    spec = importlib.util.spec_from_file_location(f"minipeft_course_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exercises(root: Path) -> list[Exercise]:
    """All exercises of a course, in the order of their numbers.  Raises ValueError if two have the same."""
    found = {}
    for path in sorted((root / "tests" / "exercises").glob("test_*.py")):
        for item in (f.exercise for f in vars(load(path)).values() if hasattr(f, "exercise")):
            if item.id in found:
                raise ValueError(f"two exercises are called {item.id}: {found[item.id].name} and {item.name}")
            found[item.id] = item
    return sorted(found.values(), key=lambda item: item.order)


def chosen(root: Path, which: str | None) -> list[Exercise]:
    """The exercises meant by "15.1", by a lesson's number "15", or by None: all.  Raises ValueError if that is none."""
    everything = exercises(root)
    try:
        number = () if which is None else tuple(map(int, which.split(".")))
    except ValueError:
        number = None
    found = [item for item in everything if item.order[: len(number)] == number] if number is not None else []
    if not found:
        lessons = ", ".join(str(n) for n in sorted({item.lesson for item in everything}))
        raise ValueError(f"there is no exercise {which}; lessons {lessons} have some, written as 15 or 15.1")
    return found


def one(root: Path, which: str) -> Exercise:
    """The exercise meant by "15.1".  Raises ValueError if that is none, or a whole lesson."""
    found = chosen(root, which)
    if "." not in which:
        raise ValueError(f"{which} is a whole lesson: name one of {', '.join(item.id for item in found)}")
    return found[0]


def fresh_seed() -> int:
    return secrets.randbelow(10**6)
