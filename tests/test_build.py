"""The lesson builder, and the lessons as they are committed.

A notebook that a learner has edited or run again is theirs, and is not looked at; its digest tells.
"""

import subprocess
from pathlib import Path

import nbformat
import pytest

from minipeft.course import build, record, stubs
from minipeft.course.exercise import exercises

ROOT = Path(__file__).parents[1]

SOURCE = """# %% [markdown]
# # A lesson

# %%
from pathlib import Path

import sys

print("half\\rwhole")

# %%
from minipeft.course import check, learner

half = learner("3.1")
check("3.1")

# %%
# NBVAL_CHECK_OUTPUT
6 * 7
"""

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
    return x / 2
    # END SOLUTION
'''


@pytest.fixture
def course(tmp_path: Path) -> Path:
    record.write(tmp_path / "lessons/src/03_half.py", SOURCE)
    record.write(tmp_path / "tests/exercises/test_half.py", CHECK)
    record.write(tmp_path / "solutions/half.py", ANSWER)
    (tmp_path / "exercises").mkdir()
    return tmp_path


def run(course: Path, *arguments: str) -> int:
    return build.main(["--course", str(course), *arguments])


def test_a_lesson_is_built(course, capsys):
    assert run(course, "--check") == 1
    assert capsys.readouterr().out.splitlines() == ["exercises/half.py is missing", "lessons/03_half.ipynb is missing"]
    mine = "def half(x):\n    return x * 0.5\n"
    record.write(course / "exercises/half.py", mine)
    assert run(course) == 0 and run(course, "--check") == 0
    assert [p.read_text() for p in (course / "exercises/.backup").iterdir()] == [mine]  # a learner's work is kept

    path = course / "lessons/03_half.ipynb"
    nb = build.read(path)
    assert [c.cell_type for c in nb.cells] == ["markdown", "code", "code", "code"]
    assert nb.cells[1].outputs[0].text == "whole\n" and nb.cells[3].outputs[0].data["text/plain"] == "42"
    assert "the reference" in str(nb.cells[2].outputs) and "not written yet" in str(nb.cells[2].outputs)
    assert not (course / "exercises/.progress.json").exists()
    assert nb.metadata.language_info == {"name": "python"} and not build.faults(nb)
    text = path.read_text()
    assert run(course, "03_half") == 0 and path.read_text() == text  # the same bytes again

    nb.metadata["language_info"] = {"name": "python", "version": "3.12.1"}  # Jupyter has saved it again
    nb.cells[1].metadata["trusted"] = True
    nbformat.write(nb, path)
    assert build.state(course, "03_half") == "current"
    nb.cells[3].outputs[0].data["text/plain"] = "43"
    nbformat.write(nb, path)
    assert build.state(course, "03_half") == "edited"
    record.write(course / "lessons/src/03_half.py", SOURCE + "\n# %%\n1 / 0\n")
    assert build.state(course, "03_half") == "stale"
    before = path.read_bytes()
    capsys.readouterr()
    assert run(course) == 1 and "ZeroDivisionError" in capsys.readouterr().out and path.read_bytes() == before


def test_new_text_keeps_the_outputs_of_unchanged_code(course, capsys, monkeypatch):
    """And only then: not after a change of code, not when somebody has edited the notebook, not with --all."""
    ran = []

    def execute(nb, root):
        ran.append(True)
        for n, cell in enumerate(build.code(nb), 1):
            cell.execution_count, cell.outputs = n, [nbformat.v4.new_output("stream", text=f"run {len(ran)}\n")]

    monkeypatch.setattr(build, "execute", execute)
    path, source = course / "lessons/03_half.ipynb", course / "lessons/src/03_half.py"

    def built(*arguments: str) -> str:
        assert run(course, *arguments) == 0
        assert build.state(course, "03_half") == "current"
        return build.code(build.read(path))[1].outputs[0].text

    assert built() == "run 1\n"
    record.write(source, SOURCE.replace("# # A lesson", "# # A better lesson") + "\n# %% [markdown]\n# The end.\n")
    assert built() == "run 1\n" and "its text" in capsys.readouterr().out
    assert [c.source for c in build.read(path).cells if c.cell_type == "markdown"] == ["# A better lesson", "The end."]
    record.write(source, SOURCE.replace("6 * 7", "7 * 6"))
    assert built() == "run 2\n"
    assert built("03_half") == "run 3\n" and built("--all") == "run 4\n"
    record.write(source, SOURCE.replace("6 * 7", "7 * 6").replace("A lesson", "Mine"))
    nb = build.read(path)
    nb.cells[3].outputs[0].text = "made up"
    nbformat.write(nb, path)
    assert built() == "run 5\n"
    record.write(source, SOURCE.replace("6 * 7", "7 * 6"))
    assert built("--all") == "run 6\n"


def test_unknown_lessons_are_named(course, capsys):
    with pytest.raises(SystemExit):
        run(course, "04_none")
    assert "no lesson 04_none; there are 03_half" in capsys.readouterr().err


def cell(count: int = 1, **output) -> nbformat.NotebookNode:
    new = nbformat.v4.new_code_cell("x", execution_count=count)
    if output:
        new.outputs = [nbformat.v4.new_output(**output)]
    return new


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([cell(None)], "execution count None, not 1"),
        ([cell(1), cell(3)], "execution count 3, not 2"),
        ([cell(output_type="stream", name="stderr", text="careful")], "writes to stderr: careful"),
        ([cell(output_type="error", ename="ValueError", evalue="no", traceback=[])], "raises ValueError: no"),
        ([cell(output_type="stream", text="in /home/me/x")], "shows the path /home/me"),
        ([cell(output_type="display_data", data={"text/plain": "<f at 0x7f0123456789>"})], "address"),
        ([cell(output_type="display_data", data={"image/png": "A" * 2_000_000})], "2.0 MB"),
    ],
)
def test_faults_are_found(cells, said):
    nb = nbformat.v4.new_notebook(cells=cells)
    (fault,) = build.faults(nb, ["/home/me"])
    assert said in fault


def test_a_sound_notebook_has_no_faults():
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# x"), cell(1, output_type="stream", text="ok\n")]
    )
    assert build.faults(nb, ["/home/me"]) == []


# -- what is committed ------------------------------------------------------------------------------------------------


def committed(path: str) -> nbformat.NotebookNode | None:
    """A notebook as git has it, for when the file is a learner's; None without git."""
    try:
        text = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return nbformat.reads(text.decode(), as_version=4)


@pytest.mark.parametrize("name", build.lessons(ROOT))
def test_lessons_are_current_and_sound(name):
    state = build.state(ROOT, name)
    assert state in ("current", "edited"), f"lessons/{name}.ipynb is {state}: run python -m minipeft.course.build"
    nb = build.read(ROOT / "lessons" / f"{name}.ipynb") if state == "current" else committed(f"lessons/{name}.ipynb")
    if nb is None or nb.metadata.minipeft.built != build.fingerprint(nb):
        pytest.skip("edited or run again since it was built")
    source = (ROOT / "lessons" / "src" / f"{name}.py").read_text(encoding="utf-8")
    assert [c.source for c in nb.cells] == [c.source for c in build.unexecuted(source).cells]
    assert build.faults(nb, [str(ROOT), str(Path.home())]) == []
    pictures = [o for c in nb.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert all(o.metadata.get("image/png", {}).get("alt") for o in pictures), "show figures with draw.show(fig, alt)"


def test_every_built_notebook_has_a_source():
    """A learner's own notebooks don't count: only those that the builder made."""
    built = [p.stem for p in (ROOT / "lessons").glob("*.ipynb") if "minipeft" in build.read(p).metadata]
    assert set(built) <= set(build.lessons(ROOT))


@pytest.mark.parametrize("topic", stubs.topics(ROOT))
def test_the_exercises_of_a_file_belong_to_one_lesson(topic):
    (number,) = {item.lesson for item in exercises(ROOT) if item.topic == topic}
    assert [name for name in build.lessons(ROOT) if name.startswith(f"{number:02d}_")]


def test_the_copy_in_which_lessons_run_holds_the_data_they_read(tmp_path):
    build.copy(ROOT, tmp_path)
    assert (tmp_path / "docs" / "comparison" / "runs.csv").exists()
    assert (tmp_path / "lessons" / "data" / "tasks.csv").exists()
