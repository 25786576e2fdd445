"""What is handed out: the learner's bundle holds no answer and works on its own; Gradescope's zip and GitHub's workflow
do what they should, as far as this machine can run them.

The bundle is made of what is committed, so these tests look at the last commit.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml

from minipeft.course import record, stubs
from minipeft.course.exercise import Exercise, exercises, load
from minipeft.grading import release as handing_out
from minipeft.grading.release import autograder, committed, course_version, for_learners, release

ROOT = Path(__file__).parents[2]
READY = ROOT / "minipeft" / "grading" / "ready"


@pytest.fixture(scope="module")
def course() -> Iterator[Path]:
    """This repository as it is committed."""
    with committed(ROOT) as folder:
        yield folder


@pytest.fixture(scope="module")
def items(course: Path) -> list[Exercise]:
    return exercises(course)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of it, not to be written to."""
    out = tmp_path_factory.mktemp("release") / "bundle"
    try:
        release(ROOT, out)
    except ValueError as e:
        if "may show answers" in str(e):
            pytest.skip("without git, and a notebook was run since it was built")
        raise
    return out


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """The same, to work in."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def names(folder: Path) -> set[str]:
    found = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    return {p.as_posix() for p in found}


def text(path: Path) -> str:
    """What can be read in a file: of a notebook, its cells and their outputs."""
    if path.suffix in (".png", ".safetensors"):
        return ""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        parts.append(cell.source)
        for output in cell.get("outputs", []):
            shown = {
                kind: str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")
            }
            parts += [output.get("text", ""), *shown.values()]
    return "\n".join(parts)


def even(source: str) -> str:
    """Without what white space there is between words."""
    return re.sub(r"\s+", " ", source).strip()


@pytest.fixture(scope="module")
def texts(bundle: Path) -> dict[str, str]:
    return {name: even(text(bundle / name)) for name in names(bundle)}


# -- what is in it ----------------------------------------------------------------------------------------------------

ALLOWED = [
    r"(README|docs/(comparison/(README|comparison)|fastfood|glossary|notation|speed|stacking|tasks))\.md",
    r"LICENSE|Makefile|CITATION\.cff|pyproject\.toml|constraints\.txt|\.gitignore|\.github/workflows/classroom\.yml",
    r"docs/comparison/\w+\.(csv|png)",
    r"lessons/\d\d_\w+\.ipynb|lessons/data/\w+\.csv",
    r"exercises/\w+\.py|tests/exercises/stubs/\w+\.py|tests/exercises/(test_\w+|conftest)\.py",
    r"minipeft/(\w+/)?\w+\.py|minipeft/course/runner/\w+\.py|minipeft/grading/(schema\.json|page\.css)",
    r"minipeft/grading/ready/(setup\.sh|run_autograder|classroom\.yml)",
    r"minipeft/models/mini-(gpt2|llama)/(\w+\.json|model\.safetensors)",
]


def test_nothing_is_in_it_that_nobody_let_in(bundle, course, items):
    assert {name for name in names(bundle) if not any(re.fullmatch(kind, name) for kind in ALLOWED)} == set()
    topics = {item.topic for item in items}
    assert names(bundle / "exercises") == names(bundle / "tests/exercises/stubs") == {f"{t}.py" for t in topics}
    assert {p.name for p in bundle.glob("tests/exercises/test_*.py")} == {f"test_{t}.py" for t in topics}
    assert len(list(bundle.glob("lessons/*.ipynb"))) == len(list(course.glob("lessons/src/*.py")))


def worked_answers(course: Path) -> dict[tuple[str, int], str]:
    """What stands between BEGIN SOLUTION and END SOLUTION, without the code that is given, by topic and number."""
    marked = re.compile(rf"{stubs.BEGIN}\n(.*?)(?={stubs.GIVEN}|{stubs.END})", re.S)
    found = {p.stem: marked.findall(p.read_text(encoding="utf-8")) for p in (course / "solutions").glob("*.py")}
    return {(topic, n): even(body) for topic, bodies in found.items() for n, body in enumerate(bodies, 1)}


def test_no_worked_answer_is_in_it(texts, course, items):
    """Whatever its line breaks and blanks, in code, text or output; one that is a constant is no secret of its own."""
    answers = worked_answers(course)
    constants = {key for key, body in answers.items() if re.fullmatch(r"return (\"\w*\"|\d+)", body)}
    assert len(answers) == len(items) and constants == {("comparing", 6)}
    shown = [(key, n) for key, body in answers.items() if key not in constants for n, t in texts.items() if body in t]
    assert shown == []


def test_no_known_wrong_answer_is_in_it(texts, course, items):
    """One in five has a body of under 40 characters, such as `return 0`, that may occur by chance."""
    bodies = {}
    for path in (course / "tests/exercises/wrong").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        for name, node in stubs.functions(source).items():
            code = [part for part in node.body if not isinstance(getattr(part, "value", None), ast.Constant)]
            bodies[path.stem, name] = even("\n".join(ast.get_source_segment(source, part) for part in code))
    long = {key: body for key, body in bodies.items() if len(body) >= 40}
    assert len(bodies) > 800 and len(long) > 0.75 * len(bodies)
    hints = even(" ".join(hint for item in items for hint in item.hints))  # "return x @ W + ..." is half a line
    shown = [(k, n) for k, b in long.items() for n, t in texts.items() if f"{b} " in f"{t} " and b not in hints]
    assert shown == []


def test_no_hint_of_a_wrong_answer_is_in_it(texts, course, items):
    """But for the exercises in which a mistake is to be found: what is said of it as it is given, the lesson shows."""
    own = even(" ".join(hint for item in items for hint in item.hints))
    seen = 0
    for path in (course / "tests/exercises/wrong").glob("*.py"):
        for function in vars(load(path)).values():
            if hasattr(function, "hint") and even(function.hint) not in own:
                seen += 1
                shown = {name for name, t in texts.items() if even(function.hint) in t}
                given = function.__name__.endswith("given")
                assert len(shown) == given and all(name.endswith(".ipynb") for name in shown), function.__name__
    assert seen > 700


def test_no_place_of_this_machine_is_in_it(bundle):
    places = {str(ROOT), str(Path.home()), tempfile.gettempdir() + "/"}
    for name in names(bundle):
        assert not [p for p in places if p.encode() in (bundle / name).read_bytes()], name


def test_exercises_are_as_they_were_before_anybody_wrote(bundle, course, items):
    for topic in {item.topic for item in items}:
        source = (course / "solutions" / f"{topic}.py").read_text(encoding="utf-8")
        fresh = stubs.stub(source, [item for item in items if item.topic == topic])
        for folder in ("exercises", "tests/exercises/stubs"):
            assert (bundle / folder / f"{topic}.py").read_text(encoding="utf-8") == fresh


def test_a_zip_holds_the_same_and_is_the_same_each_time(bundle, course, tmp_path):
    first, second = tmp_path / "a.zip", tmp_path / "deep" / "b.zip"
    said = release(ROOT, first)
    release(ROOT, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as z:
        assert z.namelist() == sorted(z.namelist())
        assert {i.filename.removeprefix("minipeft/"): z.read(i) for i in z.infolist()} == {
            name: (bundle / name).read_bytes() for name in names(bundle)
        }
    assert f"version {course_version(bundle)}" in said[0] and course_version(bundle) == course_version(course)
    assert {p.name for p in tmp_path.iterdir()} == {"a.zip", "deep"}  # nothing else is left there


def prose(page: Path) -> str:
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    return "\n".join(c.source for c in nbformat.read(page, as_version=4).cells if c.cell_type == "markdown")


@pytest.mark.parametrize("kind", ["README.md", "docs/**/*.md", "lessons/*.ipynb"])
def test_links_lead_somewhere(bundle, kind):
    pages = list(bundle.glob(kind))
    assert pages
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)\s#]+)", prose(page)):
            assert (page.parent / link).exists(), f"{page.relative_to(bundle)}: {link}"


def test_readme_and_makefile_are_the_learners(bundle):
    readme, make = (bundle / "README.md").read_text(), (bundle / "Makefile").read_text()
    assert "learner's bundle" in readme and "## For learners" in readme and "[MIT licence](LICENSE)" in readme
    for word in ("CLONE", "BUNDLE", "solutions/", "For teachers", "CONTRIBUTING", "make quick"):
        assert word not in readme
    for word in ("CLONE", "BUNDLE", "mutants", "ruff check"):
        assert word not in make


# -- it works on its own ----------------------------------------------------------------------------------------------

SEVERAL = """
import contextlib, io, json, sys
from minipeft import cli
said = []
for command in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = cli.main(command)
    said.append([code, out.getvalue()])
