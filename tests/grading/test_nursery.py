"""The split: a child answers as a call in this process does, holds nothing of the course, and ends with all it made."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import safetensors.torch as safetensors
import torch

import minipeft
from minipeft.course.judge import Wrong, same, same_gradients
from minipeft.course.runner import confine, wire
from minipeft.course.runner.confine import LAYERS
from minipeft.course.submission import Submission
from minipeft.grading.nursery import Apart, Ended, Limits, Nursery

QUICK = Limits(call_seconds=2, exercise_seconds=4, memory_bytes=512 << 20, answer_bytes=1 << 20, disk_bytes=8 << 20)


@pytest.fixture(scope="module", params=["all walls", "no walls"])
def nursery(request):
    with Nursery(QUICK, without=() if request.param == "all walls" else LAYERS) as nursery:
        yield nursery


def asked(nursery, text, name="f", wrt=None, imports=(), **arguments):
    with nursery.child(imports) as child:
        return Apart(child, text.encode(), "exercises/small.py").ask(name, arguments, wrt)


def found(nursery, text, **arguments):
    report = asked(nursery, text, **arguments)
    return report.get("text", report.get("value"))


VALUES = [
    None, True, 3, -2.5, float("inf"), "text", [1, [2.0, None]], (1, "b"), {"a": (1,), 2: [True]},
    torch.arange(6.0).view(2, 3), torch.tensor(3), torch.ones(2, 0), torch.ones(2, 3).t(), torch.tensor([True]),
    torch.ones(2, dtype=torch.bfloat16), {"x": torch.ones(1, 2), "y": None},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_go_over_the_wire_as_they_are(value):
    packed = wire.pack(value)
    text, numbers = wire.HEAD.unpack(packed[:16])
    back = wire.unpack(packed[16 : 16 + text], packed[16 + text :])
    assert repr(back) == repr(value) and type(back) is type(value)
    if isinstance(value, torch.Tensor):
        assert back.dtype == value.dtype and torch.equal(back, value)


def test_tensors_that_share_memory_go_over_the_wire():
    """A model's frozen weights before and after, or x and x.T: each arrives as a tensor of its own."""
    x = torch.randn(2, 3)
    packed = wire.pack([x, x, x.t(), x[0], x.expand(2, 2, 3)])
    text, numbers = wire.HEAD.unpack(packed[:16])
    back = wire.unpack(packed[16 : 16 + text], packed[16 + text :])
    assert len({t.data_ptr() for t in back}) == 5
    assert all(map(torch.equal, back, [x, x, x.t(), x[0], x.expand(2, 2, 3)]))


