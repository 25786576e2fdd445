"""`make mutants`, on a course of two exercises: what it changes, what it lets nobody overlook."""

from pathlib import Path

import pytest

from minipeft.course.exercise import exercises
from tests.exercises import mutate
from tests.exercises.mutate import KILLED, Result, Worker, all_mutants, change, equivalents, mutants, report, stale

ROOT = Path(__file__).parents[1]
WEAK = "return {abs(x) -> x} + 2.0"  # let through: the check below never asks for a negative number
SOLUTIONS = '''
def half(x: float) -> float:
    """x / 2"""
    # BEGIN SOLUTION
    return x / 2
    # END SOLUTION


def further(x: float) -> float:
    """|x| + 2"""
    # BEGIN SOLUTION
    return abs(x) + 2.0
    # END SOLUTION
'''
CHECKS = """
from minipeft.course.exercise import exercise
from minipeft.course.judge import same

header = dict(difficulty=1, minutes=1, points=1, hints=("", "", ""))


def reference_half(x):
    return x * 0.5


@exercise("01.1", "Half", reference=reference_half, **header)
def test_half(submission, cases):
    same(submission.half, reference_half, x=next(cases()).number(3, 9))


def reference_further(x):
    return abs(x) + 2


@exercise("01.2", "Further", reference=reference_further, **header)
def test_further(submission, cases):
    same(submission.further, reference_further, x=next(cases()).number(3, 9))
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    files = {
        "solutions/tiny.py": SOLUTIONS,
        "tests/exercises/test_tiny.py": CHECKS,
        "tests/exercises/equivalent.toml": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def changes(body: str, signature: str = "x: Tensor") -> set[str]:
    source = f"def f({signature}):\n    # BEGIN SOLUTION\n    {body}\n    # END SOLUTION\n    return given + 1\n"
    return {mutant.change for mutant in mutants(source, "tiny", "f")} - {f"{{{body} -> pass}}"}


EVERY = """
y = x - 2       y = x {- -> +} 2 | y = x{- 2 -> } | y = {x - -> }2 | y = {x - 2 -> 2 - x}
                y = x - {2 -> 3} | y = x - {2 -> 1} | y = x - {2 -> 0} | y = x - { -> -}2
y = -1          y = {-1 -> 0} | y = -{1 -> 2} | y = {- -> }1
y = x.T         y = x{.T -> }
y = x[1:]       y = x{[1:] -> } | y = x[{1 -> }:] | y = x[{1 -> 2}:] | y = x[{1 -> 0}:] | y = x[{ -> -}1:]
                y = x[1{ -> + 1}:] | y = x[1{ -> - 1}:]
y = min(x, z)   y = {min -> max}(x, z) | y = {min(x, z) -> x} | y = min({x, -> }z) | y = min(x{, z -> })
y = x.sum(0)    y = x.{sum -> mean}(0) | y = x{.sum(0) -> } | y = x.sum({0 -> }) | y = x.sum({0 -> 1}) | y = x.sum({0 -> -1})
y = f(x, dim=z) y = {f(x, dim=z) -> x} | y = f({x, -> }dim=z) | y = f(x{, dim=z -> })
y = x == z      y = x {== -> !=} z
y = True        y = {True -> False}
y = (x, z)      y = ({x, z -> z, x})
"""  # noqa: E501
BODIES: dict[str, set[str]] = {}
body = ""
for row in EVERY.strip().splitlines():
    body = row[:16].strip() or body
    BODIES.setdefault(body, set()).update(row[16:].split(" | "))


@pytest.mark.parametrize("body", BODIES)
def test_every_single_change_of_the_marked_lines(body):
    assert changes(body) == BODIES[body]


def test_an_argument_gives_way_to_one_of_its_kind():
    assert changes("y = d", "d: int, e: int, x: Tensor") == {"y = {d -> e}"}
    assert changes("y = x", "d: int, e: int, x: Tensor") == set()


def test_a_statement_left_out_is_one_line_in_the_report():
    assert change("def f():\n    if a:\n        b = 1\n    return b", "def f():\n    pass\n    return b") == (
        "{if a:; b = 1 -> pass}"
    )


@pytest.mark.slow  # starts a process
def test_what_is_let_through_is_reported(course, capsys):
    assert mutate.main(["--jobs", "1"], course) == 1
    out = capsys.readouterr().out
    assert f"\n! tiny.further: {WEAK}: let through with seed 0\n" in out
    assert "| 01.1 | `half` |" in out and "! tiny.half" not in out


def test_an_entry_says_why_and_goes_stale_loudly(course):
    items, everything = exercises(course), all_mutants(course, exercises(course))
    results = [Result(m, "let through with seed 0" if m.change == WEAK else KILLED) for m in everything]

    def amiss(listed: dict[str, dict[str, str]]) -> list[str]:
        assert stale(listed, everything) == []
        return [line for line in report(items, results, listed) if line.startswith("!")]

    assert amiss({}) == [f"! tiny.further: {WEAK}: let through with seed 0"]
    assert amiss({"tiny.further": {WEAK: "no number is negative"}}) == []
    killed = "return abs(x) {+ -> -} 2.0"
    assert amiss({"tiny.further": {WEAK: "", killed: ""}}) == [
        f"! tiny.further: {killed}: listed as equivalent, but killed"
    ]
    many = [Result(m, "let through with seed 0") for m in everything]
    listed = {key: {m.change: "" for m in everything if m.key == key} for key in ("tiny.half", "tiny.further")}
    assert list(report(items, many, listed))[-1] == "! more than 10% of the mutants are listed as equivalent"
    assert stale({"tiny.further": {"return x": ""}}, everything) == ["tiny.further: return x"]
    (course / "tests/exercises/equivalent.toml").write_text("[tiny.further]\n'return x' = 'once'\n", encoding="utf-8")
    assert stale(equivalents(course), everything) == ["tiny.further: return x"]


@pytest.mark.slow  # starts a process
def test_a_mutant_may_hang_or_die_or_confuse_the_check(course):
    worker = Worker(course)
    try:
        assert worker.judge("tiny.half", "def half(x):\n    return x / 2") == "let through with seed 0"
        assert worker.judge("tiny.half", "import os\ndef half(x):\n    os._exit(1)") == KILLED
        assert worker.judge("tiny.half", "def half(x):\n    while True: pass") == KILLED
        assert worker.judge("tiny.half", "def half(x):\n    return None") == KILLED
    finally:
        worker.stop()


@pytest.mark.slow  # starts a process
def test_a_worked_answer_that_is_refused_is_an_error(course):
    solutions = course / "solutions" / "tiny.py"
    solutions.write_text(SOLUTIONS.replace("x / 2", "x / 4"), encoding="utf-8")
    with pytest.raises(ValueError, match="the worked answer to tiny.half does not pass"):
        mutate.main(["01.1", "--jobs", "1"], course)


def test_no_entry_of_the_course_is_stale():
    """Whether they are still let through is what `make mutants` says."""
    everything, listed = all_mutants(ROOT, exercises(ROOT)), equivalents(ROOT)
    assert stale(listed, everything) == []
    assert sum(mutant.change in listed.get(mutant.key, {}) for mutant in everything) <= len(everything) * mutate.ALLOWED
    assert all(reason.strip() for entries in listed.values() for reason in entries.values())