print(json.dumps([cli.__file__, said]))
"""


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python in a bundle, with that bundle's library."""
    keep = {name: value for name, value in os.environ.items() if name != "MINIPEFT_COURSE"}
    environment = keep | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def commands(folder: Path, *lines: str) -> list[tuple[int, str]]:
    """Exit code and output of `minipeft LINE`, one after the other."""
    done = alone(folder, "-c", SEVERAL, json.dumps([line.split() for line in lines]))
    assert done.returncode == 0, done.stderr
    file, said = json.loads(done.stdout)
    assert Path(file) == folder / "minipeft" / "cli.py"
    return [(code, text) for code, text in said]


def answer(folder: Path, course: Path, topic: str = "lora") -> None:
    shutil.copy(course / "solutions" / f"{topic}.py", folder / "exercises" / f"{topic}.py")


def test_its_commands_work(copy, items):
    said = commands(copy, "list", "next", "ask 15.1", "check 15.1", "reset 15.1", "progress", *["hint 15.1"] * 4)
    assert [code for code, _ in said] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    listed, upcoming, asked, checked, put_back, done, *hints = [text for _, text in said]
    assert listed.count("\n") == len(items) + 1 and "01.1" in upcoming
    assert "def lora_linear(" in asked and "not written yet" in checked and "as it was at the start" in put_back
    assert done.endswith("0 hints used\n")
    assert "hint 3 of 3" in hints[2] and "all hints are given" in hints[3]


