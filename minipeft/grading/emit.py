"""Results in the formats that others read.  Each function makes text from results, and touches no file.

    gradescope(result)          results.json of a Gradescope autograder
    github_classroom(result)    what GitHub Classroom's reporter takes, and github_notices, what it would print
    github_summary(result)      Markdown for a job's summary
    junit(results)              JUnit XML, one suite for each learner
    nbgrader_csv(results)       the columns that `nbgrader export` writes
    class_csv(results)          one line for each learner, one column for each exercise

What a learner wrote stays text in each of them: it is no HTML, no Markdown, no workflow command and no formula.
"""

import base64
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from xml.etree import ElementTree

from .result import MOST, STATES, circumstances, details, earned, lessons, line, number, order, shortened, total


def plain(item: dict, most: int = MOST) -> str:
    """What there is to say of an exercise, as lines of text."""
    return "\n".join(f"{label}: {shortened(text, most)}" for label, text in details(item))


def fitting(form: Callable[[int], str], limit: int) -> str:
    """form(most) of at most `limit` bytes, with the learner's texts as long as that allows."""
    most = MOST
    while len((text := form(most)).encode()) > limit and most > 1:
        most //= 2
    return text


# -- Gradescope -------------------------------------------------------------------------------------------------------


def gradescope(result: dict) -> dict[str, Any]:
    """The content of results.json.  All text is of the format "text": the default for the output would be HTML."""
    source = result["source"]
    files = ", ".join(source["files"]) or "nothing"
    lines = [result["reason"], f"Graded: {files}.", *source["notes"], *circumstances(result)]
    return {
        "score": total(result["exercises"])[0],
        "execution_time": result["graded"]["seconds"],
        "output": "\n".join(filter(None, lines)),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [gradescope_test(item) for item in sorted(result["exercises"], key=order)],
    }


def gradescope_test(item: dict) -> dict[str, Any]:
    return {
        "number": item["id"],
        "name": f"{item['title']} ({item['name']}): {STATES[item['state']]}",
        "name_format": "text",
        "score": number(earned(item)),
        "max_score": number(item["of"]),
        "status": "passed" if item["state"] == "passed" else "failed",
        "output": plain(item),
        "output_format": "text",
        "visibility": "visible",
    }


# -- GitHub -----------------------------------------------------------------------------------------------------------

STATUS = {state: "error" for state in ("broken", "time", "died")} | {"passed": "pass"}  # the others fail
LONGEST_VARIABLE = 120_000  # bytes: Linux starts no process with a longer one than 128 KiB, and the reporter is one
LONGEST_SUMMARY = 1_000_000  # bytes: GitHub shows none above 1 MiB


def inert(text: str) -> str:
    """Text that is no workflow command in a log: those begin with ::, or have ##[ anywhere."""
    return re.sub(":(?=:)", ": ", text).replace("##[", "## [")


def github_classroom(result: dict) -> str:
    """The `result` output of a step, for classroom-resources/autograding-grading-reporter: JSON in base64.

    The reporter adds the scores of the tests up, prints names and messages into its log, and takes all that from an
    environment variable, so long texts are shortened until it fits.
    """

    def encoded(most: int) -> str:
        tests = [github_test(item, most) for item in sorted(result["exercises"], key=order)]
        passed = all(test["status"] == "pass" for test in tests)
        status = "error" if result["status"] == "unreadable" else "pass" if passed else "fail"
        report = {"version": 1, "status": status, "max_score": total(result["exercises"])[1], "tests": tests}
        return base64.b64encode(json.dumps(report, ensure_ascii=False).encode()).decode()

    return fitting(encoded, LONGEST_VARIABLE)


def github_test(item: dict, most: int) -> dict[str, Any]:
    return {
        "name": inert(f"{item['id']} {item['title']}"),
        "status": STATUS.get(item["state"], "fail"),
        "score": number(earned(item)),
        "message": inert(f"{STATES[item['state']]}\n{plain(item, most)}") if item["state"] != "passed" else None,
        "test_code": inert(shortened(item["called"], most)),
        "filename": inert(line(item["where"], most)),
        "line_no": 0,
        "execution_time": f"{item['seconds']:.2f}s",
    }


def github_notices(result: dict) -> str:
    """The two lines from which GitHub Classroom takes the points, for a workflow without the reporter."""
    points, of = total(result["exercises"])
    report = json.dumps({"totalPoints": points, "maxPoints": of}, separators=(",", ":"))
    return f"::notice title=Autograding complete::Points {points}/{of}\n::notice title=Autograding report::{report}\n"


