"""Exercises and all that surrounds them: stubs, checks, wrong answers, hints, progress, the commands.

A learner's own files are never looked at: everything happens in a copy of the course, with its exercises as handed out.
"""

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minipeft import cli, course
from minipeft.catalog import CATALOG
from minipeft.course import record, stubs, submission
from minipeft.course.exercise import Exercise, chosen, exercises, one
from minipeft.course.judge import Cases, Unwritten, Wrong, fault, same
from minipeft.course.root import root as find_root
from minipeft.course.submission import Submission

ROOT = Path(__file__).parents[1]
EXERCISES = exercises(ROOT)
LORA = next(item for item in EXERCISES if item.id == "15.1")
by_id = pytest.mark.parametrize("item", EXERCISES, ids=lambda item: item.id)


def solutions(item: Exercise) -> Submission:
    return Submission.load(ROOT / "solutions" / f"{item.topic}.py")


def answer(function, item: Exercise = LORA, seed: int = 1) -> Wrong | None:
    return item.judge(Submission({item.name: function}), seed)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of its own, with fresh stubs, in which this test stands."""
    for folder in ("solutions", "tests/exercises"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "lessons").mkdir()
    for topic in stubs.topics(ROOT):
        record.write(tmp_path / "exercises" / f"{topic}.py", stubs.stub_of(ROOT, topic))
    monkeypatch.delenv("MINIPEFT_COURSE", raising=False)
    monkeypatch.chdir(tmp_path / "lessons")
    return tmp_path


def solve(copy: Path, topic: str = "lora") -> Path:
    return Path(shutil.copy(copy / "solutions" / f"{topic}.py", copy / "exercises" / f"{topic}.py"))


# -- every exercise ---------------------------------------------------------------------------------------------------


@by_id
def test_the_worked_answer_passes(item):
    for seed in range(3):
        assert item.judge(solutions(item), seed) is None


@by_id
def test_the_stub_fails(item, tmp_path):
    path = tmp_path / f"{item.topic}.py"
    path.write_text(stubs.stub_of(ROOT, item.topic), encoding="utf-8")
    for seed in range(3):
        assert item.judge(Submission.load(path), seed) is not None


@by_id
def test_every_wrong_answer_earns_its_own_hint(item):
    known = item.wrong_answers()
    assert 3 <= len(known) <= 8 and len({f.hint for f in known}) == len(known)
    for function in known:
        for seed in range(2):
            assert answer(function, item, seed).mistake == function.hint, (function.__name__, seed)


@by_id
def test_the_header_is_complete(item):
    assert item.level and item.title and 1 <= item.minutes <= 30 and item.points >= 1
    assert len(item.hints) == 3 and all(isinstance(h, str) and len(h) > 10 for h in item.hints)


@by_id
def test_the_reference_passes_its_own_check(item):
    assert answer(item.reference, item) is None


@pytest.mark.parametrize("topic", stubs.topics(ROOT))
def test_stubs_are_current(topic):
    """The stub, or what a learner has made of it: its first line says of which version."""
    assert stubs.state(ROOT, topic) in ("current", "edited"), "run python -m minipeft.course.build"


def test_numbers_of_exercises_are_consecutive():
    for lesson in {item.lesson for item in EXERCISES}:
        ids = [item.id for item in EXERCISES if item.lesson == lesson]
        assert ids == [f"{lesson:02d}.{n + 1}" for n in range(len(ids))]


# -- recognition by what is computed ----------------------------------------------------------------------------------


def test_a_rewritten_wrong_answer_earns_the_same_hint():
    def elsewhere(u, weight, shift, down, up, a):
        h = torch.nn.functional.linear(u, weight, shift)
        h = h + torch.einsum("bti,ri,or->bto", u, down, up)
        return h * (a / len(down))

    refusal = answer(elsewhere)
    assert "frozen path" in refusal.mistake
    assert refusal.called.startswith("lora_linear(x: b=") and "alpha=" in refusal.called
    assert "wrong values: at [0, 0, 0]" in refusal.found and "seed=1" in str(refusal)


def test_an_unknown_mistake_gets_no_hint():
    refusal = answer(lambda x, W, bias, A, B, alpha: x @ W.T + bias + 0.3)
    assert refusal.mistake is None and "largest difference" in refusal.found


def test_the_seed_brings_the_same_inputs():
    def wrong(x, W, bias, A, B, alpha):
        return x @ W.T

    assert str(answer(wrong, seed=7)) == str(answer(wrong, seed=7)) != str(answer(wrong, seed=8))


def test_cases_have_unequal_sizes():
    for seed in range(50):
        for case in Cases(seed)("b t d_in d_out", r=4):
            assert len(set(case.sizes.values())) == 5 and case["r"] == 4 and case("b t").shape == (case["b"], case["t"])


# -- what a submission may do -----------------------------------------------------------------------------------------


def right(x, W, bias, A, B, alpha):
    return x @ W.T + bias + alpha / A.shape[0] * (x @ A.T @ B.T)


class Liar(Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True

    def __eq__(self, other):
        return True


def test_unusual_right_answers_pass():
    def doubles(*args):
        *tensors, alpha = args
        return right(*(t.double() for t in tensors), alpha).float()

    def parameter(*args):
        return torch.nn.Parameter(right(*args).detach()) * 1 if not args[0].requires_grad else right(*args)

    def noisy(*args):
        print("here")
        torch.manual_seed(3)
        return right(*args)

    for function in (right, doubles, parameter, noisy):
        assert answer(function) is None, function.__name__


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda *a: None, "is there a `return`?"),
        (lambda *a: right(*a).tolist(), "a list of"),
        (lambda *a: right(*a)[0], "that is (b, t, d_out), was expected"),
        (lambda *a: right(*a).double(), "torch.float64"),
        (lambda *a: right(*a) * float("nan"), "nan or infinite"),
        (lambda *a: right(*a)[..., :1], "where"),
        (lambda *a: right(*a).sum().item(), "float"),
        (lambda *a: "trust me", "str 'trust me'"),
        (lambda *a: torch.zeros_like(right(*a)).as_subclass(Liar), "wrong values"),
        (lambda *a: object(), "can't be compared: object"),
        (lambda *a: right(*a).detach(), "the gradient of x: none arrives"),
        (lambda x: x, "TypeError"),
        (lambda *a: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda *a: exit(), "SystemExit"),
        (lambda *a: (right(*a), a[1].add_(1))[0], "W changed"),
    ],
)
def test_wrong_kinds_of_answer_are_named(function, said):
    assert said in str(answer(function))


def test_a_lying_number_does_not_pass():
    class Yes(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

    count = next(item for item in EXERCISES if item.name == "lora_count")
    assert answer(lambda *a: Yes(0), count) is not None


def test_numbers_may_come_as_floats_and_small_tensors():
    assert fault(3.0, 3) is None and fault(torch.tensor(3), 3) is None and fault(torch.tensor(3.5), 3.5) is None
    assert fault(True, 1) and fault(3.0001, 3) and fault(None, 3) and fault("3", 3) and fault(1, True)
    assert fault([1, 2], (1, 2)) is None and fault([1], (1, 2)) and fault((1, 3), (1, 2)).startswith("value 2 of 2")


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="no alarm signal on this system")
def test_an_endless_loop_ends(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS", 0.2)

    def endless(*args):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass

    began = time.monotonic()
    assert "endless loop" in answer(endless).found
    assert time.monotonic() - began < 5


def test_random_numbers_of_the_caller_are_not_touched():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    answer(lambda *a: torch.randn(2))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def lora_linear(:\n", "line 1 is not Python"),
        ("import no_such_module\n", "No module named 'no_such_module' (exercises/lora.py, line 1"),
        ("import sys\nsys.exit(0)\n", "SystemExit"),
        ("def lora_liner(*a): pass\n", "did you mean"),
        ("x = 1\n", "has no function lora_linear\n"),
        ("def lora_rank(): pass\n", "has no function lora_linear\n"),
        ("def lora_linear(*a):\n    raise NotImplementedError\n", "not written yet"),
        (
            "def lora_linear(*a):\n    raise NotImplementedError('aten::x')\n",
            "NotImplementedError: aten::x (exercises/lora.py",
        ),
        ("def lora_linear(*a):\n    y = 1\n    return y.shape\n", "line 3: return y.shape"),
        ("\0", "is not Python"),
        (b"\xff\xfe\xfa", "is not Python"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass C:\n    x: 'int'\n" + "lora_linear = 3\n",
            "has no function",
        ),
    ],
)
def test_broken_files_are_explained(tmp_path, text, said):
    path = tmp_path / "exercises" / "lora.py"
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in str(LORA.judge(Submission.load(path), 1))


def test_a_missing_file_is_explained(tmp_path):
    assert "there is no file" in str(LORA.judge(Submission.load(tmp_path / "exercises" / "lora.py"), 1))


def test_a_file_is_read_anew_however_quickly_it_is_saved(copy):
    path = solve(copy)
    text = path.read_text()
    before = path.stat()
    assert course.check("15.3").passed
    path.write_text(text.replace("W + alpha", "W - alpha"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not course.check("15.3").passed


def test_same_copies_before_it_calls():
    """A submission that changes what it was given can't change what is expected of it."""

    def cheat(x):
        x.zero_()
        return x

    with pytest.raises(Wrong, match="changed"):
        same(Submission({"f": cheat}).f, lambda x: x * 2, x=torch.ones(2, 3))


