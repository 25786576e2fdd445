"""Results to show: one learner with every state, and with texts that try to be more than text."""

import pytest

HOSTILE = {
    "script": "</script><script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "title": "</title></head><body onload=alert(1)>",
    "style": "</style><style>*{display:none}</style>",
    "comment": "--><b>bold</b><!--",
    "cdata": "]]></failure><failure/>",
    "entity": "&lt;b&gt; &amp; &#60;",
    "link": "[click](javascript:alert(1)) <javascript:alert(1)>",
    "fence": "```\n````\n~~~\n# heading\n| a | b |\n<details open>\n",
    "command": "::error::gotcha\n##[error]gotcha\n  ::set-output name=points::500\n::stop-commands::x",
    "formula": '=HYPERLINK("http://localhost/?"&A1;"click")',
    "arabic": "مرحبا بالعالم",
    "quote": "it's \"so\", isn't it; `tick` \\ {brace} %s $x",
}


def exercise(number: int, state: str, lesson: int = 15, of: float = 6, **texts: str) -> dict:
    passed = state == "passed"
    names = ["layer", "init", "merged", "count", "gradients", "rank", "switched"]
    item = {
        "id": f"{lesson:02d}.{number}",
        "name": f"lora_{names[number - 1]}",
        "title": ["The layer", "First values", "Folded in", "How many numbers train", "Find the mistake: gradients by "
                  "hand", "The rank of a sum", "Several tasks at once"][number - 1],
        "topic": "lora",
        "lesson": lesson,
        "points": of if passed else 0,
        "of": of,
        "state": state,
        "where": "exercises/lora.py",
        "called": "" if passed else "lora_linear(x: b=2 t=3 d_in=5, W: d_out=7 d_in=5, bias: d_out=7, alpha=6.1)",
        "found": "" if passed else "the right shape, but wrong values: at [0, 0, 0] 0.31 instead of 0.52; "
        "42 of 42 numbers differ by more than 1e-05, the largest difference is 1.7",
        "mistake": "",
        "hint": "" if passed else "Which parts of the result would be there without LoRA, and may alpha touch them?",
        "seed": 123456,
        "output": "",
        "seconds": 0.12,
    }  # fmt: skip
    return item | texts


def finished(name: str, exercises: list[dict], **fields) -> dict:
    """A result around these exercises."""
    return {
        "format": "minipeft-result",
        "version": 1,
        "name": name,
        "source": {"kind": "zip", "sha256": "5e" * 32, "files": ["exercises/lora.py"], "notes": []},
        "status": "graded",
        "reason": "",
        "points": sum(item["points"] for item in exercises),
        "of": sum(item["of"] for item in exercises),
        "exercises": exercises,
        "isolation": {
            "process": "fork",
            "layers": ["user namespace", "no network", "Landlock"],
            "missing": [{"layer": "another uid", "why": "the grader does not run as root"}],
        },
        "limits": {
            "call_seconds": 10.0,
            "exercise_seconds": 60.0,
            "memory_bytes": 2 << 30,
            "processes": 64,
            "disk_bytes": 64 << 20,
            "answer_bytes": 64 << 20,
        },
        "graded": {
            "minipeft": "0.1.0",
            "python": "3.11.7",
            "torch": "2.13.0",
            "course": "40c71fdf",
            "at": "2026-01-31T12:00:00+00:00",
            "seconds": 12.3,
        },
    } | fields


def every_state() -> list[dict]:
    nothing = {"called": "", "seconds": 0.0, "seed": None}
    return [
        exercise(1, "passed"),
        exercise(2, "wrong", of=4, mistake="alpha / r scales the frozen path too: it belongs to the change alone"),
        exercise(3, "unwritten", of=4, called="", found="write lora_merged in exercises/lora.py"),
        exercise(4, "missing", of=3, found="exercises/lora.py has no function lora_count", **nothing),
        exercise(5, "broken", of=4, found="exercises/lora.py, line 3 is not Python: '(' was never closed", **nothing),
        exercise(6, "time", of=4, found="nothing within 10 seconds: is there an endless loop?", seconds=10.02),
        exercise(7, "died", of=5, found="the process ended: signal 11 (segmentation fault)"),
        exercise(1, "passed", lesson=16, of=0.5),
        exercise(2, "wrong", lesson=16, of=2.25, points=0.75, output="loss 3.2\nloss 2.1\n"),
    ]


@pytest.fixture
def ada() -> dict:
    """A learner with every state, a half-earned exercise, and friendly texts."""
    result = finished("ada", every_state())
    result["source"]["notes"] = [
        "conftest.py was not looked at.",
        "lora.py occurs twice: the one in exercises/ counts.",
    ]
    return result


@pytest.fixture
def mallory() -> dict:
    """The same with a hostile string in every place that a learner can reach."""
    texts, items = list(HOSTILE.values()), every_state()
    for i, item in enumerate(items):
        for j, key in enumerate(("where", "called", "found", "mistake", "output")):
            item[key] = texts[(5 * i + j) % len(texts)]
    result = finished('"><img src=x onerror=alert(1)></title>`` [x](y) `', items)
    result["source"]["files"] = [text.replace("\n", " ") for text in texts]
    result["source"]["notes"] = texts
    return result


@pytest.fixture
def unreadable() -> dict:
    """What was handed in is no archive."""
    reason = "work.zip is damaged: hand it in again"
    items = [item | {"state": "missing", "points": 0, "found": reason} for item in every_state()]
    return finished("=cmd|' /C calc'!A0", items, status="unreadable", reason=reason)
