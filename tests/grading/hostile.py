"""Submissions that try to be graded otherwise than by their answers, that are broken, or that are right in odd ways.

The course is that of small.py: `double` and `halve` in one file, `count` in another.  A case says what is handed in,
and what has to come out for each exercise; what it doesn't name is right and gets its points, whatever happens beside
it.  `needs` names the walls without which a case would not hold: docs/grading.md says what that means for a system
that doesn't offer them.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.grading.small import OTHER, SMALL, hand_in

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = "\n\ndef double(x):\n    return 2 * x\n"
HALVE = "\n\ndef halve(x, n):\n    return x / 2**n\n"
MARK = "minipeft-hostile"  # in the name of everything that a case tries to leave behind


@dataclass(frozen=True)
class Case:
    name: str
    small: str | bytes = SMALL
    other: str | bytes = OTHER
    expected: dict[str, tuple[str, str]] = field(default_factory=dict)  # exercise: its state, a part of the sentence
    needs: tuple[str, ...] = ()
    make: Callable[[Path, str], None] | None = None  # hands something else in, to this folder under this name

    def hand_in(self, folder: Path) -> None:
        if self.make:
            self.make(folder, self.name)
        else:
            hand_in(folder / self.name, small=self.small, other=self.other)


def indented(body: str) -> str:
    return "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))


def double(name: str, body: str, state: str = "wrong", says: str = "", before: str = "", needs: tuple = ()) -> Case:
    """`double` does this, and `halve` beside it is right."""
    text = f"import torch\n{before}\n\ndef double(x):\n{indented(body)}{HALVE}"
    return Case(name, text, expected={} if state == "passed" else {"01.1": (state, says)}, needs=needs)


def reading(name: str, before: str, state: str = "passed", says: str = "", needs: tuple = ()) -> Case:
    """The file does this when it is read, and its functions are right."""
    expected = {} if state == "passed" else {"01.1": (state, says), "01.2": (state, says)}
    return Case(name, f"{before}\n{DOUBLE}{HALVE}", expected=expected, needs=needs)


def whole(name: str, text: str | bytes, state: str = "passed", says: str = "", needs: tuple = ()) -> Case:
    """All of small.py."""
    return Case(
        name, text, expected={} if state == "passed" else {"01.1": (state, says), "01.2": (state, says)}, needs=needs
    )


def count(name: str, body: str, state: str = "wrong", says: str = "", before: str = "") -> Case:
    """`count`, which gives back an integer, does this."""
    text = f"import torch\n{before}\n\ndef count(d_in, r):\n{indented(body)}"
    return Case(name, other=text, expected={} if state == "passed" else {"02.1": (state, says)})


# -- broken -----------------------------------------------------------------------------------------------------------

BROKEN = [
    whole("nothing_in_it", " \n", "missing", "has no function"),
    whole("syntax", "def double(x:\n    return 2\n", "broken", "line 1 is not Python: '(' was never closed"),
    whole("two_spaces_more", f"{DOUBLE}      return x\n", "broken", "is not Python: unexpected indent"),
    whole("python_2", "print 'hello'\n", "broken", "is not Python: Missing parentheses"),
    whole("zeros", b"def double(x):\0 return 2 * x\n", "broken", "null bytes"),
    whole("no_text_at_all", bytes(range(128, 256)) * 20, "broken", "is not Python"),
    whole("brackets", "(" * 100_000, "broken", "is not Python: too many nested parentheses"),
    whole("deep_expression", "x = " + "-" * 50_000 + "1", "broken", "is not Python"),
    whole("a_long_sum", "x = " + "+".join(["1"] * 100_000) + f"{DOUBLE}{HALVE}", "broken", "is not Python"),
    Case("wrong_name", SMALL.replace("double", "doubles"),
         expected={"01.1": ("missing", "did you mean double when you wrote doubles?")}),
    Case("no_function", SMALL.replace("def double", "def twofold"),
         expected={"01.1": ("missing", "no function double")}),
    whole("functions_are_values", "double = 3\nhalve = None\n", "missing", "has no function"),
    Case("too_few_arguments", f"def double():\n    return 2\n{HALVE}",
         expected={"01.1": ("wrong", "TypeError: double() takes 0 positional arguments but 1 was given")}),
    Case("too_many_arguments", f"def double(x, y):\n    return 2 * x\n{HALVE}",
         expected={"01.1": ("wrong", "missing 1 required positional argument: 'y'")}),
    Case("keywords_only", f"def double(*, x):\n    return 2 * x\n{HALVE}",
         expected={"01.1": ("wrong", "takes 0 positional arguments")}),
    reading("package_that_is_not_there", "import pandas_of_mine", "broken", "No module named 'pandas_of_mine'"),
    reading("module_of_their_own", "from helpers import twice", "broken", "No module named 'helpers'"),
    reading("relative_import", "from .other import count", "broken", "ImportError"),
    reading("fails_when_read", "x = 1 / 0", "broken",
            "ZeroDivisionError: division by zero (exercises/small.py, line 1"),
    double("unwritten", "raise NotImplementedError('exercise 1.1')", "unwritten", "write double in exercises/small.py"),
    double("nothing_returned", "2 * x", "wrong", "nothing (None): is there a `return`?"),
    double("an_exception", "return x.doubled()", "wrong", "has no attribute 'doubled' (exercises/small.py, line 5"),
]  # fmt: skip

# -- ends and delays --------------------------------------------------------------------------------------------------

MASKED = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
"""
ENDS = [
    reading("exit_when_read", "import sys; sys.exit(0)", "broken", "reading exercises/small.py fails: SystemExit: 0"),
    reading("hard_exit_when_read", "import os; os._exit(0)", "died", "the process ended by itself (exit 0)"),
    double("exit_in_a_call", "raise SystemExit", "wrong", "SystemExit"),
    double("hard_exit_in_a_call", "import os; os._exit(0)", "died", "ended by itself (exit 0)"),
    double("exit_with_the_nurserys_code", "import os; os._exit(70)", "died", "what runs the answer failed"),
    double("base_exception", "raise KeyboardInterrupt('stop')", "wrong", "KeyboardInterrupt: stop"),
    double("exception_of_their_own", "raise Out", "wrong", "Out", "class Out(BaseException): pass"),
    double("exception_that_fails_to_say", "raise Mute", "wrong", "its text can't be shown",
           "class Mute(Exception):\n    def __str__(self): raise SystemExit"),
    double("exception_without_a_trace", "raise Lost", "wrong", "Lost (exercises/small.py, line",
           "class Lost(Exception):\n    __traceback__ = property(lambda self: 1 / 0)"),
    reading("endless_when_read", "while True: pass", "time", "nothing within"),
    double("endless_in_a_call", "while True: pass", "time", "is there an endless loop?"),
    double("endless_with_signals_masked", f"{MASKED}\nwhile True: pass", "time", "nothing within"),
    double("endless_and_caught", "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
           "time", "nothing within"),
    double("endless_in_c", "return sum(iter(int, 1))", "time", "nothing within"),
    double("asleep", "import time; time.sleep(1000)", "time", "nothing within"),
    double("dead_lock", "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", "time",
           "nothing within"),
    double("stopped", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nimport time; time.sleep(1000)", "time",
           "nothing within"),
    reading("slow_generator_of_cases", "import time; time.sleep(1000)", "time", "nothing within"),
    double("segfault", "import ctypes; ctypes.string_at(0)", "died", "SIGSEGV"),
    double("abort", "import os; os.abort()", "died", "the process crashed"),
    double("recursion", "return double(x)", "wrong", "RecursionError: maximum recursion depth exceeded"),
    double("recursion_without_a_limit", "import sys; sys.setrecursionlimit(10**9)\nreturn double(x)",
           "died|time|wrong", ""),
    double("recursion_in_c", "import json\na = []\nfor _ in range(10**5): a = [a]\nreturn json.dumps(a)", "wrong",
           "RecursionError"),
    double("stdin", "input()", "wrong", "EOFError"),
    double("stdin_by_number", "import os\nwhile not os.read(0, 1): pass", "time", "nothing within"),
    double("killed_by_itself", "import os, signal\nos.kill(os.getpid(), 9)\nos._exit(0)", "died", "the process"),
    double("kills_its_group", "import os\nos.killpg(0, 9)\nos._exit(0)", "died", "the process"),
    double("hangs_up", "import os\nos.closerange(0, 1000)\nreturn 2 * x", "died", ""),
]  # fmt: skip