# -- the notebook -----------------------------------------------------------------------------------------------------


def test_check_in_a_notebook(copy):
    result = course.check("15.1")
    assert result.state == "not written yet" and "exercises/lora.py" in str(result)
    solve(copy)
    result = course.check(15.1)
    assert result.passed and result.points == result.exercise.points and "solutions/lora.py" in str(result)
    assert "passed" in result._repr_html_() and 'role="status"' in result._repr_html_()
    lesson = course.check("15")
    assert lesson.passed and all(r.exercise.lesson == 15 for r in lesson.results)
    assert lesson.total == "24 of 24 points" and lesson.total in lesson._repr_html_()
    assert len(course.check().results) == len(EXERCISES)
    for which in ("99.1", "15.99", "nonsense", "", "15.", "1.5.1"):
        with pytest.raises(ValueError, match=f"no exercise {which}"):
            course.check(which)


def test_numbers_may_be_written_with_and_without_zeros():
    for which in ("1", "01", "15", "015"):
        assert {item.lesson for item in chosen(ROOT, which)} == {int(which)}
    assert one(ROOT, "1.2").id == one(ROOT, "01.2").id == "01.2"


def test_text_from_a_submission_is_escaped(copy):
    path = copy / "exercises" / "lora.py"
    path.write_text("def lora_linear(*a): raise ValueError('<script>alert(1)</script>')\n")
    shown = course.check("15.1")
    assert (
        "<script>" in str(shown) and "<script>" not in shown._repr_html_() and "&lt;script&gt;" in shown._repr_html_()
    )