def test_a_right_answer_passes_and_can_be_taken_back(copy, course, items):
    answer(copy, course)
    (code, checked), (_, done), *_ = commands(copy, "check 15", "progress", "reset 15")
    assert code == 0 and "solutions" not in checked
    points = sum(item.points for item in items if item.lesson == 15)
    assert f"{points} of {points} points" in checked and f"lesson 15: 6 of 6 exercises, {points} of" in done
    assert (copy / "exercises/lora.py").read_text() == stubs.stub_of(course, "lora")
    (kept,) = (copy / "exercises/.backup").iterdir()
    assert kept.read_text() == (course / "solutions/lora.py").read_text()


@pytest.mark.slow
def test_its_checks_run_under_pytest(copy, course):
    ask = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/exercises", "-k", "test_lora"]
    done = alone(copy, *ask)
    assert done.returncode == 1 and "6 failed" in done.stdout and "not written yet" in done.stdout
    answer(copy, course)
    done = alone(copy, *ask, "--answers", "exercises")
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")
def test_its_makefile_works(copy):
    for target, line in [("lab", ".venv/bin/minipeft lab"), ("test", ".venv/bin/minipeft check"), ("clean", "rm -rf")]:
        done = subprocess.run(["make", "-n", target], cwd=copy, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and line in done.stdout, done.stderr


@pytest.mark.slow
def test_a_lesson_runs_in_it(copy):
    run = (
        "import nbformat, nbclient; nb = nbformat.read('lessons/00_start_here.ipynb', 4); "
        "nbclient.NotebookClient(nb, timeout=120, resources={'metadata': {'path': 'lessons'}}).execute(); "
        "print(sum(c.cell_type == 'code' for c in nb.cells))"
    )
    done = alone(copy, "-c", run)
    assert done.returncode == 0 and int(done.stdout) > 3, done.stderr


def test_nothing_can_be_released_from_it(bundle, tmp_path):
    for make in (lambda: release(bundle, tmp_path / "out"), lambda: autograder(bundle, tmp_path / "out.zip", "s")):
        with pytest.raises(FileNotFoundError, match="learner's bundle, go to a clone"):
            make()
    assert list(tmp_path.iterdir()) == []


# -- a teacher's folder -----------------------------------------------------------------------------------------------

CHECK = """from minipeft.course.exercise import exercise
from minipeft.course.judge import same


def reference(x):
    return x / 2


@exercise("3.1", "Half", difficulty=1, minutes=1, points=1, reference=reference, hints=("a", "b", "c"))
def test_half(submission, cases):
    for case in cases("b t"):
        same(submission.half, reference, x=case("b t"))
"""

ANSWER = '''def half(x):
    """x / 2"""
    # BEGIN SOLUTION
    return x * 0.5
    # END SOLUTION
'''


@pytest.fixture
def teachers(tmp_path: Path) -> Path:
    """A small course in a folder without git."""
    course = tmp_path / "course"
    record.write(course / "tests/exercises/test_half.py", CHECK)
    record.write(course / "tests/exercises/wrong/half.py", "# wrong")
    record.write(course / "solutions/half.py", ANSWER)
    record.write(course / "exercises/half.py", "def half(x):\n    return 0.5 * x  # the teacher's own\n")
    record.write(course / "lessons/data/half.csv", "a,b\n")
    record.write(course / "README.md", "# Half\n")
    record.write(course / "Makefile", "lab:\n")
    record.write(course / "minipeft/gpt.py", "")
    return course


def git(course: Path, *arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, *arguments], cwd=course, capture_output=True, check=True)


