"""What others read: each format is held to what its reader takes, and a learner's text stays text in it."""

import base64
import csv
import io
import json
import re
from xml.etree import ElementTree

import jsonschema
import pytest
from markdown_it import MarkdownIt

from minipeft.grading import emit
from minipeft.grading.emit import (
    class_csv,
    github_classroom,
    github_notices,
    github_summary,
    gradescope,
    inert,
    junit,
    nbgrader_csv,
)
from minipeft.grading.result import clean

from .conftest import HOSTILE, every_state, exercise, finished


@pytest.fixture(params=["ada", "mallory", "unreadable"])
def any_result(request) -> dict:
    return request.getfixturevalue(request.param)


def course(text: str, states: str = "wrong") -> dict:
    """A result of 120 exercises, each of whose texts is as long as it may be."""
    texts = dict.fromkeys(("where", "called", "found", "mistake", "hint", "output"), text)
    return finished("x", [exercise(n % 5 + 1, states, lesson=n // 5, **texts) for n in range(120)])


# -- Gradescope -------------------------------------------------------------------------------------------------------

FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
GRADESCOPE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["tests"],
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number"},
        "output": {"type": "string"},
        "output_format": FORMAT,
        "test_output_format": FORMAT,
        "test_name_format": FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["score", "max_score", "name"],
                "properties": {
                    "score": {"type": "number", "minimum": 0},
                    "max_score": {"type": "number", "minimum": 0},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": FORMAT,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}


def test_gradescope_is_what_its_documentation_describes(any_result):
    report = json.loads(json.dumps(gradescope(any_result), allow_nan=False))
    jsonschema.validate(report, GRADESCOPE)
    assert report["score"] == sum(test["score"] for test in report["tests"]) == any_result["points"]
    assert [test["number"] for test in report["tests"]] == [item["id"] for item in any_result["exercises"]]
    assert all(0 <= test["score"] <= test["max_score"] for test in report["tests"])


def test_gradescope_renders_nothing_of_it(mallory):
    """The default for the output of the whole is HTML."""
    report = gradescope(mallory)
    formats = [report[key] for key in report if key.endswith("_format")]
    formats += [test[key] for test in report["tests"] for key in test if key.endswith("_format")]
    assert formats == ["text"] * (3 + 2 * len(report["tests"]))


def test_gradescope_says_what_was_graded_and_how_it_was_confined(ada, unreadable):
    output = gradescope(ada)["output"]
    assert "Graded: exercises/lora.py." in output and "conftest.py was not looked at." in output
    assert "Active layers of isolation: user namespace, no network, Landlock." in output
    assert "Not active: another uid (the grader does not run as root)." in output
    assert gradescope(unreadable)["output"].startswith("work.zip is damaged: hand it in again\n")


def test_gradescope_says_what_came_back(ada):
    passed, wrong, *_ = gradescope(ada)["tests"]
    assert (passed["status"], passed["score"], passed["output"]) == ("passed", 6, "")
    assert wrong["status"] == "failed" and wrong["name"] == "First values (lora_init): not right yet"
    assert "What was called: lora_linear(x: b=2 t=3 d_in=5" in wrong["output"]
    assert "The likely mistake: alpha / r scales the frozen path too" in wrong["output"]


def test_no_format_gives_more_points_than_there_are():
    result = finished("x", [exercise(1, "passed", points=10**6), exercise(2, "wrong", points=-5)])
    assert gradescope(result)["score"] == 6
    assert [test["score"] for test in gradescope(result)["tests"]] == [6, 0]
    assert [test["score"] for test in decoded(result)["tests"]] == [6, 0]
    assert "::Points 6/12\n" in github_notices(result)
    assert rows(nbgrader_csv([result]))[0]["score"] == "6.0"
    assert rows(class_csv([result]))[0]["points"] == "6"


# -- GitHub -----------------------------------------------------------------------------------------------------------


def decoded(result: dict) -> dict:
    return json.loads(base64.b64decode(github_classroom(result), validate=True))


GITHUB = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "status", "max_score", "tests"],
    "properties": {
        "version": {"const": 1},
        "status": {"enum": ["pass", "fail", "error"]},
        "max_score": {"type": "number", "minimum": 0},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "status", "score", "message", "test_code", "filename", "line_no"],
                "properties": {
                    "name": {"type": "string"},
                    "status": {"enum": ["pass", "fail", "error"]},
                    "score": {"type": "number", "minimum": 0},
                    "message": {"type": ["string", "null"]},
                    "test_code": {"type": "string"},
                    "filename": {"type": "string"},
                    "line_no": {"type": "integer"},
                    "execution_time": {"type": "string", "pattern": "^[0-9.]+s$"},
                },
            },
        },
    },
}


def test_github_classroom_is_what_the_reporter_takes(any_result):
    report = decoded(any_result)
    jsonschema.validate(report, GITHUB)
    assert sum(test["score"] for test in report["tests"]) == any_result["points"] <= report["max_score"]
    assert report["max_score"] == any_result["of"]


