"""32 small submissions, and two graders: plain pytest, as most courses use it, and ours.

The course is the one of `tests/grading/small.py`: double (2 points), halve (3) and count (5).  Where a case is wrong or
hostile in one function, the other two are right, and the right mark is theirs.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from minipeft.course.exercise import load
from minipeft.course.runner import confine
from minipeft.grading import result

ROOT = Path(__file__).resolve().parents[1]
SMALL = load(ROOT / "tests" / "grading" / "small.py")
SECONDS = 20  # for a whole run of pytest
MEMORY = 2 << 30  # bytes, for either, on top of torch's libraries


@dataclass(frozen=True)
class Case:
    name: str
    points: int  # the right mark, of 10
    files: dict[str, bytes]
    options: tuple[str, ...] = field(default=())  # of pytest, where a course has such settings


HALVE = "def halve(x, n):\n    return x / 2**n\n"
COUNT = "def count(d_in, r):\n    return d_in * r\n"
PASSED = "".join(f'<testcase name="test_{name}"/>' for name in ("double", "halve", "count"))
FORGE = f"""path = next((a.partition("=")[2] for a in sys.argv if a.startswith("--junitxml=")), "report.xml")
open(path, "w").write('<testsuites><testsuite>{PASSED}</testsuite></testsuites>')
"""
FIRST = (2 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0))).tolist()  # what pytest's double expects


def case(name: str, points: int, body: str = "return 2 * x", top: str = "", other: str = COUNT, **options) -> Case:
    """`body` of double, and what stands above it."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    small = f"import os\nimport sys\nimport torch\n{top}\ndef double(x):\n{lines}\n\n{HALVE}"
    return Case(name, points, {"small.py": small.encode(), "other.py": other.encode()}, **options)