def github_summary(result: dict) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY.  A learner's text stands in code alone, behind fences that it can't close."""
    return fitting(lambda most: "\n".join(summary(result, most)), LONGEST_SUMMARY)


def summary(result: dict, most: int) -> Iterator[str]:
    points, of = total(result["exercises"])
    yield f"## {code(result['name'])}: {points} of {of} points\n"
    if result["reason"]:
        yield f"It could not be read:\n\n{fenced(shortened(result['reason'], most))}"
    yield "| Lesson | Exercises passed | Points |\n| ---: | ---: | ---: |"
    for lesson, items in lessons(result["exercises"]).items():
        passed = sum(item["state"] == "passed" for item in items)
        points, of = total(items)
        yield f"| {lesson} | {passed} of {len(items)} | {points} of {of} |"
    yield ""
    if result["status"] == "graded":
        for item in sorted(result["exercises"], key=order):
            if item["state"] not in ("passed", "unwritten"):
                yield f"<details><summary>{escape(heading(item))}</summary>\n\n{fenced(plain(item, most))}\n</details>"
                yield ""
    yield "How it was graded:\n"
    yield fenced(shortened("\n".join([*result["source"]["notes"], *circumstances(result)]), 4 * most))


def heading(item: dict) -> str:
    points = f"{number(earned(item))} of {number(item['of'])} points"
    return f"{item['id']} {item['title']}: {STATES[item['state']]} ({points})"


def fenced(text: str) -> str:
    """A block of code whose fence is longer than any run of backticks in it."""
    fence = "`" * max(3, longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def code(text: str) -> str:
    """A span of code on one line."""
    text, ticks = line(text), "`" * (longest_run(text) + 1)
    return f"{ticks} {text} {ticks}"


def longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


# -- JUnit ------------------------------------------------------------------------------------------------------------

NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
OUTCOME = {"unwritten": "skipped", "wrong": "failure", "missing": "failure"}  # the others but passed: error


def junit(results: Sequence[dict]) -> str:
    """JUnit XML: a suite for each learner, a case for each exercise.  Points are among the suite's properties."""
    suites = [suite(result) for result in results]
    counts = {key: str(sum(int(s.get(key)) for s in suites)) for key in ("tests", "failures", "errors")}
    seconds = sum(result["graded"]["seconds"] for result in results)
    root = ElementTree.Element("testsuites", {"name": "minipeft", **counts, "time": f"{seconds:.3f}"})
    root.extend(suites)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def suite(result: dict) -> ElementTree.Element:
    items = sorted(result["exercises"], key=order)
    outcomes = [outcome(item, result) for item in items]
    began = datetime.fromisoformat(result["graded"]["at"]).astimezone(UTC)
    element = ElementTree.Element(
        "testsuite",
        name=xml(result["name"]),
        tests=str(len(items)),
        failures=str(outcomes.count("failure")),
        errors=str(outcomes.count("error")),
        skipped=str(outcomes.count("skipped")),
        time=f"{result['graded']['seconds']:.3f}",
        timestamp=f"{began:%Y-%m-%dT%H:%M:%S}",
    )
    properties = ElementTree.SubElement(element, "properties")
    points, of = total(items)
    facts = {"points": points, "of": of, "sha256": result["source"]["sha256"]}
    facts |= {f"points {item['id']}": f"{number(earned(item))} of {number(item['of'])}" for item in items}
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=name, value=str(value))
    for item, what in zip(items, outcomes, strict=True):
        element.append(case(item, what))
    return element


def outcome(item: dict, result: dict) -> str:
    if item["state"] == "passed":
        return "passed"
    return "error" if result["status"] == "unreadable" else OUTCOME.get(item["state"], "error")


def case(item: dict, what: str) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase",
        classname=xml(f"lesson {item['lesson']:02d} {item['topic']}"),
        name=xml(f"{item['id']} {item['title']}"),
        time=f"{item['seconds']:.3f}",
    )
    if what != "passed":
        message = line(f"{STATES[item['state']]}: {item['mistake'] or item['found']}")
        told = ElementTree.SubElement(element, what, message=xml(message))
        if what != "skipped":
            told.set("type", item["state"])
        told.text = xml(plain(item))
    if item["output"]:
        ElementTree.SubElement(element, "system-out").text = xml(item["output"])
    return element


def xml(text: str) -> str:
    """Without the characters that XML can't hold, not even escaped."""
    return NO_XML.sub("\ufffd", text)


# -- CSV --------------------------------------------------------------------------------------------------------------


FORMULA = re.compile(r"""(^|[;,|])([\s"']*)(?=[=+@＝＋－＠-])""")


def table(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def cell(text: str) -> str:
    """Text on one line that no spreadsheet takes for a formula: an apostrophe goes before = + - @, wide ones too.

    Also behind what may part cells: where a comma is the decimal sign, a spreadsheet splits at semicolons.
    """
    return FORMULA.sub(r"\1\2'", line(text))


NBGRADER = """
    assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score max_score
"""


def nbgrader_csv(results: Sequence[dict]) -> str:
    """One line for each learner, as `nbgrader export` writes it; the whole course is one assignment.

    The time of handing in is not known, so due date, timestamp and penalty say nothing.
    """
    rows = []
    for result in results:
        points, of = map(float, total(result["exercises"]))
        rows.append(["minipeft", "", "", cell(result["name"]), "", "", "", points, 0.0, points, of])
    return table([NBGRADER.split(), *rows])


def class_csv(results: Sequence[dict]) -> str:
    """Name, points, of, the points of each exercise, and how it went; empty where an exercise was not asked for.

    It begins with a byte order mark, by which spreadsheets know UTF-8.
    """
    asked = {item["id"]: item for result in results for item in result["exercises"]}
    columns = sorted(asked.values(), key=order)
    rows = [["name", "points", "of", *(cell(f"{item['id']} {item['title']}") for item in columns), "state"]]
    for result in results:
        points = {item["id"]: number(earned(item)) for item in result["exercises"]}
        state = f"unreadable: {result['reason']}" if result["reason"] else result["status"]
        each = [points.get(item["id"], "") for item in columns]
        rows.append([cell(result["name"]), *total(result["exercises"]), *each, cell(state)])
    return "\ufeff" + table(rows)