GARBLED = [
    b"", b"{", b"[1]", b'{"pickle": "x"}', b'{"tensor": "0"}', b'{"list": 3}', b'{"dict": [[{"list": []}, 1]]}',
    b"[" * 100_000, b'{"list": [' * 50 + b"]}" * 50, b"1" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", GARBLED, ids=range(len(GARBLED)))
def test_garbled_messages_are_refused(text):
    with pytest.raises(wire.Garbled):
        wire.unpack(text, b"")


def test_few_bytes_do_not_become_many_values():
    """Nor a long time: this is read by the process that everything depends on."""
    numbers = safetensors.save({"0": torch.zeros(1000)})
    assert wire.unpack(b'{"tensor": "0"}', numbers).shape == (1000,)
    for text in (
        b'{"list": [{"tensor": "0"}, {"tensor": "0"}]}',
        b'{"list": [' + b",".join([b"0"] * wire.VALUES) + b"]}",
        b'{"dict": [' + b",".join(b"[%d, 0]" % (i * (2**61 - 1)) for i in range(50_000)) + b"]}",
    ):
        with pytest.raises(wire.Garbled):
            wire.unpack(text, numbers)
    with pytest.raises(wire.Garbled):
        wire.unpack(b"0", safetensors.save({str(i): torch.zeros(0) for i in range(20_000)}))
    with pytest.raises(ValueError, match="more than 10,000 values"):
        wire.pack([0] * wire.VALUES)


def test_garbled_tensors_are_refused():
    for numbers in (b"x", b"\xff" * 100, (1 << 40).to_bytes(8, "little") + b"{}"):
        with pytest.raises(wire.Garbled):
            wire.unpack(b'{"tensor": "0"}', numbers)


def test_a_call_and_its_gradients(nursery):
    x = torch.randn(2, 3)
    with nursery.child() as child:
        there = Apart(child, b"def f(x, n):\n    return n * x ** 2\n", "exercises/small.py")
        same(there.f, lambda x, n: n * x**2, x=x, n=3)
        same_gradients(there.f, lambda x, n: n * x**2, wrt="x", x=x, n=3)
        with pytest.raises(Wrong, match="wrong values"):
            same(there.f, lambda x, n: x, x=x, n=3)


def test_both_ways_say_the_same(nursery, tmp_path):
    """The learner's quick look and the grade: one sentence for one mistake."""
    texts = [
        "def f(x): raise NotImplementedError('exercise 1.1')", "def g(x): pass", "def ff(x): pass", "def f(: pass",
        "def f(x): return 1 / 0", "def f(): return 1", "def f(x): x += 1; return x", "def f(x): return object()",
        "raise SystemExit(3)", "def f(x): raise SystemExit", "import peft", "def f(x):\n    from minipeft import LoRA",
        "def f(x): raise NotImplementedError('of torch')", "x = undefined",
    ]  # fmt: skip
    (tmp_path / "exercises").mkdir()
    path = tmp_path / "exercises" / "small.py"
    for text in texts:
        path.write_text(text)
        with pytest.raises(Wrong) as here:
            same(Submission.load(path).f, lambda x: x, x=torch.ones(2))
        with nursery.child() as child, pytest.raises(Wrong) as there:
            same(Apart(child, text.encode(), "exercises/small.py").f, lambda x: x, x=torch.ones(2))
        assert str(there.value) == str(here.value) and there.value.state == here.value.state, text


def test_the_child_holds_nothing_of_the_course(nursery):
    text = """
import sys, gc, os
def f():
    return [m for m in sys.modules if m.split(".")[0] in ("minipeft", "peft", "adapters", "solutions", "pytest")]
def environment():
    return sorted(os.environ)
def paths():
    return [p for p in sys.path if any(os.path.exists(os.path.join(p, n)) for n in ("minipeft", "solutions"))]
"""
    assert found(nursery, text) == []
    assert set(found(nursery, text, name="environment")) <= {
        "PATH", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NO_COLOR", "TMPDIR", "LD_LIBRARY_PATH",
        "PYTHONHASHSEED",
    }  # fmt: skip
    if nursery.without:  # with walls the question itself is refused
        assert found(nursery, text, name="paths") == []


@pytest.mark.parametrize(
    "package", ["minipeft", "minipeft.reparametrization.lora", "peft", "adapters", "solutions.lora"]
)
def test_packages_that_hold_answers_cant_be_imported(nursery, package):
    said = found(nursery, f"import importlib\ndef f():\n    return importlib.import_module('{package}') and 1")
    assert said.startswith("ImportError: ") and "can't be imported here" in said


def test_an_exercise_may_allow_a_package():
    """Which the next exercise can't use."""
    text = "def f():\n    import minipeft.families\n    return minipeft.__name__"
    with Nursery() as nursery:
        for imports, came in [((), None), (("minipeft",), "minipeft"), ((), None), (("peft",), None)]:
            assert asked(nursery, text, imports=imports).get("value") == came


def test_files_that_hold_answers_cant_be_read():
    """With Landlock: neither the course nor the packages that are kept out, by whatever path."""
    with Nursery(QUICK) as nursery:
        if "Landlock" not in nursery.isolation["layers"]:
            pytest.skip("no Landlock here")
        root = Path(minipeft.__file__).parents[1]
        for path in (root / "README.md", root / "solutions/lora.py", minipeft.__file__, find_spec("peft").origin):
            assert Path(path).exists()
            assert found(nursery, f"def f(): return open({str(path)!r}).read()").startswith("PermissionError")
        assert found(nursery, f"import os\ndef f(): return os.listdir({str(root)!r})").startswith("PermissionError")


@pytest.mark.parametrize(
    "body, said",
    [
        ("while True: pass", "nothing within 2 seconds"),
        ("import time; time.sleep(60)", "nothing within 2 seconds"),
        ("import os; os._exit(0)", "ended by itself (exit 0)"),
        ("import os; os.kill(os.getpid(), 11); return 1", "SIGSEGV"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("return torch.zeros(10**9)", "allocate"),
        ("return torch.zeros(10**6)", "at most 1 MiB"),
        ("return 10 ** 5000", "can't be handed over"),
    ],
)
def test_ends_are_told(nursery, body, said):
    if "os.kill" in body and not nursery.without:
        pytest.skip("the first process of a namespace is not ended by its own signals")
    assert said in found(nursery, f"import torch\ndef f():\n    {body}\n")
    assert found(nursery, "def f(): return 1") == 1  # the next one is not affected


def test_memory_is_limited(nursery):
    said = found(nursery, "def f():\n    a = []\n    while True: a.append(bytearray(10**7))")
    assert "MemoryError" in said or "memory" in said


def test_what_is_printed_is_kept_in_part_and_never_blocks(nursery):
    with nursery.child() as child:
        there = Apart(child, b"def f():\n    print('begin' + 'x' * 10**7)\n    return 1", "exercises/small.py")
        assert there.ask("f", {}, None)["value"] == 1
    assert child.output.startswith(b"beginxx") and len(child.output) == QUICK.printed_bytes


def test_nothing_is_left(nursery, tmp_path):
    """Neither a process that has left its session, nor one that runs on, nor a file."""
    text = """
import os, time
def f():
    for _ in range(3):
        if not os.fork():
            os.setsid()
            if not os.fork():
                time.sleep(1000)
            os._exit(0)
    open("left", "w").write("x")
    return os.getcwd()
"""
    folder = found(nursery, text)
    assert confine.descendants(nursery.process.pid) == []
    assert not Path(folder).exists()


def test_too_many_processes_and_too_many_files(nursery):
    said = found(nursery, "import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass")
    assert "processes" in said or "nothing within" in said
    assert confine.descendants(nursery.process.pid) == []
    text = "def f():\n    for i in range(10**6):\n        open(str(i), 'w').write('x' * 10**6)"
    assert "it wrote more than" in found(nursery, text)


def test_nothing_goes_from_one_exercise_to_the_next(nursery):
    text = """
import os
def f():
    there = os.listdir(".."), os.listdir(".")
    os.mkdir("../note")
    os.rename("../work", "../elsewhere")
    os.symlink("/", "../work")
    return [*map(sorted, there)]
"""
    for _ in range(2):
        assert found(nursery, text) == [["work"], []]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_nursery_that_is_killed_leaves_nothing(tmp_path, monkeypatch):
    """Not even an endless loop in a namespace of its own, nor what was started beside it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Nursery(QUICK) as nursery:
        if not {"process namespace", "control group"} & set(nursery.isolation["layers"]):
            pytest.skip("neither a process namespace nor a control group here")
        with nursery.child() as child:
            text = b"import os\nos.fork()\nos.setsid()\nwhile True: pass"
            with pytest.raises(Ended, match="was ended"):
                threading.Timer(0.3, nursery.process.kill).start()
                Apart(child, text, "x.py").open()
    deadline = time.monotonic() + 5
    while (left := of_folder(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left and not list(tmp_path.iterdir())


def of_folder(temporary):
    """Processes that were started with this folder for temporary files."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += [path] * (
                f"TMPDIR={temporary}".encode() in path.read_bytes() and path.parent.name != str(os.getpid())
            )
    return found


def test_hidden_packages_are_hidden_wherever_they_lie(tmp_path, monkeypatch):
    for name in ("peft/tuners/lora.py", "torch/nn.py", "dist-packages/minipeft/gpt.py", "dist-packages/numpy.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr("sys.path", [str(tmp_path), str(tmp_path / "dist-packages")])
    rights = confine.readable([tmp_path / "peft", tmp_path / "dist-packages" / "minipeft"], [])
    readable = {str(path.relative_to(tmp_path)) for path, what in rights.items() if what & confine.READ_FILE and
                path.is_relative_to(tmp_path)}  # fmt: skip
    assert readable == {"torch", "dist-packages/numpy.py"}


def test_anything_can_be_removed(tmp_path):
    for way in ("deep", "shut", "link", "file"):
        folder = tmp_path / way
        if way == "link":
            (tmp_path / "kept").mkdir()
            (tmp_path / "kept" / "file").write_text("x")
            folder.symlink_to(tmp_path / "kept")
        elif way == "file":
            folder.write_text("x")
        else:
            folder.mkdir()
            handle = os.open(folder, os.O_RDONLY)
            for _ in range(3000 if way == "deep" else 3):
                os.mkdir("d", dir_fd=handle)
                os.close(os.open("a\nb", os.O_CREAT, dir_fd=handle))
                os.symlink("/", "root", dir_fd=handle)
                inner = os.open("d", os.O_RDONLY, dir_fd=handle)
                if way == "shut":
                    os.fchmod(handle, 0)
                os.close(handle)
                handle = inner
            os.close(handle)
            assert confine.size(folder, 64 << 20) > 64 << 20 or way != "deep"
        confine.remove(folder)
        assert sorted(p.name for p in tmp_path.iterdir()) in ([], ["kept"])
    assert (tmp_path / "kept" / "file").exists()


def test_a_nursery_that_is_killed_is_replaced(nursery):
    before = nursery.process.pid
    nursery.process.kill()
    nursery.process.wait()
    assert found(nursery, "def f(): return 1") == 1 and nursery.process.pid != before


def test_walls_by_name():
    with Nursery(QUICK) as nursery:
        isolation = nursery.isolation
        named = {*isolation["layers"], *(m["layer"] for m in isolation["missing"])}
        assert named == {"resource limits", *LAYERS}
        assert all(m["why"] for m in isolation["missing"])
        if "Landlock" in isolation["layers"]:
            said = found(nursery, f"def f(): return open({__file__!r}).read()")
            assert said.startswith("PermissionError")
            assert found(nursery, "def f(): open('/tmp/written', 'w')").startswith("PermissionError")
            assert found(nursery, "def f():\n open('x', 'w').write('y')\n return open('x').read()") == "y"
        if "seccomp" in isolation["layers"]:
            assert found(nursery, "import socket\ndef f(): socket.socket()").startswith("PermissionError")
        if "process namespace" in isolation["layers"]:
            assert found(nursery, "import os\ndef f(): return [os.getpid(), os.getppid()]") == [1, 0]


def test_the_end_of_the_parent_ends_everything(tmp_path):
    nursery = Nursery(QUICK)
    assert found(nursery, "def f(): return 1") == 1
    process, control = nursery.process, nursery.control
    with nursery.child() as child:
        with pytest.raises(Ended):
            Apart(child, b"import os, time\nif not os.fork(): time.sleep(1000)\ntime.sleep(1000)", "x.py").open()
        control.shutdown(2)
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is not None
    nursery.close()


def test_without_fork(tmp_path):
    with Nursery(QUICK, fork=False) as nursery:
        assert nursery.isolation["process"] == "spawn"
        assert found(nursery, "def f(): return 1") == 1
        assert "nothing within" in found(nursery, "def f():\n    while True: pass")
        assert "exit 3" in found(nursery, "import os\ndef f(): os._exit(3)")


def test_no_answer_is_lost_to_a_seed_in_the_environment(monkeypatch):
    monkeypatch.setenv("MINIPEFT_SECRET", "x")
    with Nursery(QUICK) as nursery:
        assert found(nursery, "import os\ndef f(): return os.environ.get('MINIPEFT_SECRET')") is None
    assert os.environ["MINIPEFT_SECRET"] == "x"


@pytest.mark.skipif(not confine.LINUX, reason="/proc is Linux's")
def test_the_graders_memory_cant_be_read():
    """By a process of the same user without privileges, such as a child where no wall could be built."""
    program = """
import os
import torch
from minipeft.course.runner import confine
from minipeft.grading.nursery import Nursery
os.setresuid(60001, 60001, 60001) if os.getuid() == 0 else None
confine.prctl(confine.DUMPABLE, 1)
def readable():
    pid = os.getpid()
    child = os.fork()
    if not child:
        try: open(f"/proc/{pid}/mem", "rb").close()
        except PermissionError: os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
before = readable()
nursery = Nursery()
try: nursery._start()
except OSError: pass  # as this user may not read Python
print(before, readable())
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout == "True False\n", said.stderr


@pytest.mark.skipif(not confine.LINUX, reason="numbers of Linux")
@pytest.mark.parametrize("without", [(), ("seccomp",), ("process namespace",)])
def test_no_memory_is_shared_with_the_next_exercise(without):
    """System V's shared memory stays when its process is gone; either wall is enough."""
    text = "import ctypes\ndef f(flags): return ctypes.CDLL(None).shmget(4711, 4096, flags)"
    with Nursery(QUICK, without) as nursery:
        if not {"seccomp", "process namespace"} & set(nursery.isolation["layers"]):
            pytest.skip("neither wall is offered here")
        made = found(nursery, text, flags=0o1600)
        assert (made >= 0) == ("seccomp" in without)
        assert found(nursery, text, flags=0o600) == -1
