"""A course of three exercises in two files, which is graded in milliseconds: what these tests hand out and collect."""

from pathlib import Path

from minipeft.course.exercise import exercises
from minipeft.course.stubs import stub_of

FILES = {
    "tests/exercises/test_small.py": """
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients

HINTS = ("What is twice x?", "x and x again.", "return 2 * ...")


def double(x):
    return 2 * x


@exercise("01.1", "Double", difficulty=1, minutes=5, points=2, reference=double, hints=HINTS)
def test_double(submission, cases):
    for case in cases("b d"):
        x = case("b d")
        same(submission.double, double, x=x)
        same_gradients(submission.double, double, wrt="x", x=x)


def halve(x, n):
    return x / 2**n


@exercise("01.2", "Halve", difficulty=1, minutes=5, points=3, reference=halve, hints=HINTS)
def test_halve(submission, cases):
    for case in cases("b d"):
        same(submission.halve, halve, x=case("b d"), n=case.integer(1, 4))
""",
    "tests/exercises/test_other.py": """
from minipeft.course.exercise import exercise
from minipeft.course.judge import same


def count(d_in, r):
    return d_in * r


@exercise("02.1", "Count", difficulty=1, minutes=5, points=5, reference=count, hints=("How many?", "All.", "..."))
def test_count(submission, cases):
    for case in cases("d_in r"):
        same(submission.count, count, d_in=case["d_in"], r=case["r"])
""",
    "tests/exercises/wrong/small.py": """
from minipeft.course.exercise import wrong


@wrong("double", "it is squared, not doubled")
def squared(x):
    return x**2
""",
    "solutions/small.py": '''
def double(x):
    """Twice x."""
    # BEGIN SOLUTION
    return 2 * x
    # END SOLUTION


def halve(x, n):
    """x, halved n times."""
    # BEGIN SOLUTION
    return x / 2**n
    # END SOLUTION
''',
    "solutions/other.py": '''
def count(d_in, r):
    """The numbers of a matrix."""
    # BEGIN SOLUTION
    return d_in * r
    # END SOLUTION
''',
}
SMALL, OTHER = FILES["solutions/small.py"], FILES["solutions/other.py"]  # right answers


def small_course(root: Path) -> Path:
    """Written into an empty folder, stubs included."""
    (root / "lessons").mkdir(parents=True)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.lstrip(), encoding="utf-8")
    (root / "exercises").mkdir()
    for topic in dict.fromkeys(item.topic for item in exercises(root)):
        (root / "exercises" / f"{topic}.py").write_text(stub_of(root, topic), encoding="utf-8")
    return root


def hand_in(folder: Path, **files: str | bytes) -> Path:
    """A submission: small="..." becomes folder/exercises/small.py."""
    (folder / "exercises").mkdir(parents=True, exist_ok=True)
    for topic, text in files.items():
        (folder / "exercises" / f"{topic}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder
