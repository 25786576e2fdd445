"""The result of one submission: text made fit to be shown, the file it is kept in, and what it says in words.

A result is a plain dict, described in schema.json.  `read` holds a file to that schema with the few lines below, so
that a grader needs no library for it; the tests compare them with `jsonschema`.
"""

import functools
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ..course import record

MOST = 2000  # characters of one string in a result

# -- text -------------------------------------------------------------------------------------------------------------

ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, and where the cursor goes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"  # titles and links of a terminal
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
NEWLINE = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
UNSEEN = re.compile(
    r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    r"\u00ad\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"  # what has no shape
)
UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str, most: int = MOST) -> str:
    """Text from anywhere, fit for a result: at most `most` characters, the newline the only control character.

    Terminal sequences, and marks that hide text or turn its direction, are removed; every line ends in a newline; what
    can't be printed is written as in Python, \\x00.  Text that is too long loses its middle, and says how much.
    Clean text stays as it is.
    """
    text = ESCAPE_SEQUENCE.sub("", text)
    text = NEWLINE.sub("\n", text).expandtabs(4)
    text = UNSEEN.sub("", text)
    return shortened(UNPRINTABLE.sub(lambda m: ascii(m[0])[1:-1], text), most)


def line(text: str, most: int = 200) -> str:
    """The same on one line, for names."""
    return shortened(" ".join(clean(text).split()), most)


def shortened(text: str, most: int) -> str:
    """The beginning and the end of a long text, with a mark between them."""
    if len(text) <= most:
        return text
    mark = f"\n[... the middle of {len(text):,} characters is left out ...]\n"
    if 2 * len(mark) > most:
        mark = "…"
    tail = (most - len(mark)) // 2
    return text[: most - len(mark) - tail] + mark + text[len(text) - tail :]


# -- the file ---------------------------------------------------------------------------------------------------------


def write(path: Path, result: dict) -> None:
    """All of the file or none of it, whenever the process ends."""
    record.write(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> dict:
    """The result in a file.  Raises ValueError, in one sentence, if it is no result of version 1."""
    try:
        result = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is no result: it is not JSON; grade the submission again") from None
    fault = next(faults(result, schema(), "it"), None) or next(disagreements(result), None)
    if fault:
        raise ValueError(f"{path} is no result of version 1: {fault}; grade the submission again")
    return result


@functools.cache
def schema() -> dict:
    return json.loads(Path(__file__).with_name("schema.json").read_bytes())


TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "integer or null": (int, type(None)),
}


def faults(value: Any, rule: dict, place: str) -> Iterator[str]:
    """What is wrong with a value by a rule of schema.json, the coarsest first; knows the keywords that are used there.

    Stricter than JSON Schema in two points: a whole number written 6.0 is no integer, and a number is finite.
    """
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    kind = rule.get("type")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if kind and (not isinstance(value, TYPES[kind]) or isinstance(value, bool)):
        yield f"{place} is no {kind}"
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place} is not finite"
    allowed = [rule["const"]] if "const" in rule else rule.get("enum")
    if allowed and not any(type(value) is type(a) and value == a for a in allowed):
        yield f"{place} should be {' or '.join(map(str, allowed))}"
    if kind == "string":
        yield from text_faults(value, rule, place)
    if "minimum" in rule and value is not None and not rule["minimum"] <= value <= rule["maximum"]:
        yield f"{place} should lie between {rule['minimum']} and {rule['maximum']}"
    if kind == "array":
        if len(value) < rule.get("minItems", 0):
            yield f"{place} is empty"
        for i, item in enumerate(value):
            yield from faults(item, rule["items"], f"{place}[{i}]")
    if kind == "object":
        properties = rule["properties"]
        for name in sorted(value.keys() ^ properties.keys()):
            yield f"{place} has {'an unknown' if name in value else 'no'} {clean(name, 80)}"
        for name in properties:
            if name in value:
                yield from faults(value[name], properties[name], name if place == "it" else f"{place}.{name}")


