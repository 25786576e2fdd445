"""A made-up class whose marks are known beforehand, since each submission is put together from known parts.

    make(root, folder, n, seed) -> {name: Made}

Of each exercise a submission has the worked answer, the stub, a known wrong answer, or a hostile function.  All of it
follows from the seed.  Used by `benchmarks/grading.py` and `tests/grading/test_batch.py`.
"""

import ast
import io
import json
import random
import textwrap
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minipeft.course import stubs
from minipeft.course.exercise import Exercise, exercises

KINDS = {"whole": 20, "stubs": 10, "partial": 30, "wrong": 25, "hostile": 15}  # of 100 submissions
FORMS = {"folder": 40, "zip": 30, "file": 15, "notebook": 15}

# bodies of functions that are called with *arguments; `right` is the worked answer
HOSTILE = {
    "endless loop": "while True: pass",
    "hard exit": "import os; os._exit(0)",
    "exit": "import sys; sys.exit(0)",
    "crash": "import ctypes; ctypes.string_at(0)",
    "fork bomb": "import os\nwhile True: os.fork()",
    "memory bomb": "held = []\nwhile True: held.append(bytearray(10**8))",
    "print flood, and the right answer": "for _ in range(20): print('x' * 10**6)\nreturn right(*arguments)",
    "lying tensor": """
        import torch
        class Yes(torch.Tensor):
            __torch_function__ = classmethod(lambda *_, **__: True)
            __eq__ = lambda *_: True
        return torch.full((3,), 0.1234).as_subclass(Yes)""",
    "forged report": """
        import os
        for path in ("results.json", "report.xml", "../results.json"):
            open(path, "w").write('{"score": 500}')
        os._exit(0)""",
    "kills its parent": "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)",
}
EARNS = {"print flood, and the right answer"}  # the right mark for a right answer


@dataclass
class Made:
    kind: str
    form: str
    points: dict[str, int] = field(default_factory=dict)  # by exercise, what it must get
    hints: dict[str, str] = field(default_factory=dict)  # of the known wrong answers, what it should be told


def make(root: Path, folder: Path, n: int, seed: int = 0) -> dict[str, Made]:
    """Write n submissions to the course at `root` into a new folder."""
    chance, items = random.Random(seed), exercises(root)
    sources = {item.topic: Topic(root, item.topic, items) for item in items}
    folder.mkdir(parents=True)
    made = {}
    for i, kind in enumerate(shares(KINDS, n)):
        one = made[f"learner-{i + 1:03d}"] = Made(kind, chance.choices([*FORMS], [*FORMS.values()])[0])
        topics = [*sources]
        if one.form in ("file", "notebook"):
            topics = [chance.choice(topics)]
        elif kind not in ("whole", "stubs"):
            topics = sorted(chance.sample(topics, chance.randint(-(-len(topics) // 4), len(topics))))
        one.points = {item.id: 0 for item in items}
        texts = {topic: sources[topic].text(one, parts(kind, sources[topic].items, chance)) for topic in topics}
        save(folder / f"learner-{i + 1:03d}", one.form, texts)
    return made


def shares(of: dict[str, int], n: int) -> list[str]:
    """n keys, spread evenly, each as often as its weight says."""
    each = [(k / weight, name) for name, weight in of.items() for k in range(1, n + 1)]
    return [name for _, name in sorted(each)[:n]]


def parts(kind: str, items: Sequence[Exercise], chance: random.Random) -> dict[str, str]:
    """{function: "right", "stub", "wrong" or a name in HOSTILE}"""
    if kind in ("whole", "stubs"):
        return {item.name: "right" if kind == "whole" else "stub" for item in items}
    weights = {"partial": (60, 40, 0), "wrong": (40, 10, 50), "hostile": (70, 30, 0)}[kind]
    found = {item.name: chance.choices(("right", "stub", "wrong"), weights)[0] for item in items}
    if kind == "hostile" and chance.random() < 0.5:  # in half of the files, so that there are not too many loops
        found[chance.choice([*found])] = chance.choice([*HOSTILE])
    return found


class Topic:
    """One file of the course, and what can be put into it."""

    def __init__(self, root: Path, name: str, items: Iterable[Exercise]):
        self.items = [item for item in items if item.topic == name]
        self.by_name = {item.name: item for item in self.items}
        self.answers = (root / "solutions" / f"{name}.py").read_text(encoding="utf-8")
        self.stub = stubs.stub(self.answers, self.items)
        mistakes = root / "tests" / "exercises" / "wrong" / f"{name}.py"
        self.mistakes = mistakes.read_text(encoding="utf-8") if mistakes.exists() else ""

    def text(self, made: Made, parts: dict[str, str]) -> str:
        """The file, and into `made` what must come of it."""
        text = self.stub
        for name, part in parts.items():
            item = self.by_name[name]
            if part == "right":
                text = stubs.put_back(text, self.answers, name)
            elif part == "wrong" and (known := item.wrong_answers()):
                function = known[len(text) % len(known)]
                made.hints[item.id] = function.hint
                text = stubs.put_back(text, mistaken(self.mistakes, name, function.__name__), name)
            elif part in HOSTILE:
                answer = stubs.answer(self.answers, name).replace(f"def {name}(", "def right(", 1)
                text = stubs.put_back(text, around(name, answer, textwrap.dedent(HOSTILE[part]).strip()), name)
            if part == "right" or part in EARNS:
                made.points[item.id] = item.points
        return text


def mistaken(mistakes: str, name: str, which: str) -> str:
    """A known wrong answer under the exercise's name, with the helpers and imports of its file inside it."""
    kept = []
    for node in ast.parse(mistakes).body:
        known = isinstance(node, ast.FunctionDef) and node.decorator_list
        ours = isinstance(node, ast.ImportFrom) and node.module.startswith("minipeft")
        if ours or isinstance(node, ast.Expr) or (known and node.name != which):
            continue
        if known:
            node.decorator_list = []
        kept.append(ast.unparse(node))
    return around(name, *kept, f"return {which}(*arguments)")


def around(name: str, *parts: str) -> str:
    return f"def {name}(*arguments):\n" + textwrap.indent("\n".join(parts), "    ") + "\n"


# -- the forms of a submission ----------------------------------------------------------------------------------------


def save(path: Path, form: str, texts: dict[str, str]) -> None:
    """At `path`, with the ending that the form has."""
    files = {f"exercises/{topic}.py": text for topic, text in texts.items()}
    if form == "folder":
        for name, text in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text, encoding="utf-8")
    elif form == "zip":
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in {**files, "notes.txt": "done!", "__MACOSX/._notes.txt": "\0"}.items():
                archive.writestr(zipfile.ZipInfo(f"work/{name}"), text)
        path.with_suffix(".zip").write_bytes(data.getvalue())
    else:
        (text,) = texts.values()
        suffix, text = (".py", text) if form == "file" else (".ipynb", notebook(text))
        path.with_suffix(suffix).write_text(text, encoding="utf-8")


def notebook(text: str) -> str:
    """The same in cells, one for each statement at the top level, among some that are no concern of a grader's."""
    cells = [ast.get_source_segment(text, node) for node in ast.parse(text).body]
    cells = ["%matplotlib inline", *cells, "check()", "1 / 0"]
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    content = {
        "nbformat": 4, "nbformat_minor": 5, "metadata": {},
        "cells": [
            {"id": "top", "cell_type": "markdown", "metadata": {}, "source": "# My work"},
            *({**code, "id": f"cell-{i}", "source": cell} for i, cell in enumerate(cells)),
        ],
    }  # fmt: skip
    return json.dumps(content)