def test_learner_gives_ones_own_function_once_it_passes(copy, capsys):
    assert course.learner("15.1").__name__ == LORA.reference.__name__ and "the reference" in capsys.readouterr().out
    path = solve(copy)
    mine = course.learner("15.1")
    assert mine.__code__.co_filename == str(path) and "yours" in capsys.readouterr().out


def test_hints_come_in_three_steps_then_the_answer(copy):
    texts = [str(course.hint("15.3")) for _ in range(5)]
    item = one(copy, "15.3")
    assert all(hint in text for hint, text in zip(item.hints, texts[:3], strict=True))
    assert texts[3] == texts[4] and "def lora_merged" in texts[3] and "SOLUTION" not in texts[3]
    assert [hints for exercise, _, hints in course.progress().rows if exercise.id == "15.3"] == [3]
    with pytest.raises(ValueError, match="15 is a whole lesson: name one of 15.1, "):
        course.hint("15")


def test_the_worked_answer_shows_no_given_code(copy):
    text = stubs.answer((copy / "solutions" / "lora.py").read_text(), "lora_gradients")
    assert "dB = s * G.T @ h" in text and "dB = G.T @ h" not in text and "GIVEN" not in text and "return dA, dB" in text


def test_ask_shows_the_question_and_no_answer(copy):
    solve(copy)
    text = str(course.ask("15.3"))
    assert "def lora_merged" in text and "W + alpha" not in text and "NotImplementedError" not in text
    assert "dB = G.T @ h" in str(course.ask("15.5"))


