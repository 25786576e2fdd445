"""One submission, from what was handed in to its result."""

import json

import jsonschema
import pytest

from minipeft.course.exercise import exercises
from minipeft.grading import result as results
from minipeft.grading.grade import given_up, grade, seed_of
from minipeft.grading.handed_in import handed_in
from minipeft.grading.nursery import Limits, Nursery
from tests.grading.small import OTHER, SMALL, hand_in, small_course


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return small_course(tmp_path_factory.mktemp("course") / "small")


@pytest.fixture(scope="module")
def nursery():
    with Nursery(Limits(call_seconds=2, exercise_seconds=6)) as nursery:
        yield nursery


@pytest.fixture
def graded(course, nursery, tmp_path):
    def graded(seed="public", **files):
        items = exercises(course)
        result = grade(handed_in(hand_in(tmp_path / "ada", **files), items), items, nursery, "1234", seed)
        jsonschema.validate(result, results.schema())
        results.write(tmp_path / "ada.json", result)
        assert results.read(tmp_path / "ada.json") == json.loads(json.dumps(result))
        return result

    return graded


def states(result):
    return {entry["id"]: (entry["state"], entry["points"]) for entry in result["exercises"]}


def test_right_work(graded):
    result = graded(small=SMALL, other=OTHER)
    assert (result["name"], result["points"], result["of"], result["status"]) == ("ada", 10, 10, "graded")
    assert result["source"]["files"] == ["exercises/other.py", "exercises/small.py"]
    assert result["graded"]["course"] == "1234" and result["isolation"]["process"] == "fork"
    assert all(entry["found"] == entry["hint"] == "" for entry in result["exercises"])


def test_each_function_counts_for_itself(graded):
    half = SMALL.replace("2 * x", "x ** 2")
    result = graded(small=half)
    assert states(result) == {"01.1": ("wrong", 0), "01.2": ("passed", 3), "02.1": ("missing", 0)}
    wrong, _, missing = result["exercises"]
    assert wrong["called"].startswith("double(x: b=") and "wrong values: at [0, 0]" in wrong["found"]
    assert wrong["mistake"] == "it is squared, not doubled" and wrong["hint"] == "What is twice x?"
    assert missing["found"] == "there is no file other.py, and no notebook that defines count"


def test_states(graded, course):
    stub = (course / "exercises" / "other.py").read_text()
    result = graded(small="def double(x): return 1 / 0\ndef halv(x, n): return x\n", other=stub)
    assert states(result) == {"01.1": ("wrong", 0), "01.2": ("missing", 0), "02.1": ("unwritten", 0)}
    division, missing, unwritten = result["exercises"]
    assert "ZeroDivisionError: division by zero (exercises/small.py, line 1" in division["found"]
    assert "did you mean halve when you wrote halv?" in missing["found"]
    assert unwritten["found"] == "write count in exercises/other.py"
    assert states(graded(small="def double(x:", other=OTHER))["01.1"] == ("broken", 0)
    loop = graded(small="while True: pass", other=OTHER)
    assert states(loop) == {"01.1": ("time", 0), "01.2": ("time", 0), "02.1": ("passed", 5)}
    assert loop["exercises"][1]["seconds"] == 0.0  # waiting once is enough
    end = graded(small=SMALL + "import os\ndef double(x): os._exit(0)\n", other=OTHER)
    assert states(end) == {"01.1": ("died", 0), "01.2": ("passed", 3), "02.1": ("passed", 5)}


def test_what_is_printed_is_shown(graded):
    result = graded(small="print('\\x1b[31mhello\\x1b[0m <b>')\n" + SMALL, other=OTHER)
    assert result["points"] == 10 and result["exercises"][0]["output"].strip() == "hello <b>"


def test_the_same_marks_and_inputs_each_time(graded):
    """But for times; another text or another seed has other inputs."""

    def entries(**kind):
        return [{**entry, "seconds": 0} for entry in graded(**kind)["exercises"]]

    text = SMALL.replace("2 * x", "x")
    assert entries(small=text) == entries(small=text)
    assert entries(small=text)[0]["seed"] != entries(small=text + "\n")[0]["seed"]
    assert entries(small=text)[0]["found"] != entries(small=text, seed="mine")[0]["found"]


def test_seeds_cant_be_told_from_each_other():
    seeds = [seed_of(secret, exercise, text) for secret in "ab" for exercise in ("1.1", "1.2") for text in (b"x", b"y")]
    assert len(set(seeds)) == 8 and all(0 <= seed < 10**6 for seed in seeds)
    assert seed_of("a", "1.1", b"x") == seeds[0]


def test_an_archive_that_cant_be_read_has_a_result(course, nursery, tmp_path):
    (tmp_path / "ada.zip").write_bytes(b"PK no zip")
    items = exercises(course)
    result = grade(handed_in(tmp_path / "ada.zip", items), items, nursery, "1234")
    jsonschema.validate(result, results.schema())
    assert result["status"] == "unreadable" and result["points"] == 0 and result["of"] == 10
    assert {entry["found"] for entry in result["exercises"]} == {result["reason"]}


def test_one_that_nobody_can_grade_has_a_result(course, nursery, tmp_path):
    items = exercises(course)
    result = given_up(
        handed_in(hand_in(tmp_path / "ada", small=SMALL), items), items, nursery, "1234", "it ended us twice"
    )
    jsonschema.validate(result, results.schema())
    assert result["points"] == 0 and {entry["state"] for entry in result["exercises"]} == {"died"}


def test_who_kept_the_grader_waiting_for_long_gets_less_patience(course, nursery, tmp_path, monkeypatch):
    """Right work that follows still passes."""
    monkeypatch.setattr("minipeft.grading.grade.PATIENCE", 1.0)
    monkeypatch.setattr("minipeft.grading.grade.HURRY", 0.5)
    items = exercises(course)
    loops = "def double(x):\n    while True: pass\ndef halve(x, n):\n    while True: pass\n"
    result = grade(handed_in(hand_in(tmp_path / "ada", small=loops, other=OTHER), items), items, nursery, "1234")
    first, second, right = result["exercises"]
    assert first["state"] == second["state"] == "time" and first["seconds"] > 2 > second["seconds"] > 0.5
    assert right["state"] == "passed"