def test_github_status_is_an_error_where_nothing_could_be_judged(ada, unreadable):
    assert decoded(unreadable)["status"] == "error" and decoded(ada)["status"] == "fail"
    assert decoded(finished("x", every_state()[:1]))["status"] == "pass"
    assert [test["status"] for test in decoded(ada)["tests"]] == [
        "pass", "fail", "fail", "fail", "error", "error", "error", "pass", "fail"
    ]  # fmt: skip


COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)  # the runner trims a line, and finds ##[ anywhere in it


def test_no_workflow_command_of_a_learner_runs(mallory):
    for test in decoded(mallory)["tests"]:
        log = f"❌ {test['name']}\nError: {test['message']}\n{test['filename']}\n{test['test_code']}\n"
        assert not COMMAND.search(log)
    assert "gotcha" in str(decoded(mallory))
    for text in ("::", ":::x::", " \u00a0::error::x", "a\n::x", "####[x]", "x ##[error]y", "#" * 9 + "[["):
        assert not COMMAND.search(inert(text))
    assert inert("x[::2] ## [a] a:b") == "x[: :2] ## [a] a:b"


@pytest.mark.parametrize("letter", ["x", "ü", "👩", ":", "`", "\n"])
def test_github_takes_the_longest_result(letter):
    """The reporter gets it as an environment variable, which has a limit; so has the summary."""
    result = course(letter * 2000)
    assert len(github_classroom(result)) < 128 * 1024
    assert len(decoded(result)["tests"]) == 120
    assert len(github_summary(result).encode()) < 1 << 20


def test_github_notices_are_what_classroom_reads(ada):
    first, second = github_notices(ada).splitlines()
    assert first == "::notice title=Autograding complete::Points 7.25/32.75"
    assert second == '::notice title=Autograding report::{"totalPoints":7.25,"maxPoints":32.75}'


def test_in_the_summary_a_learners_text_is_code(mallory, unreadable):
    for result in (mallory, unreadable):
        tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(github_summary(result))
        spans = [inner for token in tokens for inner in token.children or []]
        assert [token.content for token in spans if token.type == "code_inline"] == [result["name"]]
        html = [token.content.strip() for token in tokens if token.type == "html_block"]
        assert all(re.fullmatch(r"<details><summary>[^<>]*</summary>|</details>", text) for text in html)
        assert not {token.type for token in spans} - {"text", "code_inline"}
        outside = "".join(token.content for token in spans if token.type == "text") + "".join(html)
        assert not any(word in outside for word in ("alert", "gotcha", "javascript", "heading", "HYPERLINK"))
        assert sum(token.type == "heading_open" for token in tokens) == 1
    inside = "".join(token.content for token in MarkdownIt().parse(github_summary(mallory)) if token.type == "fence")
    assert all(text.strip("\n") in inside for text in HOSTILE.values())


def test_the_summary_has_the_points_of_each_lesson(ada):
    text = github_summary(ada)
    assert "| 15 | 1 of 7 | 6 of 30 |\n| 16 | 1 of 2 | 1.25 of 2.75 |" in text
    assert "<summary>16.2 First values: not right yet (0.75 of 2.25 points)</summary>" in text
    assert "15.1 The layer" not in text and "15.3 Folded in" not in text  # passed, and not written yet


# -- JUnit ------------------------------------------------------------------------------------------------------------

JUNIT = {  # element: its attributes, those that must be there first, and its children
    "testsuites": ({"name": True, "tests": True, "failures": True, "errors": True, "time": True}, {"testsuite"}),
    "testsuite": (
        {"name": True, "tests": True, "failures": True, "errors": True, "skipped": False, "time": False}
        | {"timestamp": False},
        {"properties", "testcase"},
    ),
    "properties": ({}, {"property"}),
    "property": ({"name": True, "value": True}, set()),
    "testcase": (
        {"name": True, "classname": True, "time": True},
        {"failure", "error", "skipped", "system-out"},
    ),
    "failure": ({"message": False, "type": True}, set()),
    "error": ({"message": False, "type": True}, set()),
    "skipped": ({"message": False}, set()),
    "system-out": ({}, set()),
}


def hold(element: ElementTree.Element) -> None:
    """Hold an element, and all within it, to JUNIT."""
    attributes, children = JUNIT[element.tag]
    assert element.attrib.keys() <= attributes.keys()
    assert {name for name, must in attributes.items() if must} <= element.attrib.keys()
    assert {child.tag for child in element} <= children
    for number in ("tests", "failures", "errors", "skipped"):
        assert re.fullmatch(r"\d+", element.get(number, "0"))
    assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.get("timestamp", "2026-01-31T12:00:00"))
    for child in element:
        hold(child)