def commit(course: Path) -> None:
    git(course, "init", "-q")
    git(course, "add", "--all")
    git(course, "commit", "-q", "-m", "the course")


has_git = pytest.mark.skipif(not shutil.which("git"), reason="no git on this machine")


def test_a_folder_without_git_is_released_without_what_lies_about(teachers, tmp_path):
    for name in ("minipeft/__pycache__/gpt.cpython-311.pyc", "lessons/data/.DS_Store", "lessons/data/.x/key.csv"):
        record.write(teachers / name, "")
    record.write(teachers / "solutions/notes.txt", "")
    said = release(teachers, tmp_path / "out")
    assert names(tmp_path / "out") == {
        ".github/workflows/classroom.yml", "Makefile", "README.md", "exercises/half.py", "lessons/data/half.csv",
        "minipeft/gpt.py", "tests/exercises/stubs/half.py", "tests/exercises/test_half.py",
    }  # fmt: skip
    assert 'NotImplementedError("exercise 3.1")' in (tmp_path / "out/exercises/half.py").read_text()
    assert len(said) == 1 and "8 files" in said[0]


@has_git
def test_a_clone_is_released_as_it_is_committed(teachers, tmp_path):
    commit(teachers)
    assert len(release(teachers, tmp_path / "before")) == len(release(teachers, teachers / "handout.zip")) == 1
    record.write(teachers / "README.md", "# Half, changed\n")
    record.write(teachers / "lessons/data/the key.csv", "")
    record.write(teachers / "minipeft/new.py", "")
    record.write(teachers / "exercises/half.py", "changed")
    git(teachers, "add", "minipeft/new.py")
    said = release(teachers, tmp_path / "after")
    assert {n: (tmp_path / "before" / n).read_bytes() for n in names(tmp_path / "before")} == {
        n: (tmp_path / "after" / n).read_bytes() for n in names(tmp_path / "after")
    }
    assert said[1:] == ["not committed, and so not in it: README.md, lessons/data/the key.csv, minipeft/new.py"]


def notebook(course: Path, built: bool) -> nbformat.NotebookNode:
    from minipeft.course import build

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", execution_count=1, id="a")])
    nb.metadata.minipeft = {"built": build.fingerprint(nb)}
    if not built:
        nb.cells[0].source = "half = lambda x: x / 2"
    (course / "lessons").mkdir(exist_ok=True)
    nbformat.write(nb, course / "lessons" / "03_half.ipynb")
    return nb


def test_a_notebook_in_which_somebody_worked_is_refused(teachers, tmp_path):
    notebook(teachers, built=True)
    release(teachers, tmp_path / "before")
    notebook(teachers, built=False)
    with pytest.raises(ValueError, match="^lessons/03_half.ipynb may show answers: edited"):
        release(teachers, tmp_path / "after")
    assert {p.name for p in tmp_path.iterdir()} == {"before", "course"}


