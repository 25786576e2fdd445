"""Clean text, the file a result is kept in, and the schema it is held to."""

import json
import math
import re
import time
import unicodedata
from copy import deepcopy

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipeft.grading import result as results
from minipeft.grading.result import MOST, STATES, clean, details, earned, lessons, line, read, schema, total, write


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain, ünïcödé, مرحبا, 👩‍💻\n", "plain, ünïcödé, مرحبا, 👩‍💻\n"),
        ("\x1b[1;31mred\x1b[0m, \x9b2Jgone", "red, gone"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\x1b(B\x1b7\x1bMx\x1bPq#0\x1b\\y", "xy"),
        ("\x1b\x1b[0m[0m", "\\x1b[0m"),  # removing one sequence makes no other
        ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne"),
        ("\x1b[0m\r\x1b[0m\n", "\n"),
        ("a\tb\n\tc", "a   b\n    c"),
        ("nul \x00, bell \x07, delete \x7f", "nul \\x00, bell \\x07, delete \\x7f"),
        ("\ud83d alone \udc80", "\\ud83d alone \\udc80"),
        ("\uffff", "\\uffff"),
        ("access\u202egnp.exe \u2067x\u2069\u200e\u061c", "accessgnp.exe x"),
        ("pass\u200b\ufeff\u00aded", "passed"),
    ],
)
def test_clean(given, shown):
    assert clean(given) == shown


@given(
    st.text(st.characters(categories=["C", "Z", "L", "P"]) | st.sampled_from("\x1b\x9b[]m0\r\n\u202e\\"), max_size=90)
)
def test_clean_text_is_fit_for_everything_and_stays_as_it_is(text):
    shown = clean(text)
    assert clean(shown) == shown
    shown.encode()
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)


@given(st.text(max_size=400), st.integers(1, 200))
def test_clean_text_is_never_longer_than_asked(text, most):
    assert len(clean(text, most)) <= most


def test_long_text_keeps_its_ends_and_says_what_is_lost():
    shown = clean("start" + 5000 * "x" + "end")
    assert shown.startswith("startxxx") and shown.endswith("xxxend") and len(shown) == MOST
    assert "\n[... the middle of 5,008 characters is left out ...]\n" in shown
    assert clean("a" * 50, 9) == "aaaa…aaaa"


@pytest.mark.parametrize("text", ["\x1b]", "\x90", "\x1b[0", "\x1b[ ", "\x1b", "\r", "\ud800", "\x9b;"])
def test_no_text_takes_long_to_clean(text):
    start = time.process_time()
    clean(text * 30_000)
    assert time.process_time() - start < 2


def test_a_name_is_one_line():
    assert line(" a\r\n\tb \x1b[31m ") == "a b"
    assert len(line("x" * 300)) == 200


def test_what_is_written_is_read(tmp_path, ada, mallory, unreadable):
    for result in (ada, mallory, unreadable):
        write(tmp_path / "class" / "x.json", result)
        assert read(tmp_path / "class" / "x.json") == result
    assert [p.name for p in (tmp_path / "class").iterdir()] == ["x.json"]


def test_a_result_that_is_no_json_leaves_the_last_one_in_place(tmp_path, ada):
    path = tmp_path / "ada.json"
    write(path, ada)
    with pytest.raises(ValueError):
        write(path, ada | {"points": math.nan})
    assert read(path) == ada


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b"{}", b"1" * 5000, b'"\\ud800"', b"NaN"]
)
def test_what_is_no_result_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "ada.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"ada.json is no result.*grade the submission again$"):
        read(tmp_path / "ada.json")


def refusal(tmp_path, result) -> str:
    (tmp_path / "ada.json").write_text(json.dumps(result))
    with pytest.raises(ValueError) as error:
        read(tmp_path / "ada.json")
    return str(error.value).split(": ", 1)[1].removesuffix("; grade the submission again")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(version=2), "version should be 1"),
        (lambda r: r.update(version=True), "version should be 1"),
        (lambda r: r.update(points=True), "points is no number"),
        (lambda r: r.update(points=1e400), "points is not finite"),
        (lambda r: r.update(points=-1), "points should lie between 0 and 1000000"),
        (lambda r: r.update(of=10**4000), "of should lie between 0 and 1000000"),
        (lambda r: r.update(extra=1), "it has an unknown extra"),
        (lambda r: r.pop("limits"), "it has no limits"),
        (lambda r: r.update(exercises=[]), "exercises is empty"),
        (lambda r: r["exercises"][1].update(state="solved"), "exercises[1].state should be passed or wrong or"),
        (lambda r: r["exercises"][1].update(id="15.2\n"), "exercises[1].id is not of the form"),
        (lambda r: r["exercises"][1].update(found="\x1b[0m"), "exercises[1].found has characters that can't be shown"),
        (lambda r: r["exercises"][1].update(found="x" * 2001), "exercises[1].found is 2001 characters long"),
        (lambda r: r.update(name="\u202egpj.exe"), "name has characters that can't be shown"),
        (lambda r: r["exercises"][0].update(points=7, of=6), "it has 7 of 6 points"),
        (lambda r: r.update(points=7), "points is 7, and 7.25 over all exercises"),
        (lambda r: r.update(of=100), "of is 100, and "),
        (lambda r: r["exercises"][1].update(id="15.1"), "an exercise occurs twice"),
        (lambda r: r["exercises"][0].update(seed=-1), "exercises[0].seed should lie between 0 and"),
        (lambda r: r["exercises"][0].update(seed="1"), "exercises[0].seed is no integer or null"),
        (lambda r: r["graded"].update(at="2026-99-99T12:00:00Z"), "graded.at is no time"),
        (lambda r: r.update(reason="no zip"), "it is graded, and its reason is 'no zip'"),
        (lambda r: r.update(status="unreadable", reason="no zip"), "it is unreadable, and yet has exercises that are"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, ada, change, sentence):
    change(ada)
    assert refusal(tmp_path, ada).startswith(sentence)