# -- too much ---------------------------------------------------------------------------------------------------------

TOO_MUCH = [
    double("fork_bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "died|time", ""),
    double("thread_bomb", """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(1000,)).start()
""", "wrong", "can't start new thread", needs=("control group",)),
    double("memory_bomb", "a = []\nwhile True: a.append(torch.empty(10**8))", "wrong", "can't allocate memory"),
    double("memory_bomb_in_use", "a = []\nwhile True: a.append(bytearray(10**7))", "wrong|died|time", ""),
    double("tensor_bomb", "return torch.zeros(10**12)", "wrong", "allocate"),
    double("memory_of_many", """
import os, time
for _ in range(8):
    if not os.fork():
        a = bytearray(b'x') * (700 << 20)
        time.sleep(1000)
time.sleep(1000)
""", "died|time", "", needs=("control group",)),
    double("disk_bomb", "i = 0\nwhile True:\n    i += 1\n    open(str(i), 'wb').write(bytes(10**7))", "died",
           "it wrote more than 64 MiB to files"),
    double("large_file", "f = open('x', 'wb')\nwhile True: f.write(bytes(10**6))", "wrong", "File too large"),
    double("many_files", "for i in range(100_000): open(str(i), 'w')\nreturn 2 * x", "died|time", ""),
    double("deep_folders", "import os\nfor _ in range(5000):\n    os.mkdir('d')\n    os.chdir('d')\nreturn 2 * x",
           "died", "it wrote more than 64 MiB to files"),
    double("output_bomb", "while True: print('x' * 10**6)", "time", "nothing within"),
    double("output_bomb_on_stderr", "import os\nwhile True: os.write(2, b'x' * 10**6)", "time", "nothing within"),
    double("large_answer", "return torch.zeros(20_000_000)", "died", "at most 64 MiB can be handed over"),
    double("expanded_answer", "return torch.ones(1).expand(10**9)", "wrong", "an answer that can't be compared"),
    double("long_text", "return 'x' * 10**7", "died", "at most 1 MiB can be handed over"),
    double("long_exception", "raise ValueError('x' * 10**7)", "wrong", "ValueError: xxx"),
    double("many_values", "return list(range(10**6))", "wrong", "it has more than 10,000 values"),
    double("many_tensors", "return [torch.zeros(1) for _ in range(20_000)]", "wrong", "more than 10,000 values"),
    double("deep_answer", "a = []\nfor _ in range(1000): a = [a]\nreturn a", "wrong", "can't be compared"),
    double("answer_in_itself", "a = []\na.append(a)\nreturn a", "wrong", "can't be compared"),
    double("list_that_lies", "return L()", "wrong", "a list of 0, where",
           "import itertools\nclass L(list):\n    def __iter__(self): return itertools.count()\n"
           "    __len__ = lambda self: 0\n"),
    count("five_thousand_digits", "return 10 ** 5000", "wrong", "can't be handed over"),
    double("descriptors", "import os\nwhile True: os.dup(1)", "wrong", "Too many open files"),
]  # fmt: skip

# -- what is left behind ----------------------------------------------------------------------------------------------

DAEMON = f"""
import os, time
def run_on():
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    os.closerange(0, 100)
    while True:
        try: open("{MARK}", "a").write("x")
        except OSError: pass
        time.sleep(0.01)
run_on()
"""
LEFT = [
    reading("daemon", DAEMON),
    double("daemon_in_a_call", "run_on()\nreturn 2 * x", "passed", before=DAEMON.replace("\nrun_on()", "")),
    double("program_in_the_background", "import subprocess, sys\n"
           "subprocess.Popen([sys.executable, '-c', 'while True: pass'], start_new_session=True)\nreturn 2 * x",
           "wrong", "PermissionError", needs=("Landlock",)),
    reading("threads_run_on", "import threading, time\nfor _ in range(5):\n"
            "    threading.Thread(target=time.sleep, args=(1000,)).start()"),
    reading("background_writer", "import threading\ndef write():\n    while True: print('::error::x')\n"
            "threading.Thread(target=write, daemon=True).start()"),
    reading("at_exit", f"import atexit, os\natexit.register(lambda: open('/tmp/{MARK}', 'w'))", needs=("Landlock",)),
    reading("death_signal_off", "import ctypes\nctypes.CDLL(None).prctl(1, 0)\n" + DAEMON),
    double("files_elsewhere", f"""
import os
for folder in ({str(ROOT)!r}, "/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), "/", "..", "../.."):
    open(os.path.join(folder, "{MARK}"), "w").write("x")
""", "wrong", "PermissionError", needs=("Landlock",)),
    double("shared_memory", f"""
from multiprocessing import shared_memory
shared_memory.SharedMemory("{MARK}", create=True, size=4096)
""", "wrong", "PermissionError", needs=("Landlock",)),
    double("work_folder_removed", "import os, shutil\nshutil.rmtree('../work', True)\nreturn 2 * x", "passed"),
    double("work_folder_shut", "import os\nif os.access('.', os.W_OK): open('x', 'w')\nos.chmod('.', 0)\n"
           "return 2 * x", "passed"),
    double("work_folder_is_a_link", f"""
import os
work = os.getcwd()
os.rename(work, work + "2")
os.symlink({str(ROOT)!r}, work)
raise LookupError("renamed")
""", "wrong", "LookupError: renamed"),
    double("odd_files", r"""
import os
for name in ("a\nb", "\x1b[31m", "-rf", "*", " ", "é", b"\xff\xfe", "x" * 255):
    os.mkdir(name)
    open(os.path.join(name, name), "w")
os.symlink("/", "root")
os.symlink("loop", "loop")
os.chmod("-rf", 0)
return 2 * x
""", "wrong", "FileExistsError"),
]  # fmt: skip

# -- forged answers ---------------------------------------------------------------------------------------------------

LINE = """
import os, json, struct, socket
def lines():
    for fd in range(3, 200):
        try: yield socket.socket(fileno=os.dup(fd))
        except OSError: pass
def forge(message):
    text = json.dumps(message).encode()
    for line in lines(): line.sendall(struct.pack("!QQ", len(text), 0) + text)
"""
VALUE = '{"dict": [["state", "value"], ["value", 1], ["after", {"dict": []}]]}'
FORGED = [
    double("answer_of_no_question", f"forge({VALUE})\nreturn x", "died", "where only answers go", LINE),
    double("answer_and_exit", f"forge({VALUE})\nos._exit(0)", "died", "where only answers go", LINE),
    double("empty_answer", "forge({})\nos._exit(0)", "died", "where only answers go", LINE),
    double("answer_of_2_to_the_63", """
for line in lines(): line.sendall(struct.pack("!QQ", 1 << 63, 1 << 63))
""", "died", "at most 64 MiB", LINE),
    double("half_an_answer", """
for line in lines(): line.sendall(b"\\0\\0\\0")
while True: pass
""", "time", "nothing within", LINE),
    double("half_an_answer_and_exit", """
for line in lines(): line.sendall(struct.pack("!QQ", 100, 0) + b"{")
os._exit(0)
""", "died", "ended by itself", LINE),
    double("endless_answer", "while True:\n    for line in lines(): line.sendall(b'x' * 10**6)", "died",
           "at most 64 MiB", LINE),
    double("deep_json", """
for line in lines(): line.sendall(struct.pack("!QQ", 10**6, 0) + b"[" * 10**6)
os._exit(0)
""", "died", "where only answers go", LINE),
    double("one_tensor_many_times", """
from safetensors.torch import save
big = save({"0": torch.zeros(4_000_000)})
text = b'{"list": [' + b",".join([b'{"tensor": "0"}'] * 60_000) + b"]}"
for line in lines(): line.sendall(struct.pack("!QQ", len(text), len(big)) + text + big)
os._exit(0)
""", "died", "where only answers go", LINE),
    double("pickle", """
import pickle
class Open:
    def __reduce__(self): return os.system, ("touch /tmp/MARK",)
text = pickle.dumps(Open())
for line in lines(): line.sendall(struct.pack("!QQ", len(text), 0) + text)
os._exit(0)
""".replace("MARK", MARK), "died", "where only answers go", LINE),
    double("pickle_as_an_answer", "return Open()", "wrong", "Open is neither a tensor",
           f"class Open:\n    def __reduce__(self): return print, ('/tmp/{MARK}',)"),
    reading("read_and_forged", LINE + f"""
import threading
def flood():
    while True: forge({VALUE})
threading.Thread(target=flood, daemon=True).start()
import time; time.sleep(0.1)
""", "died", "where only answers go"),
    reading("results_and_reports", """
for name in ("results.json", "results/results.json", "/autograder/results/results.json", "report.xml", "class.csv"):
    try: open(name, "w").write('{"score": 100}')
    except OSError: pass
"""),
    double("says_that_it_passed", "print('1.1 passed: 2 of 2 points'); raise AssertionError('passed, 2 of 2 points')",
           "wrong", "AssertionError: passed, 2 of 2 points"),
    double("wire_replaced", """
import sys
wire = sys.modules["wire"]
wire.pack = lambda message: b"\\0" * 16
return x
""", "died", "where only answers go"),
    double("runner_replaced", """
import sys
answers = sys.modules["answers"]
answers.Answers.call = lambda self, *a: {"state": "value", "value": True, "after": {}}
answers.plain = lambda value, depth=8: True
return x
""", "wrong", "x changed"),
    double("frames", """
import sys
frame, seen = sys._getframe(), []
while frame:
    seen += [str(v) for v in {**frame.f_locals, **frame.f_globals}.values()]
    frame = frame.f_back
return [s for s in seen if "expected" in s or "reference" in s or "seed" in s.lower()][:3] and x
""", "wrong", ""),
    double("garbage_collector", """
import gc
names = {type(o).__name__ for o in gc.get_objects()}
assert not names & {"Exercise", "Cases", "Case", "Wrong", "Submission", "Apart"}, names
raise LookupError("nothing of the course")
""", "wrong", "LookupError: nothing of the course"),
]  # fmt: skip

# -- answers that lie -------------------------------------------------------------------------------------------------

LIAR = """
class Liar:
    __eq__ = __ge__ = __le__ = __call__ = __getattr__ = lambda self, *a, **k: True
    __bool__ = lambda self: True
    __hash__ = lambda self: 0
    __class__ = torch.Tensor
"""
SUBCLASS = """
class Always(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True if "eq" in str(function) or "close" in str(function) else torch.zeros(1)
    __eq__ = __le__ = lambda self, other: True
"""
LIES = [
    double("equal_to_everything", "return Liar()", "wrong", "Liar is neither a tensor", LIAR),
    double("tensor_equal_to_everything", "return x.as_subclass(Always)", "wrong", "wrong values", SUBCLASS),
    count("number_equal_to_everything", "return Number(7)", "wrong", "int 7, where", """
class Number(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__
    __int__ = __index__ = __float__ = lambda self: 1 / 0
"""),
    count("true", "return True", "wrong", "bool True, where"),
    count("text", "return str(d_in * r)", "wrong", "str '"),
    count("float_for_an_integer", "return d_in * r + 1e-9", "wrong", "float"),
    count("nothing_and_everything", "return float('nan')", "wrong", "float nan, where"),
    double("broadcasts", "return 2 * x[:1]", "wrong", "shape (1, "),
    double("one_number", "return torch.tensor(0.0)", "wrong", "shape (), where"),
    double("one_axis_more", "return (2 * x)[None]", "wrong", "shape (1, "),
    double("double_precision", "return 2 * x.double()", "wrong", "numbers of torch.float64, where torch.float32"),
    double("whole_numbers", "return (2 * x).long()", "wrong", "numbers of torch.int64"),
    double("nan", "return x * float('nan')", "wrong", "numbers are nan or infinite, the first at [0, 0]"),
    double("infinite", "return x * float('inf')", "wrong", "nan or infinite"),
    double("nested_list", "return (2 * x).tolist()", "wrong", "a list of"),
    double("numpy_array", "return (2 * x.detach()).numpy()", "wrong", "ndarray is neither a tensor"),
    double("generator", "yield 2 * x", "wrong", "generator is neither a tensor"),
    double("function_again", "return double", "wrong", "function is neither a tensor"),
    double("list_key", "return {(1, 2): x}", "wrong", "a dict of 1, where"),
    double("surrogate", "return '\\ud800'", "wrong", "str "),
    double("meta", "return torch.empty(x.shape, device='meta')", "wrong", "can't be compared"),
    double("sparse_but_wrong", "return x.to_sparse()", "wrong", "wrong values"),
    double("complex", "return (2 * x).to(torch.complex64)", "wrong", "numbers of torch.complex64"),
    double("complex_128", "return (2 * x).to(torch.complex128)", "wrong", "complex128"),
    double("quantized", "return torch.quantize_per_tensor(2 * x.detach(), 0.1, 0, torch.qint8)", "wrong", "can't be"),
    double("nested_tensors", "return torch.nested.nested_tensor(list(x.detach()))", "wrong", "can't be"),
    double("view_of_the_argument", "x.mul_(2)\nreturn x", "wrong", "x changed: a caller still needs what it passed"),
    double("argument_changed", "y = 2 * x\nx.zero_()\nreturn y", "wrong", "x changed"),
    double("argument_changed_by_its_data", "y = 2 * x\nx.data.zero_()\nreturn y", "wrong", "x changed"),
    double("argument_resized", "y = 2 * x\nx.resize_(1)\nreturn y", "wrong", "x changed"),
    double("detached", "return 2 * x.detach()", "wrong", "the gradient of x: none arrives; was something detached"),
    double("no_gradients", "with torch.no_grad(): return 2 * x", "wrong", "the gradient of x: none arrives"),
    double("frozen", "x.requires_grad_(False)\nreturn 2 * x", "wrong", "gradient"),
    double("half_a_gradient", "return x + x.detach()", "wrong", "the gradient of x: the right shape, but wrong values"),
    double("in_place_on_a_leaf", "x *= 2\nreturn x", "wrong", "x changed"),
    double("swapped_after_the_first_call", """
global double
first = 2 * x
double = lambda x: x
return first
""", "wrong", "the gradient of x"),
    double("first_call_only", "calls.append(x)\nreturn 2 * x if len(calls) == 1 else x", "wrong", "", "calls = []"),
    double("flaky", "return 2 * x if random.random() < 0.5 else x", "wrong", "", "import random"),
    double("flaky_by_numpy", "return 2 * x if np.random.rand() < 0.5 else x", "wrong", "", "import numpy as np"),
    double("flaky_by_torch", "return 2 * x if torch.rand(()) < 0.5 else x", "wrong", ""),
]  # fmt: skip

# -- other people's things --------------------------------------------------------------------------------------------

PATCHES = """
import builtins, json, math, random, socket, struct, time, unittest
import numpy as np, torch, safetensors.torch
try:
    import pytest
    pytest.approx = pytest.raises = lambda *a, **k: True
except ImportError: pass
unittest.TestCase.assertEqual = lambda *a: None
torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True
torch.Tensor.__eq__ = lambda *a: True
np.allclose = np.array_equal = lambda *a, **k: True
math.isclose = lambda *a, **k: True
time.time = time.monotonic = time.perf_counter = lambda: 0.0
"""
RANDOM = """
import random, torch, numpy as np
random.seed = np.random.seed = torch.manual_seed = lambda *a: None
torch.randn = torch.rand = lambda *a, **k: torch.zeros(1)
random.random = lambda: 0.0
"""
BUILTINS = """
import builtins
for name in ("print", "isinstance", "type", "len", "abs", "max", "sum", "all", "any", "repr", "open", "hash"):
    setattr(builtins, name, lambda *a, **k: True)
"""
WORLD = """
import torch
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch._C._set_deterministic_algorithms(True)
torch.set_grad_enabled(False)
torch.autograd.set_detect_anomaly(True)
torch.set_printoptions(precision=1)
"""
FRIENDS = """
import os, sys
os.makedirs("torch", exist_ok=True)
for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "numpy.py", "torch/__init__.py", "x.pth",
             "pytest.ini", "json.py", "minipeft.py"):
    open(name, "w").write("import os; os._exit(0)")
sys.path.insert(0, os.getcwd())
"""
THINGS = [
    reading("patches", PATCHES),
    double("patches_and_a_wrong_answer", "return x", "wrong", "wrong values", PATCHES),
    reading("random_numbers_patched", RANDOM),
    reading("builtins_patched", BUILTINS, "died", "was a part of Python or torch replaced?"),
    reading("defaults_of_torch", WORLD),
    double("default_device", "torch.set_default_device('meta')\nreturn 2 * x", "passed"),
    reading("files_with_known_names", FRIENDS),
    reading("imports_peft", "import peft", "broken", "line 1 imports peft, where the answers are: write it without"),
    reading("imports_the_library", "from minipeft.gpt import GPT", "broken", "imports minipeft, where the answers are"),
    reading("imports_the_solutions", "from solutions.small import *", "broken", "imports solutions"),
    double("imports_by_name", "import importlib\nreturn importlib.import_module('minipeft').LoRA", "wrong",
           "minipeft can't be imported here: write the answer without it"),
    double("imports_by_a_builtin", "return __import__('peft').LoraConfig", "wrong", "peft can't be imported here"),
    double("imports_without_the_guard", "import sys\nsys.meta_path.pop(0)\nreturn __import__('peft').LoraConfig",
           "wrong", "Error", needs=("Landlock",)),
    double("imports_from_its_folder", f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nsys.meta_path.pop(0)\n"
           "return __import__('minipeft').LoRA", "wrong", "Error", needs=("Landlock",)),
    double("imports_by_path", f"""
import importlib.util
spec = importlib.util.spec_from_file_location("lora", {str(ROOT / "solutions" / "lora.py")!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
""", "wrong", "PermissionError", needs=("Landlock",)),
    double("reads_the_checks", f"raise LookupError(open({str(ROOT / 'tests/exercises/test_lora.py')!r}).read())",
           "wrong", "PermissionError", needs=("Landlock",)),
    double("looks_for_the_checks", f"""
import os
for root, _, names in os.walk("/"):
    if "test_small.py" in names: raise LookupError(root)
os.listdir({str(ROOT)!r})
""", "wrong", "PermissionError", needs=("Landlock",)),
    double("runs_another_python", f"""
import subprocess, sys
said = subprocess.run([sys.executable, "-c", "import minipeft; print(minipeft.__file__)"], cwd={str(ROOT)!r},
                      capture_output=True, text=True)
assert said.returncode, said.stdout
raise LookupError(said.stderr)
""", "wrong", "Error", needs=("Landlock",)),
    double("environment", "import os\nassert not [k for k in os.environ if 'MINIPEFT' in k or 'SEED' in k.replace("
           "'PYTHONHASHSEED', '')]\nreturn 2 * x", "passed"),
    double("memory_of_all", """
import os
for pid in range(1, 100_000):
    try: open(f"/proc/{pid}/mem", "rb").read(1)
    except FileNotFoundError: continue
    except PermissionError as e: raise LookupError(e)
    raise SystemExit(pid)
""", "wrong", "LookupError", needs=("Landlock",)),
    double("looks_into_another_process", """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, os.getppid() or 1, 0, 0) == -1
assert libc.process_vm_readv(os.getppid() or 1, 0, 0, 0, 0, 0) == -1
raise LookupError(os.strerror(ctypes.get_errno()))
""", "wrong", "not permitted", needs=("seccomp",)),
    double("network", "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)", "wrong", "PermissionError",
           needs=("seccomp",)),
    double("kills_its_parent", "import os\nos.kill(os.getppid(), 9)\nreturn 2 * x", "passed",
           needs=("process namespace",)),
    double("kills_everybody", "import os\nos.kill(-1, 9)\nreturn 2 * x", "wrong", "No such process",
           needs=("process namespace",)),
    double("kills_by_number", """
import os, signal
for pid in range(2, 100_000):
    try: os.kill(pid, 9)
    except ProcessLookupError: pass
return 2 * x
""", "passed", needs=("process namespace",)),
    double("stops_its_parent", "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nreturn 2 * x", "passed",
           needs=("process namespace",)),
    double("hard_coded", """
public = {3: [[1.0, 2.0, 3.0]], 4: [[2.0, 4.0, 6.0, 8.0]]}
return torch.tensor(public.get(x.shape[1], [[0.0] * x.shape[1]])).expand(x.shape)
""", "wrong", "wrong values"),
    double("optimised", "assert False\nreturn 2 * x", "wrong", "AssertionError"),
    double("debug", "return 2 * x if __debug__ else x", "passed"),
]  # fmt: skip

# -- texts ------------------------------------------------------------------------------------------------------------

TEXTS = {
    "terminal": "\\x1b[2J\\x1b]0;title\\x07\\x1b[31mred",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "workflow": "\\n::error::gotcha\\n::set-output name=points::500\\n##[error]x",
    "formula": '=HYPERLINK(\\"http://localhost/\\";\\"x\\")',
    "xml": "]]></failure><failure/>\\x00\\ufffe\\ud800",
    "bidi": "\\u202egnp.exe\\u200b",
}
TALK = [
    double(
        f"text_{name}",
        f'import os\nos.write(1, "{text}".encode("utf-8", "replace"))\nraise ValueError("{text}")',
        "wrong",
        "ValueError",
    )
    for name, text in TEXTS.items()
]

# -- right, and unusual -----------------------------------------------------------------------------------------------


def right(name: str, body: str, before: str = "") -> Case:
    return double(f"right_{name}", body, "passed", before=before)


RIGHT = [
    Case("right", SMALL),
    right("with_warnings", "warnings.warn('old')\nprint('careful', file=sys.stderr)\nreturn 2 * x",
          "import sys\nimport warnings"),
    right("with_prints", "for i in range(200): print('step', i, x)\nreturn 2 * x"),
    right("slow", "import time; time.sleep(0.2)\nreturn 2 * x"),
    right("lambda", "return f(x)", "f = lambda x: 2 * x"),
    whole("right_by_lambda", f"double = lambda x: 2 * x{HALVE}"),
    whole("right_object", "class Double:\n    def __call__(self, x):\n        return 2 * x\n\n"
          f"double = Double(){HALVE}"),
    whole("right_partial", "import functools, operator\ndouble = functools.partial(operator.mul, 2)\n"
          f"{HALVE}"),
    whole("right_decorated", "import functools\ndef loud(f):\n    @functools.wraps(f)\n    def g(*a, **k):\n"
          f"        print('called')\n        return f(*a, **k)\n    return g\n\n@loud{DOUBLE[1:]}{HALVE}"),
    whole("right_method", "class My:\n    @staticmethod\n    def double(x): return 2 * x\n"
          f"double = My.double{HALVE}"),
    whole("right_module", "from torch import nn\nclass Double(nn.Module):\n    def forward(self, x): return x + x\n"
          f"double = Double(){HALVE}"),
    whole("right_defaults", f"def double(x, factor=2, *more, **options):\n    return factor * x\n{HALVE}"),
    whole("right_other_names", "def double(tensor):\n    return tensor + tensor\n\ndef halve(tensor, times):\n"
          "    return tensor * 0.5 ** times\n"),
    whole("right_with_types", "from __future__ import annotations\nfrom torch import Tensor\n"
          f"def double(x: Tensor) -> Nonsense[Tensor]:\n    return (y := 2 * x)\n{HALVE}"),
    whole("right_dataclass", "from dataclasses import dataclass\n@dataclass\nclass Factor:\n    n: float = 2.0\n"
          f"def double(x):\n    return Factor().n * x\n{HALVE}"),
    whole("right_typing", "from typing import NamedTuple, Protocol\nclass P(NamedTuple):\n    a: int = 2\n"
          f"def double(x):\n    return P().a * x\n{HALVE}"),
    whole("right_two_definitions", f"def double(x):\n    return x\n{DOUBLE}{HALVE}"),
    whole("right_crlf", SMALL.replace("\n", "\r\n")),
    whole("right_old_mac", SMALL.replace("\n", "\r")),
    whole("right_tabs", SMALL.replace("    ", "\t")),
    whole("right_bom", b"\xef\xbb\xbf" + SMALL.encode()),
    whole("right_latin_1", f"# -*- coding: latin-1 -*-\n# \xe9t\xe9{SMALL}".encode("latin-1")),
    whole("right_in_umlauts", f"größe = 2\ndef double(x):\n    return größe * x\n{HALVE}"),
    whole("right_without_a_last_newline", SMALL.rstrip("\n")),
    whole("right_form_feed", f"{DOUBLE}\f{HALVE}"),
    whole("right_main", SMALL + "\n\nif __name__ == '__main__':\n    raise SystemExit('run as a program')\n"),
    whole("right_with_tests", SMALL + "\n\ndef test_double():\n    assert False\n"),
    whole("right_long", "# a comment\n" * 20_000 + SMALL),
    right("numpy", "y = np.multiply(2, x.detach().numpy())\nreturn torch.from_numpy(y) + 2 * (x - x.detach())",
          "import numpy as np"),
    right("einops", "return einops.rearrange(2 * einops.rearrange(x, 'b d -> (b d)'), '(b d) -> b d', b=len(x))",
          "import einops"),
    right("double_inside", "return (2 * x.double()).float()"),
    right("in_place_on_a_copy", "y = x.clone()\ny *= 2\nreturn y"),
    right("another_way", "return torch.stack([row + row for row in x])"),
    right("by_matrices", "return x @ (2 * torch.eye(x.shape[1]))"),
    right("autograd_function", "return Twice.apply(x)", """
class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return 2 * x
    @staticmethod
    def backward(ctx, g): return 2 * g
"""),
    right("parameter", "return torch.nn.Parameter(2 * x.detach()) * 0 + 2 * x"),
    right("transposed_memory", "return (2 * x).t().contiguous().t()"),
    right("slice_of_more", "return torch.cat([2 * x, x])[: len(x)]"),
    right("conjugate_bit", "return torch.complex(x, -2 * x).conj().imag"),
    right("recursion", "return x * 2 if x.shape[0] == 1 else torch.cat([double(x[:1]), double(x[1:])])"),
    right("vmap", "return torch.func.vmap(lambda row: 2 * row)(x)"),
    right("cache", "cache[len(cache)] = x.shape\nreturn 2 * x", "cache = {}"),
    right("thread", "box = []\nt = threading.Thread(target=lambda: box.append(2 * x))\nt.start(); t.join()\n"
          "return box[0]", "import threading"),
    right("random_beside", "torch.manual_seed(3); random.random(); np.random.rand()\nreturn 2 * x",
          "import random\nimport numpy as np"),
    right("scratch_file", "torch.save(x.detach(), 'x.pt')\nreturn 2 * x"),
    right("temporary_file", "with tempfile.TemporaryFile() as f: f.write(b'x')\nreturn 2 * x", "import tempfile"),
    right("exception_caught", "try: 1 / 0\nexcept ZeroDivisionError: return 2 * x"),
    right("requires_grad_inside", "with torch.enable_grad(): return 2 * x"),
    right("hooks", "y = 2 * x\nif y.requires_grad: y.register_hook(lambda g: None)\nreturn y"),
    count("right_integer_by_tensor", "return torch.zeros(d_in, r).numel()", "passed"),
    count("right_numpy_integer", "return np.int64(d_in) * np.int64(r)", "passed", before="import numpy as np"),
    count("right_zero_axes", "return torch.tensor(d_in * r)", "passed"),
    count("right_whole_float", "return float(d_in * r)", "passed"),
]  # fmt: skip


# -- handed in otherwise ----------------------------------------------------------------------------------------------


def zip_of(**files: str | bytes) -> Callable[[Path, str], None]:
    def make(folder: Path, name: str) -> None:
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path, text in files.items():
                archive.writestr(path, text)

    return make


ASIDE = {
    "conftest.py": "raise SystemExit", "sitecustomize.py": "raise SystemExit", "numpy.py": "raise SystemExit",
    "torch/__init__.py": "raise SystemExit", "x.pth": "import os; os._exit(0)", "results.json": '{"score": 100}',
    "tests/exercises/test_small.py": "raise SystemExit", "solutions/small.py": "raise SystemExit",
    "minipeft/__init__.py": "raise SystemExit", "pytest.ini": "[pytest]\naddopts = --collect-only", "Makefile": "all:",
    "exercises/__init__.py": "raise SystemExit", "lessons/data/x.csv": "1,2",
}  # fmt: skip
GOOD = {"exercises/small.py": SMALL, "exercises/other.py": OTHER}
NOTHING = {"01.1": ("missing", ""), "01.2": ("missing", ""), "02.1": ("missing", "")}


def folder_with_more(folder: Path, name: str) -> None:
    for path, text in {**ASIDE, **GOOD}.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def folder_with_links(folder: Path, name: str) -> None:
    hand_in(folder / name, other=OTHER)
    (folder / name / "exercises" / "small.py").symlink_to(ROOT / "solutions" / "lora.py")
    (folder / name / "all").symlink_to("/")


def climbing(folder: Path, name: str) -> None:
    zip_of(**GOOD, **{f"../{MARK}.py": "x", f"/tmp/{MARK}": "x", f"..\\{MARK}.py": "x"})(folder, name)


def linked(folder: Path, name: str) -> None:
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as archive:
        for path, text in GOOD.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        for path, target in (("exercises/lora.py", "/etc/passwd"), ("up", "../..")):
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)


