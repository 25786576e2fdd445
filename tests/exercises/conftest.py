"""The exercises' checks under pytest: `pytest tests/exercises`, or `--answers DIR` for a learner's folder.

The inputs are new each time; `--seed N`, from a failure's message, brings the same ones again.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from minipeft.course.exercise import fresh_seed
from minipeft.course.judge import Cases, Wrong
from minipeft.course.submission import Submission

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--answers", type=Path, help="the folder of answers to check (default: solutions, or exercises)")
    parser.addoption("--seed", type=int, help="the seed of the inputs, instead of a new one")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A refusal says all in its message: no traceback through the course's machinery."""
    report = yield
    if call.excinfo and isinstance(call.excinfo.value, Wrong):
        report.longrepr = f"{item.function.exercise.header}\n{call.excinfo.value}"
    return report


@pytest.fixture
def submission(request: pytest.FixtureRequest) -> Submission:
    handed_out = ROOT / ("solutions" if (ROOT / "solutions").is_dir() else "exercises")  # a bundle has no solutions
    answers = request.config.getoption("--answers", default=None) or handed_out
    return Submission.load(answers.resolve() / request.path.name.removeprefix("test_"))


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Cases:
    seed = request.config.getoption("--seed", default=None)
    return Cases(fresh_seed() if seed is None else seed)