def test_nothing_is_overwritten(teachers, tmp_path):
    (tmp_path / "empty").mkdir()
    release(teachers, tmp_path / "empty")
    (tmp_path / "my.zip").write_text("mine")
    for name in ("empty", "my.zip", "course/README.md"):
        with pytest.raises(FileExistsError, match="nothing is overwritten"):
            release(teachers, tmp_path / name)
    assert (tmp_path / "my.zip").read_text() == "mine" and len(names(tmp_path / "empty")) == 8


def test_a_release_that_fails_leaves_nothing_behind(teachers, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(handing_out.os, "replace", full)
    for name in ("out", "out.zip"):
        with pytest.raises(OSError, match="no space left"):
            release(teachers, tmp_path / name)
    assert {p.name for p in tmp_path.iterdir()} == {"course"}


def test_parts_for_the_clone_are_left_out():
    make = "a:\n# BEGIN CLONE\nb: c\n# BUNDLE\n# b:\n# \td\n# END CLONE\n# e\n"
    assert for_learners(make) == "a:\nb:\n\td\n# e\n"
    page = "one\n<!-- BEGIN CLONE -->\ntwo\n<!-- BUNDLE\n## three\n\n-->\n<!-- END CLONE -->\n# four\n"
    assert for_learners(page) == "one\n## three\n\n# four\n"
    with pytest.raises(ValueError, match="without END CLONE"):
        for_learners("a\n# BEGIN CLONE\nb\n")


def test_the_version_is_that_of_the_checks(teachers):
    before = course_version(teachers)
    record.write(teachers / "solutions/half.py", ANSWER + "\n")
    assert course_version(teachers) == before and re.fullmatch(r"[0-9a-f]{8}", before)
    (teachers / "tests/exercises/test_half.py").write_bytes(CHECK.replace("\n", "\r\n").encode())
    assert course_version(teachers) == before  # as Windows writes lines
    record.write(teachers / "tests/exercises/test_half.py", CHECK + "\n")
    assert course_version(teachers) != before


# -- Gradescope -------------------------------------------------------------------------------------------------------

needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
SEED = "a line that nobody can guess"


def unpack(archive: Path, out: Path) -> Path:
    """As Gradescope does it: with the modes of the archive."""
    with zipfile.ZipFile(archive) as z:
        z.extractall(out)
        for entry in z.infolist():
            (out / entry.filename).chmod(entry.external_attr >> 16)
    return out


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("autograder") / "autograder.zip"
    autograder(ROOT, out, SEED, "https://torch.example/cpu")
    return out


def test_the_autograder_holds_what_grading_takes(archive, course, items, tmp_path):
    folder = unpack(archive, tmp_path)
    files = {"setup.sh", "run_autograder", "seed.txt", "only.txt", "pip.conf"}
    assert {p.name for p in folder.iterdir()} == files | {"course"}
    assert all(os.access(folder / name, os.X_OK) for name in ("setup.sh", "run_autograder"))
    assert not os.access(folder / "course/pyproject.toml", os.X_OK)
    assert (folder / "seed.txt").read_text() == SEED + "\n"
    assert (folder / "pip.conf").read_text() == "[global]\nextra-index-url = https://torch.example/cpu\n"
    topics = {item.topic for item in items}
    held = names(folder / "course")
    for kind in ("exercises/{}.py", "tests/exercises/test_{}.py", "tests/exercises/wrong/{}.py"):
        assert {kind.format(topic) for topic in topics} <= held
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "minipeft/models/mini-gpt2/config.json",
    } <= held
    assert not [n for n in held if n.startswith(("solutions", "lessons/src", "docs")) or n.endswith(".ipynb")]
    assert SEED not in "".join(text(folder / "course" / name) for name in held)
    assert course_version(folder / "course") == course_version(course)
    assert (folder / "course/lessons").is_dir()  # else it is no course for --course


