"""minipeft grade, release, autograder, as a teacher types them."""

import json
import subprocess
import sys

import pytest

from minipeft.cli import main
from minipeft.grading import result as results
from tests.grading.small import OTHER, SMALL, hand_in, small_course


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return small_course(tmp_path_factory.mktemp("course") / "small")


@pytest.fixture
def run(course, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([*map(str, arguments), "--course", str(course)])
        return code, *capsys.readouterr()

    return run


def test_one_submission_in_words(run, tmp_path):
    hand_in(tmp_path / "ada", small=SMALL.replace("2 * x", "x ** 2"), other=OTHER)
    code, out, _ = run("grade", "ada")
    assert code == 0 and "01.1 Double: wrong (0 of 2 points)" in out and out.endswith("ada: 8 of 10 points\n")
    assert "the likely mistake: it is squared, not doubled" in out
    assert run("grade", "ada", "--only", "1.2", "2")[1].endswith("ada: 8 of 8 points\n")


def test_every_form(run, tmp_path, monkeypatch):
    hand_in(tmp_path / "ada", small=SMALL, other=OTHER)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.setenv(name, str(tmp_path / name))
    code, out, _ = run(
        "grade", "ada", "--json", "r.json", "--html", "r.html", "--junit", "r.xml", "--gradescope", "g.json",
        "--github", "--seed", "s3cret",
    )  # fmt: skip
    assert code == 0 and "Points 10/10" in out
    assert results.read(tmp_path / "r.json")["points"] == json.loads((tmp_path / "g.json").read_text())["score"] == 10
    assert "10 of 10" in (tmp_path / "r.html").read_text() and "<testsuite" in (tmp_path / "r.xml").read_text()
    assert "10" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert (tmp_path / "GITHUB_OUTPUT").read_text().startswith("result=")
    written = [p for p in tmp_path.iterdir() if p.is_file()]
    assert len(written) == 6 and not any("s3cret" in p.read_text() for p in written)


def test_a_class(run, tmp_path):
    for name, text in {"ada": SMALL, "bob": SMALL.replace("2 * x", "3 * x"), "eve": "def double(:"}.items():
        hand_in(tmp_path / "class" / name, small=text, other=OTHER)
    code, out, _ = run("grade", "--class", "class", "--out", "marks")
    assert code == 0 and out.splitlines()[-1] == "done: 3 submissions; open marks/index.html"
    assert [line.split()[:2] for line in out.splitlines()[-4:-1]] == [
        ["ada", "10/10"],
        ["bob", "8/10"],
        ["eve", "5/10"],
    ]
    marks = tmp_path / "marks"
    assert sorted(p.name for p in marks.iterdir()) == [
        "class.csv", "grading.json", "index.html", "junit.xml", "nbgrader.csv", "reports", "results",
        "similarity.csv", "similarity.html",
    ]  # fmt: skip
    assert sorted(p.name for p in (marks / "reports").iterdir()) == ["ada.html", "bob.html", "eve.html"]
    before = {p: p.stat().st_mtime_ns for p in (marks / "results").iterdir()}
    assert run("grade", "--class", "class", "--out", "marks")[1].splitlines()[-5:] == out.splitlines()[-5:]
    assert {p: p.stat().st_mtime_ns for p in (marks / "results").iterdir()} == before


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["grade", "nobody.zip"], "there is no nobody.zip"),
        (["grade", "--class", "nobody", "--out", "marks"], "nobody"),
        (["grade", "--class", "empty", "--out", "marks"], "holds no submission"),
        (["grade", "--class", "empty"], "--class needs --out DIR"),
        (["grade", "empty", "--out", "marks"], "--out is for --class"),
        (["grade", "empty", "--only", "77"], "there is no exercise 77"),
        (["grade", "empty", "--seed", ""], "the seed is empty"),
        (["grade", "empty", "--seed-file", "none.txt"], "none.txt"),
        (["grade", "empty", "--seconds", "0"], "more than no time"),
        (["grade", "--class", "empty", "--out", "marks", "--jobs", "0"], "at least one"),
    ],
)
def test_mistakes_are_told(run, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    code, out, err = run(*arguments)
    assert code == 2 and said in err and out == "" and "Traceback" not in err
    assert not (tmp_path / "marks" / "results").exists()


def test_results_of_another_kind_are_kept(run, tmp_path):
    hand_in(tmp_path / "class" / "ada", small=SMALL)
    assert run("grade", "--class", "class", "--out", "marks", "--only", "1")[0] == 0
    before = (tmp_path / "marks" / "results" / "ada.json").read_text()
    code, _, err = run("grade", "--class", "class", "--out", "marks", "--seed", "another")
    assert code == 2 and "was graded with another exercises and seed: choose another --out" in err
    assert (tmp_path / "marks" / "results" / "ada.json").read_text() == before


def test_without_asserts(course, tmp_path):
    """Python's -O takes assert statements away; no mark hangs on one."""
    hand_in(tmp_path / "ada", small=SMALL.replace("2 * x", "3 * x"), other=OTHER)
    command = [sys.executable, "-O", "-c", "import sys; from minipeft.cli import main; sys.exit(main(sys.argv[1:]))"]
    done = subprocess.run([*command, "grade", "ada", "--course", course], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("ada: 8 of 10 points\n"), done.stderr