# -- progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_kept(copy):
    assert "0 of" in str(course.progress())
    solve(copy)
    course.check("15.1")
    stubs_again = stubs.stub_of(copy, "lora")
    (copy / "exercises" / "lora.py").write_text(stubs_again)
    course.check("15.1")  # a later failure takes nothing away
    data = json.loads((copy / "exercises" / ".progress.json").read_text())
    assert list(data["passed"]) == ["15.1"] and f"{LORA.points} of" in str(course.progress())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 1}',
        '{"version": 2, "passed": {}, "hints": {}}',
        '{"version": 1, "passed": 3, "hints": {}}',
        '{"version": 1, "passed": {}, "hints": {"15.1": -1}}',
        '{"version": 1, "passed": {"15.1": []}, "hints": {}}',
    ],
)
def test_a_damaged_record_is_set_aside(copy, capsys, text):
    path = copy / "exercises" / ".progress.json"
    path.write_text(text)
    assert not course.progress().rows[0][1]
    assert "damaged" in capsys.readouterr().err
    assert [p.read_text() for p in (copy / "exercises" / ".backup").iterdir()] == [text]
    solve(copy)
    assert course.check("15.1").passed and json.loads(path.read_text())["passed"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    record.write(path, "old")

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        record.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_course_that_cannot_be_written_can_be_checked(copy):
    solve(copy)
    (copy / "exercises").chmod(0o500)
    try:
        assert "could not be saved" in str(course.check("15.1"))
    finally:
        (copy / "exercises").chmod(0o700)


# -- the commands -----------------------------------------------------------------------------------------------------


def test_check_command(copy, capsys):
    assert cli.main(["check", "15.1"]) == 1 and "not written yet" in capsys.readouterr().out
    solve(copy)
    assert cli.main(["check"]) == (0 if len(stubs.topics(copy)) == 1 else 1)
    assert cli.main(["check", "15"]) == 0 and "24 of 24 points" in capsys.readouterr().out
    assert cli.main(["check", "nonsense"]) == 2 and "there is no exercise nonsense" in capsys.readouterr().err
    assert cli.main(["check", "--course", str(copy.parent / "none"), "15.1"]) == 2
    assert "is no course" in capsys.readouterr().err


def test_list_next_and_progress_commands(copy, capsys):
    assert cli.main(["next"]) == 0 and f"{EXERCISES[0].id} " in capsys.readouterr().out
    for topic in stubs.topics(copy):
        solve(copy, topic)
    assert cli.main(["check"]) == 0 and cli.main(["next"]) == 0
    assert "Every exercise is passed" in capsys.readouterr().out
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(EXERCISES) + 1 and all("passed 20" in line for line in lines[1:])
    assert cli.main(["progress"]) == 0
    total = sum(item.points for item in EXERCISES)
    assert f"together: {total} of {total} points, 0 hints used" in capsys.readouterr().out


def test_hint_and_ask_commands(copy, capsys):
    assert cli.main(["hint", "15.1"]) == 0 and LORA.hints[0] in capsys.readouterr().out
    assert cli.main(["ask", "15.1"]) == 0 and "def lora_linear" in capsys.readouterr().out


def test_reset_puts_one_function_back_and_keeps_the_rest(copy, capsys):
    path = solve(copy)
    path.write_text(path.read_text() + "\n\ndef mine():\n    return 1\n")
    written = path.read_text()
    assert cli.main(["reset", "15.3"]) == 0
    now = path.read_text()
    assert "def mine" in now and "W + alpha" not in now and 'NotImplementedError("exercise 15.3")' in now
    assert course.check("15.1").passed and course.check("15.3").state == "not written yet"
    backups = list((copy / "exercises" / ".backup").iterdir())
    assert [b.read_text() for b in backups] == [written] and backups[0].name in capsys.readouterr().out


def test_reset_of_a_lesson_and_of_a_broken_file(copy, capsys):
    path = copy / "exercises" / "lora.py"
    path.write_text("def (\n")
    assert cli.main(["reset", "15.1"]) == 2 and "minipeft reset 15" in capsys.readouterr().err
    assert path.read_text() == "def (\n"
    for _ in range(3):  # within one second: no copy overwrites another
        path.write_text("def (\n")
        assert cli.main(["reset", "15"]) == 0
    assert path.read_text() == stubs.stub_of(copy, "lora")
    assert [b.read_text() for b in (copy / "exercises" / ".backup").iterdir()] == ["def (\n"] * 3
    path.unlink()
    assert cli.main(["reset", "15.1"]) == 0 and path.exists()


def test_watch_checks_what_is_saved(copy, monkeypatch, capsys):
    rounds = iter(range(3))

    def sleep(_):
        match next(rounds):
            case 0:
                solve(copy)
            case 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    assert cli.main(["watch"]) == 0
    assert capsys.readouterr().out.count("15.1 The layer: passed") == 1


def test_lab_opens_the_first_lesson(copy, monkeypatch):
    started = []

    class Server:
        def __init__(self, command):
            started.append(command[1:])
            self.answers = iter([KeyboardInterrupt, 0])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait(self):
            if (answer := next(self.answers)) is KeyboardInterrupt:
                raise KeyboardInterrupt  # Ctrl-C is for Jupyter, which asks first
            return answer

    monkeypatch.setattr("subprocess.Popen", Server)
    assert cli.main(["lab"]) == 0
    url = "/lab/tree/lessons/00_start_here.ipynb"  # from the course's root, so that exercises/ is in sight
    root = copy.resolve()
    assert started == [["-m", "jupyterlab", f"--ServerApp.root_dir={root}", f"--LabApp.default_url={url}"]]


def test_the_course_is_found(copy, monkeypatch, tmp_path):
    assert find_root() == copy.resolve()  # from lessons/
    monkeypatch.chdir("/")
    assert find_root() == ROOT.resolve()  # the checkout this package lies in
    monkeypatch.setenv("MINIPEFT_COURSE", str(copy))
    assert find_root() == copy.resolve()
    assert find_root(ROOT) == ROOT.resolve()
    with pytest.raises(FileNotFoundError, match=r"--course names .* no course"):
        find_root(tmp_path / "lessons")
    monkeypatch.setenv("MINIPEFT_COURSE", str(copy / "nowhere"))
    with pytest.raises(FileNotFoundError, match="MINIPEFT_COURSE names"):
        find_root()


# -- the stub generator -----------------------------------------------------------------------------------------------


def test_a_stub_keeps_all_but_the_marked_bodies():
    text = stubs.stub_of(ROOT, "lora")
    for item in (item for item in EXERCISES if item.topic == "lora"):
        assert f"# {item.header}\ndef {item.name}(" in text
    assert "SOLUTION" not in text and "GIVEN" not in text
    assert '"""A Linear with LoRA beside it' in text and "# dA" not in text and "    dB = G.T @ h" in text
    compile(text, "lora.py", "exec")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.replace("    # END SOLUTION\n", "", 1), "belongs once"),
        (lambda s: s.replace("    # BEGIN SOLUTION\n", "", 1), "without # BEGIN SOLUTION"),
        (
            lambda s: s.replace("    # BEGIN SOLUTION\n", "", 1).replace("    # END SOLUTION\n", "", 1),
            "missing in lora_linear",
        ),
        (lambda s: s.replace("def lora_merged", "def lora_folded"), "no worked answer: lora_merged"),
        (lambda s: s + "\n# BEGIN SOLUTION\n# END SOLUTION\n", "belongs once"),
    ],
)
def test_faulty_markers_are_refused(change, said):
    source = (ROOT / "solutions" / "lora.py").read_text()
    with pytest.raises(ValueError, match=said):
        stubs.stub(change(source), [item for item in EXERCISES if item.topic == "lora"])


def test_state_of_a_stub(copy):
    path = copy / "exercises" / "lora.py"
    assert stubs.state(copy, "lora") == "current"
    path.write_text(path.read_text() + "\nx = 1\n")
    assert stubs.state(copy, "lora") == "edited"
    source = copy / "solutions" / "lora.py"
    source.write_text(source.read_text().replace("A Linear with LoRA", "Linear with LoRA"))
    assert stubs.state(copy, "lora") == "stale"
    path.unlink()
    assert stubs.state(copy, "lora") == "missing"


def test_unwritten_is_told_from_wrong(copy):
    stub = Submission.load(copy / "exercises" / "lora.py")
    assert isinstance(LORA.judge(stub, 1), Unwritten)


def test_each_part_gives_100_points():
    """As lesson 00 says: foundations, and the survey's families."""
    parts = {row.lesson: row.family for row in CATALOG}
    points = Counter()
    for item in exercises(ROOT):
        points[parts.get(int(item.id[:2]), "foundations")] += item.points
    assert points == dict.fromkeys(["foundations", *parts.values()], 100)
