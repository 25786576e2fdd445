"""Results as pages: one for each learner, and one for the class.

A page is one file that needs no network and no script, and its Content-Security-Policy allows none.  Every text goes
through `escape`, names and whatever a learner's code said go through it into elements that keep their direction apart.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from .result import STATES, circumstances, details, earned, lessons, number, order, total

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def page(title: str, body: str, kind: str = "") -> str:
    """A whole page; `title` is text, `body` HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY.format(HASH)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body{kind}>
{body}
</body>
</html>
"""


# -- one learner ------------------------------------------------------------------------------------------------------


def learner_page(result: dict) -> str:
    """The page of one learner: points, what came back where something is not right, and how it was graded."""
    items = sorted(result["exercises"], key=order)
    points, of = total(items)
    passed = sum(item["state"] == "passed" for item in items)
    reason = f'<p class="warning">It could not be read: {bdi(result["reason"])}</p>' if result["reason"] else ""
    body = f"""<header>
<h1>{bdi(result["name"])}</h1>
<p class="sum">{points} of {of} points, {passed} of {len(items)} exercises passed</p>
<p class="quiet">Graded on {day(result)}</p>
{reason}</header>
<main>
<section aria-labelledby="points">
<h2 id="points">Points</h2>
{points_by_lesson(items)}
</section>
<section aria-labelledby="seen">
<h2 id="seen">What was looked at</h2>
{looked_at(result["source"])}
</section>
<section aria-labelledby="exercises">
<h2 id="exercises">Exercises</h2>
{"".join(lesson_section(n, group, result) for n, group in lessons(items).items())}</section>
<section aria-labelledby="how">
<h2 id="how">How it was graded</h2>
{how(result)}
</section>
</main>
{FOOTER}"""
    return page(f"{result['name']}: {points} of {of} points", body)


FOOTER = '<footer class="quiet"><p>Made by minipeft. This page is complete in itself and loads nothing.</p></footer>'


def points_by_lesson(items: list[dict]) -> str:
    rows = []
    for lesson, group in lessons(items).items():
        points, of = total(group)
        passed = sum(item["state"] == "passed" for item in group)
        link = f'<a href="#lesson-{lesson}">Lesson {lesson}</a> <small>{escape(topics(group))}</small>'
        rows.append(row(link, f"{passed} of {len(group)}", f"{points} of {of}"))
    points, of = total(items)
    passed = sum(item["state"] == "passed" for item in items)
    return table(
        "Points by lesson",
        ["Lesson", "Exercises passed", "Points"],
        rows,
        row("Together", f"{passed} of {len(items)}", f"{points} of {of}"),
    )


def topics(items: list[dict]) -> str:
    return ", ".join(dict.fromkeys(item["topic"].replace("_", " ") for item in items))


def looked_at(source: dict) -> str:
    files = "".join(f"<li>{bdi(name)}</li>" for name in source["files"]) or "<li>no file with exercises</li>"
    notes = "".join(f"<p>{bdi(note)}</p>" for note in source["notes"])
    digest = f'<p class="quiet">SHA-256 of what was handed in: {escape(source["sha256"])}</p>'
    return f"<ul>{files}</ul>\n{notes}\n{digest}"


def lesson_section(lesson: int, items: list[dict], result: dict) -> str:
    """The exercises of a lesson; what is said once for all that was handed in is not said again for each."""
    points, of = total(items)
    told = result["status"] == "graded"
    articles = "".join(exercise(item, details(item) if told else []) for item in items)
    return f"""<section aria-labelledby="lesson-{lesson}">
<h3 id="lesson-{lesson}">Lesson {lesson}: {escape(topics(items))}</h3>
<p class="quiet">{points} of {of} points</p>
{articles}</section>
"""


CODE = ("What was called", "What the code printed", "The same inputs again")


def detail(label: str, text: str) -> str:
    kind = 'class="code" dir="ltr"' if label in CODE else 'dir="auto"'
    return f"<dd {kind}>{escape(text)}</dd>"


def exercise(item: dict, told: list[tuple[str, str]]) -> str:
    state, points = item["state"], f"{number(earned(item))} of {number(item['of'])}"
    where = f'<p class="quiet">{escape(item["name"])} in {bdi(item["where"])}</p>' if told else ""
    parts = "".join(f"<dt>{label}</dt>{detail(label, text)}\n" for label, text in told if label != "Where")
    return f"""<article aria-labelledby="e{escape(item["id"])}">
<div class="line"><h4 id="e{escape(item["id"])}">{escape(item["id"])} {escape(item["title"])}</h4>
<p class="state {escape(state)}"><b>{STATES[state]}</b>, {points} points</p></div>
{where}{f"<dl>{parts}</dl>" if parts else ""}</article>
"""


def how(result: dict) -> str:
    """Isolation, limits and versions, folded."""
    limits = result["limits"]
    rows = [
        row("Time for one call", f"{limits['call_seconds']:g} s"),
        row("Time for one exercise", f"{limits['exercise_seconds']:g} s"),
        row("Memory", size(limits["memory_bytes"])),
        row("Processes and threads", f"{limits['processes']}"),
        row("File that may be written", size(limits["disk_bytes"])),
        row("One answer", size(limits["answer_bytes"])),
    ]
    said = "".join(f"<p>{escape(text)}</p>" for text in circumstances(result))
    limited = table("What the code was given", ["Limit", "At most"], rows)
    return f"<details><summary>Isolation, limits and versions</summary>\n{said}\n{limited}</details>"


def size(count: int) -> str:
    return f"{count / 2**20:,.4g} MiB"


def day(result: dict) -> str:
    at = datetime.fromisoformat(result["graded"]["at"]).astimezone(UTC)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at.day} {at:%B %Y, %H:%M} UTC</time>'


def bdi(text: str) -> str:
    """A learner's text within a sentence: it is escaped, and its direction ends where it ends."""
    return f"<bdi>{escape(text)}</bdi>"