def test_the_autograder_is_said_to_be_secret(teachers, tmp_path):
    said = autograder(teachers, tmp_path / "a.zip", SEED, only=["3"])
    assert "1 points in 1 exercises" in said[0]
    assert "show it to no learner" in " ".join(said) and "PIP_EXTRA_INDEX_URL=ADDRESS" in " ".join(said)
    assert SEED not in " ".join(said)
    autograder(teachers, tmp_path / "b.zip", SEED + "\n", only=["3"])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "seed", "only", "error", "said"),
    [
        ("out", SEED, [], ValueError, "takes a zip: write .*out.zip"),
        ("out.zip", " \n", [], ValueError, "one line of text"),
        ("out.zip", "a\nb", [], ValueError, "one line of text"),
        ("out.zip", SEED, ["3.1", "3.2"], ValueError, "there is no exercise 3.2"),
        ("there.zip", SEED, [], FileExistsError, "nothing is overwritten"),
    ],
)
def test_an_autograder_that_cant_be_is_refused(teachers, tmp_path, name, seed, only, error, said):
    (tmp_path / "there.zip").write_text("mine")
    with pytest.raises(error, match=said):
        autograder(teachers, tmp_path / name, seed, only=only)
    assert {p.name for p in tmp_path.iterdir()} == {"course", "there.zip"}


def command(folder: Path, name: str, script: str) -> None:
    """A program that stands for another one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
    (folder / name).chmod(0o755)


PYTHON = """
case "$*" in
  *ensurepip*) exit "${OLD:-0}" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$(dirname "$0")/minipeft" "$3/bin" ;;
  "-m pip install "*) echo "$PIP_CONFIG_FILE|$*" >>"$LOG"; exit "${BROKEN:-0}" ;;
