"""Exercises made from worked answers: the file stays, the marked bodies go.

    def half(x: Tensor) -> Tensor:                      # 3.1 Half · easy · 5 minutes · 2 points
        \"\"\"x / 2.\"\"\"                                    def half(x: Tensor) -> Tensor:
        # BEGIN SOLUTION                                    \"\"\"x / 2.\"\"\"
        return x / 2                                        raise NotImplementedError("exercise 3.1")
        # END SOLUTION

Where a mistake is to be found, the learner starts from code that has it: commented lines after `# GIVEN`, which stand
last in the marked part, become the stub's body.
"""

import ast
import hashlib
from collections.abc import Sequence
from pathlib import Path

from .exercise import Exercise, exercises

BEGIN, GIVEN, END = "# BEGIN SOLUTION", "# GIVEN", "# END SOLUTION"


def version(text: str) -> str:
    """A short name for the content of a source file."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def functions(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def first_line(topic: str, made_from: str) -> str:
    return (
        f"# Write here, save, and check: `minipeft check`, or check() in the lesson.  ({topic}, version {made_from})\n"
    )


def stub(source: str, items: Sequence[Exercise]) -> str:
    """The learner's file for one source of worked answers.

    Raises ValueError where a marker is unpaired, an exercise has no marked body, or a marked body is no exercise.
    """
    by_name = {item.name: item for item in items}
    nodes = functions(source)
    if missing := sorted(by_name.keys() - nodes.keys()):
        raise ValueError(f"these exercises have no worked answer: {', '.join(missing)}")
    starts = {
        min([node.lineno, *(d.lineno for d in node.decorator_list)]): by_name[n]
        for n, node in nodes.items()
        if n in by_name
    }
    owner = {line: by_name.get(n) for n, node in nodes.items() for line in range(node.lineno, node.end_lineno + 2)}

    out: list[str] = []
    done: set[str] = set()
    mode = None  # inside a marked body: "solution", then maybe "given"
    for number, line in enumerate(source.splitlines(keepends=True), 1):
        if number in starts:
            out.append(f"# {starts[number].header}\n")
        mark, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        if mark == BEGIN:
            item = owner.get(number)
            if mode or item is None or item.name in done:
                raise ValueError(f"line {number}: {BEGIN} belongs once into the function of an exercise")
            mode, given = "solution", []
        elif mark == GIVEN and mode == "solution":
            mode = "given"
        elif mark == END:
            if not mode:
                raise ValueError(f"line {number}: {END} without {BEGIN}")
            out += given or [f'{indent}raise NotImplementedError("exercise {item.id}")\n']
            done.add(item.name)
            mode = None
        elif mode == "given":
            given.append(indent + line.lstrip().removeprefix("# ").removeprefix("#\n"))
        elif not mode:
            out.append(line)
    if mode or done != set(by_name):
        raise ValueError(f"{BEGIN} and {END} are missing in {', '.join(sorted(set(by_name) - done))}")
    text = "".join(out)
    return first_line(items[0].topic, version(text)) + text


def answer(source: str, name: str) -> str:
    """One worked answer, without its markers."""
    lines = ast.get_source_segment(source, functions(source)[name]).splitlines()
    kept, skip = [], False
    for line in lines:
        skip = (skip or line.strip() == GIVEN) and line.strip() != END
        if not skip and line.strip() not in (BEGIN, END):
            kept.append(line)
    return "\n".join(kept)


def stub_of(root: Path, topic: str) -> str:
    """The stub of exercises/<topic>.py: made from the worked answers, or as it came with a bundle that has none.

    Raises FileNotFoundError where there is neither.
    """
    source, handed_out = root / "solutions" / f"{topic}.py", root / "tests" / "exercises" / "stubs" / f"{topic}.py"
    if source.exists():
        return stub(source.read_text(encoding="utf-8"), [item for item in exercises(root) if item.topic == topic])
    if handed_out.exists():
        return handed_out.read_text(encoding="utf-8")
    raise FileNotFoundError(f"there is no {source.relative_to(root)} to make exercises/{topic}.py from")


def question(root: Path, item: Exercise) -> str:
    """Signature and docstring of an exercise (with the code that is given), from the stub, or from the learner's file
    where there is nothing to make the stub from."""
    try:
        text = stub_of(root, item.topic)
    except FileNotFoundError:
        text = (root / "exercises" / f"{item.topic}.py").read_text(encoding="utf-8")
    source = ast.get_source_segment(text, functions(text)[item.name])
    return source.removesuffix(f'    raise NotImplementedError("exercise {item.id}")').rstrip()


def topics(root: Path) -> list[str]:
    """The exercise files of a course."""
    return list(dict.fromkeys(item.topic for item in exercises(root)))


def put_back(text: str, fresh: str, name: str) -> str:
    """A learner's file with one function as it is in the stub, and everything else as the learner has it.

    Raises SyntaxError if the learner's file can't be read.
    """
    mine, theirs = functions(text), functions(fresh)
    new = ast.get_source_segment(fresh, theirs[name])
    lines = text.splitlines(keepends=True)
    if name not in mine:
        return "".join(lines).rstrip("\n") + f"\n\n\n{new}\n"
    node = mine[name]
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "".join([*lines[: first - 1], new + "\n", *lines[node.end_lineno :]])


def state(root: Path, topic: str) -> str:
    """Of exercises/<topic>.py: "current", "edited" (a learner's work on the current stub), "stale" or "missing"."""
    path, fresh = root / "exercises" / f"{topic}.py", stub_of(root, topic)
    if not path.exists():
        return "missing"
    text = path.read_text(encoding="utf-8")
    if text == fresh:
        return "current"
    mine, newest = text.split("\n", 1)[0], fresh.split("\n", 1)[0]
    return "stale" if mine.startswith("# Write here, save, and check") and mine != newest else "edited"