def text_faults(value: str, rule: dict, place: str) -> Iterator[str]:
    if not rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", MOST):
        yield f"{place} is {len(value)} characters long"
    elif "pattern" in rule and not re.fullmatch(rule["pattern"], value):
        yield f"{place} is not of the form {rule['pattern']}"
    elif clean(value) != value:
        yield f"{place} has characters that can't be shown"


def disagreements(result: dict) -> Iterator[str]:
    """What a schema can't say: points that are too many or don't add up, exercises that occur twice."""
    exercises = result["exercises"]
    for item in [*exercises, result]:
        if item["points"] > item["of"]:
            yield f"it has {item['points']} of {item['of']} points"
    for key in ("points", "of"):
        total = math.fsum(item[key] for item in exercises)
        if not math.isclose(total, result[key], abs_tol=1e-9):
            yield f"{key} is {result[key]}, and {total:g} over all exercises"
    try:
        datetime.fromisoformat(result["graded"]["at"])
    except ValueError:
        yield "graded.at is no time"
    if len({item["id"] for item in exercises}) < len(exercises):
        yield "an exercise occurs twice"
    if (result["status"] == "unreadable") != bool(result["reason"]):
        yield f"it is {result['status']}, and its reason is {result['reason']!r}"
    if result["status"] == "unreadable" and any(item["state"] != "missing" or item["points"] for item in exercises):
        yield "it is unreadable, and yet has exercises that are not missing"


# -- in words ---------------------------------------------------------------------------------------------------------

STATES = {
    "passed": "passed",
    "wrong": "not right yet",
    "unwritten": "not written yet",
    "missing": "not handed in",
    "broken": "the file can't be run",
    "time": "out of time",
    "died": "ended the process",
}


def earned(item: dict) -> float:
    """The points of an exercise, never below zero nor above what it is worth."""
    return min(max(0, item["points"]), item["of"])


def total(items: list[dict]) -> tuple[float, float]:
    """Points, and the points that could be had, of these exercises together."""
    points, of = (math.fsum(numbers) for numbers in ([earned(i) for i in items], [i["of"] for i in items]))
    return number(min(points, of)), number(of)


def number(value: float) -> float:
    """To two places; whole numbers without any."""
    return int(value) if value == int(value) else round(value, 2)


def order(item: dict) -> tuple[int, ...]:
    """Exercises sort by their numbers: 15.9 before 15.10."""
    return tuple(map(int, item["id"].split(".")))


def lessons(items: list[dict]) -> dict[int, list[dict]]:
    """The exercises of each lesson, in order."""
    found: dict[int, list[dict]] = {}
    for item in sorted(items, key=order):
        found.setdefault(item["lesson"], []).append(item)
    return found


def details(item: dict) -> list[tuple[str, str]]:
    """What there is to say of an exercise that is not passed: [(label, text)].  The texts are as hostile as ever."""
    if item["state"] == "passed":
        return []
    again = f"minipeft check {item['id']} --seed {item['seed']}" if item["called"] and item["seed"] is not None else ""
    parts = [
        ("Where", f"{item['name']} in {item['where']}"),
        ("What was called", item["called"]),
        ("What came back", item["found"] if item["state"] != "unwritten" else ""),
        ("The likely mistake", item["mistake"]),
        ("A hint", item["hint"]),
        ("What the code printed", item["output"]),
        ("The same inputs again", again),
    ]
    return [(label, text) for label, text in parts if text]


def circumstances(result: dict) -> list[str]:
    """How it was graded, in sentences."""
    isolation, graded = result["isolation"], result["graded"]
    layers = ", ".join(isolation["layers"]) or "none beside the process"
    lines = [
        f"Each exercise ran in a process of its own ({isolation['process']}). Active layers of isolation: {layers}."
    ]
    lines += [f"Not active: {gone['layer']} ({gone['why']})." for gone in isolation["missing"]]
    versions = f"minipeft {graded['minipeft']}, Python {graded['python']}, torch {graded['torch']}"
    return [*lines, f"Graded at {graded['at']} with {versions}, checks {graded['course']}."]