def notebook(folder: Path, name: str, *cells: str) -> None:
    body = [{"cell_type": "code", "metadata": {}, "source": c, "outputs": [], "execution_count": None} for c in cells]
    page = {"cells": body, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / f"{name}.ipynb").write_text(json.dumps(page))


def odd_notebook(folder: Path, name: str) -> None:
    notebook(
        folder, name, "!rm -rf x\n%matplotlib inline", DOUBLE, "while True: pass", HALVE, OTHER, "raise SystemExit"
    )


def file(suffix: str, data: bytes) -> Callable[[Path, str], None]:
    return lambda folder, name: (folder / f"{name}{suffix}").write_bytes(data) and None


OTHERWISE = [
    Case("folder_with_more", make=folder_with_more),
    Case("folder_with_links", make=folder_with_links, expected={"01.1": ("missing", ""), "01.2": ("missing", "")}),
    Case("zip_with_more", make=zip_of(**ASIDE, **GOOD)),
    Case("zip_that_climbs", make=climbing),
    Case("tar_with_links", make=linked),
    Case("zip_bomb", make=zip_of(**{"exercises/small.py": " " * (300 << 20)}), expected=NOTHING),
    Case("zip_bomb_beside", make=zip_of(**GOOD, **{"data.bin": bytes(300 << 20)})),
    Case("zip_with_odd_names", make=zip_of(**GOOD, **{"a\nb.py": "", "\u202e.py": "", "=cmd.py": "", "<b>.py": ""})),
    Case("zip_that_is_none", make=file(".zip", b"no archive"), expected=NOTHING),
    Case("zip_without_an_end", make=file(".zip", b"PK\3\4" + b"\0" * 1000), expected=NOTHING),
    Case("zip_of_nothing", make=zip_of(), expected=NOTHING),
    Case("notebook", make=odd_notebook),
    Case("notebook_that_is_none", make=file(".ipynb", b"[" * 100_000), expected=NOTHING),
    Case("nothing_at_all", make=file(".py", b""), expected=NOTHING),
    Case("=1+1", make=zip_of(**GOOD)),
    Case("name with spaces, and a comma", make=zip_of(**GOOD)),
]

CASES = [*BROKEN, *ENDS, *TOO_MUCH, *LEFT, *FORGED, *LIES, *THINGS, *TALK, *RIGHT, *OTHERWISE]