def table(caption: str, heads: Sequence[str], rows: Sequence[str], foot: str = "", attributes: str = "") -> str:
    """A table of rows that `row` made; caption and heads are HTML.  Where it is too wide, it scrolls in itself."""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    foot = f"\n<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll"{attributes}><table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody>{foot}\n</table></div>"
    )


def row(head: str, *cells: str) -> str:
    """A row of a table, its head and cells HTML."""
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'


# -- the class --------------------------------------------------------------------------------------------------------


def class_page(results: Sequence[dict], similar: Sequence = ()) -> str:
    """The overview of a class: everyone's points with a link to reports/NAME.html, and how each exercise went.

    Of the pairs in `similar` it says how many there are; similarity.html shows them.
    """
    spread = [total(result["exercises"]) for result in results]
    points = sorted(points for points, _ in spread)
    best = max((of for _, of in spread), default=0)
    sums = f"Median {middle(points)} of {best} points, from {points[0]} to {points[-1]}" if points else "Nobody yet"
    unread = [bdi(result["name"]) for result in results if result["status"] == "unreadable"]
    warning = f'<p class="warning">Could not be read: {", ".join(unread)}</p>' if unread else ""
    people = f"{len(results)} submission{'s' * (len(results) != 1)}"
    body = f"""<header>
<h1>{people}</h1>
<p class="sum">{sums}</p>
{warning}</header>
<main>
<section aria-labelledby="learners">
<h2 id="learners">Learners</h2>
{learners(results)}
</section>
<section aria-labelledby="exercises">
<h2 id="exercises">Exercises</h2>
{exercises(results)}
</section>
<section aria-labelledby="similar">
<h2 id="similar">Who wrote the same</h2>
{alike(similar)}
</section>
<section aria-labelledby="how">
<h2 id="how">How they were graded</h2>
{ways(results)}
</section>
</main>
{FOOTER}"""
    return page(f"{people}. {sums}", body, ' class="wide"')


def middle(points: list[float]) -> float:
    """The median."""
    half = len(points) // 2
    return number((points[half] + points[-half - 1]) / 2)


def learners(results: Sequence[dict]) -> str:
    groups = [lessons(result["exercises"]) for result in results]
    asked = sorted({lesson for group in groups for lesson in group})
    heads = ["Name", "Points", *(f'<span class="hidden">Lesson </span>{lesson}' for lesson in asked)]
    rows = []
    for result, group in zip(results, groups, strict=True):
        link = f'<a href="reports/{escape(quote(result["name"], safe=""))}.html">{bdi(result["name"])}</a>'
        each = [str(total(group[lesson])[0]) if lesson in group else "" for lesson in asked]
        unread = " <small>could not be read</small>" if result["status"] == "unreadable" else ""
        rows.append(row(link + unread, str(total(result["exercises"])[0]), *each))
    full = {lesson: total(items)[1] for group in groups for lesson, items in group.items()}
    foot = row("Could be had", str(number(sum(full.values()))), *(str(full[lesson]) for lesson in asked))
    reached = ' role="region" aria-label="Points of all learners" tabindex="0"'  # so that keys scroll it
    return table("Points together, and in each lesson by its number", heads, rows, foot if results else "", reached)


def exercises(results: Sequence[dict]) -> str:
    """How often each exercise was passed, not right, or not there, and which were tried in vain."""
    tried: dict[str, list[dict]] = {}
    for item in sorted((item for result in results for item in result["exercises"]), key=order):
        tried.setdefault(item["id"], []).append(item)
    rows, nobody = [], []
    for entries in tried.values():
        states = [item["state"] for item in entries]
        passed, absent = states.count("passed"), states.count("unwritten") + states.count("missing")
        name = f"{escape(entries[0]['id'])} {escape(entries[0]['title'])}"
        nobody += [name] if not passed and absent < len(states) else []
        counts = [f"{passed} of {len(states)}", str(len(states) - passed - absent), str(absent)]
        rows.append(row(name, *counts, bar(passed / len(states))))
    said = f"<p>Tried, but passed by nobody: {', '.join(nobody)}.</p>\n" if nobody else ""
    heads = ["Exercise", "Passed", "Not right", "Not there", '<span class="hidden">Share that passed</span>']
    return said + table("How often each was passed", heads, rows)


def bar(share: float) -> str:
    """A drawing of what the number beside it says, so a screen reader passes over it."""
    whole = '<rect class="rest" width="100" height="8"/>'
    return (
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'{whole}<rect width="{100 * share:.1f}" height="8"/></svg>'
    )


def alike(similar: Sequence) -> str:
    pairs = f"{len(similar)} pair{'s' * (len(similar) != 1)} of submissions" if similar else "No pair of submissions"
    return f'<p>{pairs} share more than chance would: <a href="similarity.html">what they share</a>.</p>'


def ways(results: Sequence[dict]) -> str:
    """The isolation of all, once for those that had the same."""
    groups: dict[str, int] = {}
    for result in results:
        said = " ".join(circumstances(result)[:-1])
        groups[said] = groups.get(said, 0) + 1
    lines = "".join(f"<p>{count} of {len(results)}: {escape(said)}</p>" for said, count in groups.items())
    return f"<details><summary>Isolation</summary>\n{lines}</details>"