esac
"""


@needs_bash
class TestSetup:
    """setup.sh, with programs that stand for Python, pip and apt-get."""

    @pytest.fixture
    def setup(self, archive, tmp_path):
        root, bin = tmp_path / "autograder", tmp_path / "bin"
        unpack(archive, root / "source")
        for name in ("mkdir", "cp", "dirname", "cat"):
            bin.mkdir(exist_ok=True)
            (bin / name).symlink_to(shutil.which(name))
        command(bin, "python3", "exit 1")
        command(bin, "minipeft", 'echo "minipeft|$*" >>"$LOG"')
        command(bin, "apt-get", 'echo "apt-get|$*" >>"$LOG"')

        def setup(**settings: str) -> tuple[subprocess.CompletedProcess, list[str]]:
            environment = {"PATH": str(bin), "AUTOGRADER_ROOT": str(root), "LOG": str(tmp_path / "log"), **settings}
            done = subprocess.run(
                [shutil.which("bash"), root / "source/setup.sh"],
                env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            log = (tmp_path / "log").read_text().replace(str(root), "ROOT").splitlines()
            return done, log

        setup.bin = bin
        return setup

    installed = "ROOT/source/pip.conf|-m pip install ROOT/source/course -c ROOT/source/course/constraints.txt"

    def test_the_course_is_installed_into_its_own_environment(self, setup):
        command(setup.bin, "python3.12", PYTHON)
        done, log = setup()
        assert done.returncode == 0, done.stderr
        assert log == [self.installed, "minipeft|list --course ROOT/source/course"]

    def test_where_python_is_old_a_newer_one_is_installed(self, setup):
        command(setup.bin, "packed", PYTHON)
        packed = f'cp "{setup.bin}/packed" "{setup.bin}/python3.12"'
        install = f'case "$*" in update) ;; *3.12-venv) {packed} ;; *) exit 1 ;; esac'
        command(setup.bin, "apt-get", f'echo "$*" >>"$LOG"\n{install}')
        done, log = setup()
        assert done.returncode == 0, done.stderr
        assert log[:3] == ["update", "install -y python3.13-venv", "install -y python3.12-venv"]
        assert log[3:] == [self.installed, "minipeft|list --course ROOT/source/course"]

    def test_an_image_without_a_new_python_is_refused_with_a_sentence(self, setup):
        done, log = setup()
        assert done.returncode == 1 and "choose a newer base image" in done.stderr
        assert [line for line in log if "pip" in line] == []

    def test_an_installation_that_fails_fails(self, setup):
        command(setup.bin, "python3.12", PYTHON)
        done, log = setup(BROKEN="1")
        assert done.returncode == 1 and log == [self.installed]


@needs_bash
class TestRun:
    """run_autograder, with a program that stands for minipeft."""

    @pytest.fixture
    def grader(self, archive, tmp_path):
        root = tmp_path / "autograder"
        unpack(archive, root / "source")
        (root / "submission").mkdir()

        def grader(script: str) -> dict:
            command(root / "venv" / "bin", "minipeft", script)
            done = subprocess.run(
                [shutil.which("bash"), root / "source" / "run_autograder"],
                env=os.environ | {"AUTOGRADER_ROOT": str(root)}, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert list(root.glob("results/*")) == [root / "results" / "results.json"]
            grader.said = done.stdout + done.stderr
            return json.loads((root / "results" / "results.json").read_text())

        grader.root = root
        return grader

    def test_the_grader_is_told_what_to_do_and_its_result_stands(self, grader):
        write = '{ [ -r "$6" ] && [ -d "$2" ] && [ -d "$4" ] && printf \'{"output": "%s"}\' "$*"; } >"$8"'
        said = "grade submission --course source/course --seed-file source/seed.txt --gradescope results/results.json"
        assert grader(write) == {"output": said}
        assert "ended with status 0" in grader.said
        (grader.root / "source" / "only.txt").write_text("15\n16.1\n")
        assert grader(write) == {"output": f"{said} --only 15 16.1"}

    @pytest.mark.parametrize(
        "script",
        [
            "exit 3",
            'cat "$6"; cat "$6" >&2; exit 1',  # all its output is the teacher's
            "kill -9 $$",
            "kill -9 $PPID",
            "sleep 60",
        ],
    )
    def test_a_grader_that_breaks_leaves_no_points_and_a_reason(self, grader, script):
        run = grader.root / "source" / "run_autograder"
        assert "limit=570 " in run.read_text()
        run.write_text(run.read_text().replace("limit=570 ", "limit=1 "))
        result = grader(script)
        assert result["score"] == 0 and "tell your teacher" in result["output"]
        assert result["stdout_visibility"] == "hidden" and SEED not in json.dumps(result)

    def test_without_a_grader_there_is_a_result(self, grader):
        run = grader.root / "source" / "run_autograder"
        run.write_text(run.read_text().replace("minipeft grade", "minipeft-that-isnt-there grade"))
        assert grader("")["score"] == 0

    @pytest.mark.skipif(os.name == "nt", reason="Windows knows no modes")
    def test_nobody_else_can_read_seed_and_checks(self, grader):
        grader("")
        for path in (grader.root / "source").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


# -- GitHub -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workflow() -> dict:
    return yaml.safe_load((READY / "classroom.yml").read_text())


@pytest.fixture(scope="module")
def steps(workflow) -> dict[str, dict]:
    (job,) = workflow["jobs"].values()
    return {step["name"]: step for step in job["steps"]}


def test_the_workflow_may_only_read_and_runs_what_is_pinned(workflow, steps):
    assert workflow["permissions"] == {"contents": "read"} and "permissions" not in workflow["jobs"]["grade"]
    assert set(workflow[True]) == {"push", "workflow_dispatch"}  # "on" is a YAML 1.1 truth; none of a stranger's events
    used = [step["uses"] for step in steps.values() if "uses" in step]
    assert len(used) == 3 and all(re.fullmatch(r"actions/(checkout|setup-python)@[0-9a-f]{40}", use) for use in used)


def test_the_course_comes_from_the_teacher_and_without_one_nothing_runs(workflow, steps):
    assert workflow["jobs"]["grade"]["if"].startswith("vars.MINIPEFT_COURSE != '' && ")
    course, answers = (step["with"] for step in steps.values() if "checkout" in step.get("uses", ""))
    assert course["repository"] == "${{ vars.MINIPEFT_COURSE }}" and course["path"] == "course"
    assert course["ref"] == "${{ vars.MINIPEFT_COURSE_REF || 'MINIPEFT_COURSE_REF-is-not-set' }}"
    assert "repository" not in answers and answers["path"] == "submission"
    assert not course["persist-credentials"] and not answers["persist-credentials"]


def test_no_script_of_the_workflow_is_made_of_what_somebody_wrote(steps):
    """An expression in a script is text that the shell runs; in an environment it is a value."""
    for step in steps.values():
        assert "${{" not in step.get("run", "")
    assert [name for name, step in steps.items() if "secrets.MINIPEFT_SEED" in str(step)] == ["The seed"]


@needs_bash
@pytest.mark.parametrize(("secret", "only"), [("", ""), (SEED, "15 16.1")])
def test_the_scripts_of_the_workflow_run(steps, tmp_path, secret, only):
    """In folders as the runner lays them out, with programs that stand for pip and minipeft."""
    for name in ("course", "submission", "temp"):
        (tmp_path / name).mkdir()
    command(tmp_path / "bin", "python", 'echo "python $* $PIP_EXTRA_INDEX_URL" >>log')
    command(tmp_path / "bin", "minipeft", 'echo "minipeft $* ${SEED-}" >>log')
    base = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path / "temp")}
    own = {
        "The course's library": {"PIP_EXTRA_INDEX_URL": "ADDRESS"},
        "The seed": {"SEED": secret},
        "Grade": {"ONLY": only},
    }
    for name, step in steps.items():
        if "run" in step:
            assert set(step.get("env", {})) == set(own.get(name, {}))
            done = subprocess.run(
                [shutil.which("bash"), "-e", "-c", step["run"]],
                env=base | own.get(name, {}), cwd=tmp_path, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    seed = tmp_path / "temp" / "seed"
    assert seed.read_text() == f"{SEED}\n" if secret else not seed.exists()
    assert (tmp_path / "log").read_text().splitlines() == [
        "python -m pip install ./course -c course/constraints.txt ADDRESS",
        f"minipeft grade submission --course course --github {f'--seed-file {seed} --only 15 16.1 ' if secret else ''}",
    ]


# -- with the grader itself -------------------------------------------------------------------------------------------


def install(folder: Path) -> None:
    """`minipeft`, as setup.sh and the workflow install it: here it is the one under test."""
    command(folder, "minipeft", f'PYTHONPATH={ROOT} OMP_NUM_THREADS=1 exec {sys.executable} -m minipeft.cli "$@"')


def hand_in(folder: Path, course: Path) -> None:
    """Five of lesson 15's six exercises right, in a repository with things that are not the learner's to change."""
    source = (course / "solutions" / "lora.py").read_text(encoding="utf-8")
    record.write(folder / "exercises" / "lora.py", source.replace("def lora_count(", "def lora_counts("))
    record.write(folder / "tests" / "exercises" / "test_lora.py", "def test_lora_count(submission, cases): pass")
    record.write(folder / "conftest.py", "raise SystemExit")


@needs_bash
@pytest.mark.slow
def test_gradescope_gets_a_real_result(course, items, tmp_path):
    autograder(ROOT, tmp_path / "a.zip", SEED, only=["15"])
    root = tmp_path / "autograder"
    unpack(tmp_path / "a.zip", root / "source")
    install(root / "venv" / "bin")
    hand_in(root / "submission", course)
    environment = os.environ | {"AUTOGRADER_ROOT": str(root)}
    subprocess.run(["bash", root / "source" / "run_autograder"], env=environment, check=True, timeout=300)
    written = (root / "results" / "results.json").read_text()
    points = {item.name: item.points for item in items if item.lesson == 15}
    tests = json.loads(written)["tests"]
    assert [test["max_score"] for test in tests] == list(points.values())
    assert [test["score"] for test in tests] == [p if n != "lora_count" else 0 for n, p in points.items()]
    assert SEED not in written


@needs_bash
@pytest.mark.slow
def test_github_gets_a_real_result(bundle, course, items, steps, tmp_path):
    """The course to grade by is a learner's bundle: the checks are in it."""
    install(tmp_path / "bin")
    hand_in(tmp_path / "submission", course)
    (tmp_path / "course").symlink_to(bundle)
    places = {name: str(tmp_path / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "RUNNER_TEMP")}
    own = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "ONLY": "15"}
    done = subprocess.run(
        ["bash", "-e", "-c", steps["Grade"]["run"]],
        env=os.environ | places | own, cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    points = {item.name: item.points for item in items if item.lesson == 15}
    full = sum(points.values())
    assert done.returncode == 0, done.stderr
    assert f"::notice title=Autograding complete::Points {full - points['lora_count']}/{full}" in done.stdout
    assert "lora_count" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert (tmp_path / "GITHUB_OUTPUT").read_text().startswith("result=")