def test_junit_has_its_form_and_its_sums(ada, mallory, unreadable):
    root = ElementTree.fromstring(junit([ada, mallory, unreadable]))
    hold(root)
    assert [suite.get("name") for suite in root] == [r["name"] for r in (ada, mallory, unreadable)]
    for suite in root:
        assert [child.tag for child in suite] == ["properties"] + ["testcase"] * 9
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(key)) == len(suite.findall(f"testcase/{tag}"))
        assert all(sum(child.tag != "system-out" for child in case) <= 1 for case in cases)
    for key in ("tests", "failures", "errors"):
        assert int(root.get(key)) == sum(int(suite.get(key)) for suite in root)


def test_junit_outcomes_and_points(ada, unreadable):
    suite = ElementTree.fromstring(junit([ada]))[0]
    outcomes = [next((c.tag for c in case if c.tag != "system-out"), "passed") for case in suite.iter("testcase")]
    assert outcomes == ["passed", "failure", "skipped", "failure", "error", "error", "error", "passed", "failure"]
    facts = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert facts["points"] == "7.25" and facts["of"] == "32.75" and facts["points 16.2"] == "0.75 of 2.25"
    assert suite.find("testcase[@name='16.2 First values']/system-out").text == "loss 3.2\nloss 2.1\n"
    assert ElementTree.fromstring(junit([unreadable]))[0].get("errors") == "9"


def test_junit_keeps_hostile_text_and_only_what_xml_can_hold(mallory):
    found = ElementTree.fromstring(junit([mallory])).findall(".//system-out")
    assert {element.text for element in found} <= set(HOSTILE.values()) and len(found) == 9
    mallory["exercises"][0]["output"] = "a\x00\x0b\ud800\uffff\U0001f600"
    assert ElementTree.fromstring(junit([mallory])).find(".//system-out").text == "a����\U0001f600"
    junit([mallory]).encode()


def test_junit_of_nobody():
    hold(ElementTree.fromstring(junit([])))


# -- CSV --------------------------------------------------------------------------------------------------------------


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_nbgrader_csv_has_the_columns_that_nbgrader_exports(ada, unreadable):
    text = nbgrader_csv([ada, unreadable])
    first, second = rows(text)
    assert list(first) == ["assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
                           "raw_score", "late_submission_penalty", "score", "max_score"]  # fmt: skip
    assert (first["student_id"], first["score"], first["max_score"]) == ("ada", "7.25", "32.75")
    assert float(second["score"]) == 0 and second["assignment"] == "minipeft"


def test_class_csv_has_a_column_for_each_exercise(ada, unreadable):
    part = finished("bob", [exercise(10 % 7, "passed") | {"id": "15.10"}])
    first, second, third = rows(class_csv([ada, part, unreadable]))
    titles = list(first)[3:-1]
    assert titles[:2] == ["15.1 The layer", "15.2 First values"] and titles[7].startswith("15.10 ")
    assert (first["name"], first["points"], first["of"], first["15.1 The layer"]) == ("ada", "7.25", "32.75", "6")
    assert second["15.1 The layer"] == "" and second[titles[7]] == "6"
    assert (first["state"], third["state"]) == ("graded", "unreadable: work.zip is damaged: hand it in again")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\u200b=", "\ufeff=", "＝"])
def test_no_name_is_a_formula(ada, start):
    ada["name"] = start + 'cmd|"/C calc"!A0'
    for text in (class_csv([ada]), nbgrader_csv([ada])):
        found = rows(text)[0].get("name") or rows(text)[0]["student_id"]
        assert found.startswith("'") and found.endswith('cmd|"/C calc"!A0')


@pytest.mark.parametrize("name", ["ada;=1+1", 'ada;"=1+1', 'a"";"";=1+1,=2|=3', '=1,"=2', "ada; -1", ";;@x", "a;＝1"])
def test_no_part_of_a_name_is_a_formula_where_other_signs_part_the_cells(ada, name):
    ada["name"] = name
    for text in (class_csv([ada]), nbgrader_csv([ada])):
        for separator in ",;|":
            for row in csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=separator):
                assert not [cell for cell in row if cell.strip().startswith(tuple("=+-@＝"))]


def test_a_harmless_name_stays_as_it_is(ada):
    ada["name"] = "Anne-Marie O'Neil, ada@home"
    assert rows(class_csv([ada]))[0]["name"] == ada["name"]


def test_csv_is_utf8_that_a_spreadsheet_knows(ada):
    ada["name"] = "José مرحبا"
    assert class_csv([ada]).encode().startswith(b"\xef\xbb\xbfname,points,of,")
    assert nbgrader_csv([ada]).startswith("assignment,duedate,") and "José مرحبا" in nbgrader_csv([ada])


def test_tables_of_nobody():
    assert rows(class_csv([])) == rows(nbgrader_csv([])) == []


def test_fixtures_are_clean_where_results_are(mallory):
    assert all(clean(text) == text for text in HOSTILE.values())
    assert emit.plain(mallory["exercises"][0]) == ""  # passed: there is nothing to say