def places(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def test_every_place_is_held_to_the_schema_as_jsonschema_holds_it(ada):
    """Each value in turn is replaced by others, or taken away: both say the same about what comes of it."""
    reference = jsonschema.Draft202012Validator(schema())
    reference.check_schema(schema())
    ada["exercises"] = ada["exercises"][1:2]
    refused = accepted = 0
    for path in list(places(ada))[1:]:
        for other in [
            None,
            True,
            -1,
            1,
            2.5,
            1e7 + 0.5,
            10**400,
            "",
            "x",
            "x\ny",
            "y" * 2001,
            [],
            ["x"],
            [1],
            {},
            "absent",
        ]:
            changed = deepcopy(ada)
            *way, last = path
            inner = changed
            for key in way:
                inner = inner[key]
            if other == "absent":
                del inner[last]
            else:
                inner[last] = other
            ours = next(results.faults(changed, schema(), "it"), None)
            assert (ours is None) == reference.is_valid(changed), (path, other, ours)
            refused, accepted = refused + bool(ours), accepted + (not ours)
    assert refused > 700 and accepted > 70


def rules(rule: dict):
    yield rule
    for inner in [*rule.get("properties", {}).values(), *rule.get("$defs", {}).values(), rule.get("items")]:
        if inner:
            yield from rules(inner)


def test_the_schema_is_described_closed_and_within_what_read_knows():
    known = {"$schema", "$defs", "$ref", "title", "description", "type", "format", "const", "enum", "properties"}
    known |= {"required", "additionalProperties", "items", "minItems", "minLength", "maxLength", "pattern"}
    known |= {"minimum", "maximum"}
    for rule in rules(schema()):
        assert rule.keys() <= known
        if rule.get("type") == "object":
            assert rule["additionalProperties"] is False
            assert sorted(rule["required"]) == sorted(rule["properties"])
            assert all(inner["description"] for inner in rule["properties"].values())
        if rule.get("type") in ("number", "integer", ["integer", "null"]):
            assert {"minimum", "maximum"} <= rule.keys()


def test_every_state_has_its_word_and_stands_in_the_fixture(ada):
    states = schema()["$defs"]["exercise"]["properties"]["state"]["enum"]
    assert {item["state"] for item in ada["exercises"]} == set(states) == set(STATES)


def test_points_are_bounded_and_whole_where_they_are(ada):
    assert total(ada["exercises"]) == (7.25, 32.75)
    assert total([{"points": 2.0, "of": 4}, {"points": 0.1 + 0.2, "of": 2}]) == (2.3, 6)
    assert repr(total([{"points": 2.0, "of": 4.0}])) == "(2, 4)"
    for points, counted in [(-1, 0), (7, 6), (math.inf, 6), (math.nan, 0), (5.5, 5.5)]:
        assert earned({"points": points, "of": 6}) == counted


def test_exercises_are_sorted_by_number_within_their_lessons(ada):
    later = ada["exercises"][0] | {"id": "15.10"}
    assert [item["id"] for item in lessons([later, *reversed(ada["exercises"])])[15]] == [
        *(f"15.{n}" for n in range(1, 8)),
        "15.10",
    ]


def test_details_name_the_command_for_the_same_inputs_where_something_was_called(ada):
    passed, wrong, _, missing, *_ = ada["exercises"]
    assert details(passed) == []
    assert dict(details(wrong))["The same inputs again"] == "minipeft check 15.2 --seed 123456"
    assert [label for label, _ in details(missing)] == ["Where", "What came back", "A hint"]
    assert "The same inputs again" not in dict(details(wrong | {"seed": None}))