RIGHT = case("", 10).files
CASES = [
    # right
    case("the worked answers", 10),
    case("prints, on stdout and stderr", 10, "print('x', x)\nprint('x', x, file=sys.stderr)\nreturn 2 * x"),
    case("a warning, in a course that runs `pytest -W error`", 10,
         "import warnings\nwarnings.warn('old', DeprecationWarning)\nreturn 2 * x", options=("-W", "error")),
    Case("byte-order mark and CRLF", 10,
         {name: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") for name, text in RIGHT.items()}),
    case("other styles: float64 inside, an object that is called", 10, "return (x.double() * 2).to(x.dtype)",
         other="class Count:\n    def __call__(self, d_in, r):\n        return sum(r for _ in range(d_in))\n"
               "count = Count()\n"),
    case("slow: a second for each call", 10, "import time\ntime.sleep(1)\nreturn x + x"),
    Case("named by the browser: small (1).py", 10, {"small (1).py": RIGHT["small.py"], "other.py": RIGHT["other.py"]}),
    case("leaves a thread running", 10,
         "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nreturn 2 * x"),
    case("prints 300 MB", 10, "if not hasattr(sys, 'done'):\n    sys.done = True\n    for _ in range(300):\n"
                              "        print('x' * 10**6)\nreturn 2 * x"),
    # wrong
    case("squared, not doubled", 8, "return x**2"),
    case("one of three not written", 8, "raise NotImplementedError('exercise 1.1')"),
    case("a dimension too many", 8, "return 2 * x[None]"),
    Case("a syntax error in one of two files", 5, {**RIGHT, "small.py": b"def double(x:\n    return 2 * x\n"}),
    case("sys.exit() when imported", 5, top="sys.exit()"),
    case("sys.exit() in a call", 8, "sys.exit()"),
    case("KeyboardInterrupt in a call", 8, "raise KeyboardInterrupt"),
    case("an endless loop", 8, "while True:\n    pass"),
    case("os._exit(0) in a call", 8, "os._exit(0)"),
    case("a segmentation fault", 8, "import ctypes\nctypes.string_at(0)"),
    case("recursion in C", 8, "sys.setrecursionlimit(10**9)\ndeep = []\nfor _ in range(10**6):\n    deep = [deep]\n"
                              "return repr(deep)"),
    case("takes memory without end", 8, "held = []\nwhile True:\n    held.append(bytearray(10**8))"),
    case("closes every descriptor", 8, "os.closerange(0, 1000)\nreturn x"),
    # hostile
    case("an object that equals everything", 5,
         other="class Yes(int):\n    __eq__ = lambda *_: True\n\ndef count(d_in, r):\n    return Yes(1)\n"),
    case("a tensor that says yes to every function", 8,
         "class Yes(torch.Tensor):\n    __torch_function__ = classmethod(lambda *_, **__: True)\n"
         "return x.detach().as_subclass(Yes)"),
    case("`expected`, read from the caller's frame", 8,
         "frame = sys._getframe()\nwhile frame := frame.f_back:\n    if 'expected' in frame.f_locals:\n"
         "        return frame.f_locals['expected']\nreturn x"),
    case("torch.allclose replaced", 8, "return x", "torch.allclose = torch.equal = lambda *_, **__: True"),
    case("torch.randn replaced: all inputs are zero", 8, "return x",
         "torch.randn = lambda *size, **__: torch.zeros(size, requires_grad=True)"),
    case("pytest's runner replaced", 8, "return x",
         "if '_pytest.python' in sys.modules:\n    sys.modules['_pytest.python'].Function.runtest = lambda self: None"),
    Case("a conftest.py beside it", 8, {**case("", 8, "return x").files, "conftest.py": b"""
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    (yield).get_result().outcome = "passed"
"""}),
    case("answers stored for the inputs of the public tests", 8, f"return torch.tensor({FIRST})"),
    case("the reference, taken from the tests in memory", 8,
         "tests = sys.modules.get('test_small')\nreturn tests.reference_double(x) if tests else x"),
    case("a forged report, then os._exit(0)", 8, FORGE + "os._exit(0)"),
]  # fmt: skip


# -- plain pytest -----------------------------------------------------------------------------------------------------

POINTS = {"test_double": 2, "test_halve": 3, "test_count": 5}
TESTS = {
    "test_small.py": """
import torch
import small


def reference_double(x):
    return 2 * x


def test_double():
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    expected = reference_double(x)
    result = small.double(x)
    assert torch.allclose(result, expected)


def test_halve():
    x = torch.randn(3, 4)
    expected = x / 8
    result = small.halve(x, 3)
    assert torch.allclose(result, expected)
""",
    "test_other.py": """
import other


def test_count():
    expected = 15
    result = other.count(5, 3)
    assert result == expected
""",
}


def by_pytest(folder: Path, cases: Sequence[Case]) -> list[float | None]:
    """The points of each; None: no report.

    What was handed in is copied, the tests over it; one run, with a limit on its time and on its memory, writes a JUnit
    report; a test that passes brings its points.
    """
    found = []
    for i, one in enumerate(cases):
        here = folder / str(i)
        here.mkdir(parents=True)
        for name, text in {**one.files, **{name: text.encode() for name, text in TESTS.items()}}.items():
            (here / name).write_bytes(text)
        run = [sys.executable, "-m", "pytest", "-q", "--rootdir=.", "--junitxml=report.xml", *one.options]
        process = subprocess.Popen(
            run, cwd=here, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=limited,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found.append(reported(here / "report.xml"))
    return found


def limited() -> None:
    most = confine.address_space() + (4 << 30) + MEMORY  # torch's libraries take nearly 4 GiB of addresses
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def reported(path: Path) -> float | None:
    try:
        tests = ElementTree.parse(path).iter("testcase")
    except (OSError, ElementTree.ParseError):
        return None
    return sum(POINTS.get(name, 0) for name in {test.get("name") for test in tests if not len(test)})


# -- ours -------------------------------------------------------------------------------------------------------------


def by_ours(folder: Path, cases: Sequence[Case]) -> list[float | None]:
    """All in one batch."""
    course, handed, out = SMALL.small_course(folder / "course"), folder / "handed_in", folder / "marks"
    for i, one in enumerate(cases):
        for name, text in one.files.items():
            path = handed / f"case-{i:02d}" / "exercises" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
    run = [sys.executable, "-m", "minipeft.cli", "grade", "--class", handed, "--out", out, "--course", course]
    subprocess.run(run, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = []
    for i in range(len(cases)):
        try:
            found.append(result.read(out / "results" / f"case-{i:02d}.json")["points"])
        except (OSError, ValueError):
            found.append(None)
    return found


GRADERS = {"pytest": by_pytest, "minipeft": by_ours}
