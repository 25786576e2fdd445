"""Do the exercises' checks refuse what is wrong?  Each worked answer, with one thing in it changed, and its own check.

    make mutants                                    all of them
    python -m tests.exercises.mutate 15.3           those of one exercise, or of a lesson: 15

A mutant is killed if the check refuses it with each seed; one that passes with any seed is let through.  What is let
through is reported, and the exit status is 1, unless `equivalent.toml` says why it is no mistake: it computes the same
for everything that the question allows.  An entry there that fits no mutant, or one that is killed, is an error too.

Existing tools start the tests anew for each mutant.  Here a check takes milliseconds and starting takes seconds, so
the mutants are judged one after the other in a few processes, which are replaced when one of them hangs or dies.
"""

import argparse
import ast
import copy
import multiprocessing
import queue
import re
import sys
import threading
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from minipeft.course import submission
from minipeft.course.exercise import Exercise, chosen, exercises
from minipeft.course.stubs import BEGIN, END

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(10)
CALL, MUTANT = 2.0, 60.0  # seconds: for one call of a mutant, and for all that is done with it
KILLED = "killed"
ALLOWED = 0.1  # the share of all mutants that may be equivalent

# -- what is changed --------------------------------------------------------------------------------------------------

OPERATORS = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.MatMult: [ast.Mult],
    ast.FloorDiv: [ast.Div, ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}
PAIRS = (
    "min max, sin cos, tril triu, ones zeros, argmax argmin, amax amin, sum mean, any all, cat stack, floor ceil, "
    "sigmoid tanh, gelu relu, silu gelu, softmax log_softmax, square abs, std var, ones_like zeros_like, cumsum cumprod"
)
NAMES: dict[str, str] = {}
for one, other in (pair.split() for pair in PAIRS.split(", ")):
    NAMES.setdefault(one, other)
    NAMES.setdefault(other, one)
TOKEN = re.compile(r"\w+|\s+|[-+*/=!<>]=|//|\*\*|.")
SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.If, ast.For, ast.While)


def shifted(node: ast.expr, by: int) -> ast.expr:
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))


def constants(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [v for v in dict.fromkeys([value + 1, value - 1, 0, -value]) if v != value]
    return [""] if isinstance(value, str) and value else []


def changed(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def swapped(items: list) -> Iterator[list]:
    """Two neighbours change places."""
    for i in range(len(items) - 1):
        yield [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def without(items: list) -> Iterator[list]:
    for i in range(len(items)):
        yield [*items[:i], *items[i + 1 :]]


def variants(node: ast.AST, other: dict[str, str]) -> Iterator[ast.AST]:
    """What could stand in the place of a node.  `other` names, for an argument, another one of the same kind."""
    match node:
        case ast.BinOp(left, op, right):
            yield from (changed(node, op=new()) for new in OPERATORS.get(type(op), ()))
            yield from (left, right)  # a term or a factor forgotten
            if not isinstance(op, (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)):
                yield changed(node, left=right, right=left)
        case ast.UnaryOp(ast.USub(), ast.Constant(value)):  # Python reads -1 as an operator and a 1
            yield from map(ast.Constant, constants(-value))
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.BoolOp(op, values):
            yield changed(node, op=OPERATORS[type(op)][0]())
            yield from (changed(node, values=v) if len(v) > 1 else v[0] for v in without(values))
        case ast.Compare(_, [op], _):
            yield from (changed(node, ops=[new()]) for new in OPERATORS[type(op)])
        case ast.IfExp(_, body, orelse):
            yield from (body, orelse, changed(node, body=orelse, orelse=body))
        case ast.Constant(value):
            yield from map(ast.Constant, constants(value))
        case ast.Name(name, ast.Load()) if name in other:
            yield changed(node, id=other[name])
        case ast.Attribute(value, "T" | "mT"):
            yield value
        case ast.Call(func, args, keywords):
            name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if name in NAMES:
                new = {"attr" if isinstance(func, ast.Attribute) else "id": NAMES[name]}
                yield changed(node, func=changed(func, **new))
            if isinstance(func, ast.Attribute) and getattr(func.value, "id", "") not in ("torch", "F", "math"):
                yield func.value  # x.exp() forgotten
            elif args and not isinstance(args[0], (ast.Starred, ast.GeneratorExp)):
                yield args[0]  # exp(x) forgotten
            yield from (changed(node, args=new) for new in without(args))
            if name not in ("min", "max", "transpose"):  # their order has no meaning
                yield from (changed(node, args=new) for new in swapped(args))
            yield from (changed(node, keywords=new) for new in without(keywords))
        case ast.Subscript(value, _, ast.Load()):
            yield value
        case ast.Slice(lower, upper, _):
            for side, bound in (("lower", lower), ("upper", upper)):
                if bound:
                    yield changed(node, **{side: None})
                    yield from (changed(node, **{side: shifted(bound, by)}) for by in (1, -1))
        case ast.Tuple(elts, ast.Load()) | ast.List(elts, ast.Load()):
            yield from (changed(node, elts=new) for new in swapped(elts))
        case ast.comprehension(_, _, ifs):
            yield from (changed(node, ifs=new) for new in without(ifs))
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.AugAssign):
        yield from (changed(node, op=new()) for new in OPERATORS.get(type(node.op), ()))
        yield ast.Assign([node.target], node.value, lineno=node.lineno)
    if isinstance(node, SIMPLE):
        yield ast.Pass()


# -- mutants ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """`change` shows the line: "return a {+ -> -} b"."""

    topic: str
    name: str  # of the function
    change: str
    source: str  # of the whole file

    @property
    def key(self) -> str:
        return f"{self.topic}.{self.name}"


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """All that is below a node, with where it stands: (parent, field, number in a list, child)."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "ctx"):
            continue
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not (isinstance(node, ast.UnaryOp) and isinstance(child, ast.Constant)):
                yield node, field, i, child
                yield from places(child)


def put(parent: ast.AST, field: str, i: int | None, child: ast.AST) -> None:
    if i is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[i] = child


def common(a: list, b: list) -> tuple[int, int]:
    """How many items two lists share at their starts, and then at their ends."""
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    end = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
    return start, end


def change(before: str, after: str) -> str:
    """ "return a {+ -> -} b", of the one line that differs."""
    a, b = before.splitlines(), after.splitlines()
    start, end = common(a, b)
    a, b = ("; ".join(line.strip() for line in x[start : len(x) - end]) for x in (a, b))
    a, b = TOKEN.findall(a), TOKEN.findall(b)
    start, end = common(a, b)
    old, new = ("".join(x[start : len(x) - end]).strip() for x in (a, b))
    return f"{''.join(a[:start])}{{{old} -> {new}}}{''.join(a[len(a) - end :])}"


def marked(source: str, function: ast.FunctionDef) -> range:
    """The lines of its answer: what stands around it is given."""
    marks = [line.strip() for line in source.splitlines()]
    begin = marks.index(BEGIN, function.lineno)
    return range(begin + 1, marks.index(END, begin) + 1)


def mutants(source: str, topic: str, name: str) -> list[Mutant]:
    """All single changes of one worked answer; two ways to the same text are one."""
    tree = ast.parse(source)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    lines, before = marked(source, function), ast.unparse(function)
    kinds: dict[str, list[str]] = {}
    for argument in function.args.args:
        kinds.setdefault(ast.unparse(argument.annotation) if argument.annotation else "", []).append(argument.arg)
    other = {n: names[(i + 1) % len(names)] for names in kinds.values() if len(names) > 1 for i, n in enumerate(names)}
    found = {}
    for parent, field, i, child in list(places(function)):
        if getattr(child, "lineno", getattr(parent, "lineno", 0)) not in lines:
            continue
        for new in variants(child, other):
            put(parent, field, i, new)
            after = ast.unparse(ast.fix_missing_locations(function))
            if after != before:
                found.setdefault(after, Mutant(topic, name, change(before, after), ast.unparse(tree)))
            put(parent, field, i, child)
    return list(found.values())


# -- judging ----------------------------------------------------------------------------------------------------------


def verdict(item: Exercise, source: str) -> str:
    """KILLED, or what happened instead."""
    space: dict[str, object] = {"__name__": "mutant"}
    exec(compile(source, "mutant", "exec", dont_inherit=True), space)
    for seed in SEEDS:
        try:
            if not item.attempt(submission.Submission(space), seed):
                return f"let through with seed {seed}"
        except Exception as e:  # a check must refuse whatever comes, not fail
            return f"with seed {seed} the check itself fails: {type(e).__name__}: {e}"
    return KILLED


def serve(connection, root: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's, of what a mutant does
    submission.SECONDS = CALL
    items = {key(item): item for item in exercises(root)}
    while True:
        name, source = connection.recv()
        connection.send(verdict(items[name], source))


def key(item: Exercise) -> str:
    """Two lessons may ask for functions of the same name."""
    return f"{item.topic}.{item.name}"


class Worker:
    """A process that judges.  A mutant that ends it, or keeps it too long, is killed; the next one gets a new one."""

    def __init__(self, root: Path):
        self.root, self.process = root, None

    def judge(self, name: str, source: str) -> str:
        if self.process is None:
            start = multiprocessing.get_context("spawn")
            self.connection, theirs = start.Pipe()
            self.process = start.Process(target=serve, args=(theirs, self.root), daemon=True)
            self.process.start()
            theirs.close()
        self.connection.send((name, source))
        try:
            if self.connection.poll(MUTANT):
                return self.connection.recv()
        except (EOFError, ConnectionError):
            pass
        self.stop()
        return KILLED

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.join()
        self.process = None


@dataclass(frozen=True)
class Result:
    mutant: Mutant
    said: str


def judged(root: Path, mutants: Iterable[Mutant], jobs: int) -> Iterator[Result]:
    """Each mutant with its verdict, in order.  Raises ValueError where a worked answer itself is refused."""
    workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    everyone = [Worker(root) for _ in range(jobs)]
    for worker in everyone:
        workers.put(worker)
    right, lock = set(), threading.Lock()

    def judge(mutant: Mutant) -> Result:
        worker = workers.get()
        try:
            if mutant.key not in right:
                source = (root / "solutions" / f"{mutant.topic}.py").read_text(encoding="utf-8")
                if (said := worker.judge(mutant.key, source)) != f"let through with seed {SEEDS[0]}":
                    raise ValueError(f"the worked answer to {mutant.key} does not pass: {said}")
                with lock:
                    right.add(mutant.key)
            return Result(mutant, worker.judge(mutant.key, mutant.source))
        finally:
            workers.put(worker)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(judge, mutants)
    finally:
        for worker in everyone:
            worker.stop()


# -- the report -------------------------------------------------------------------------------------------------------


def equivalents(root: Path) -> dict[str, dict[str, str]]:
    """{"lora.lora_rank": {change: why it is no mistake}}"""
    listed = tomllib.loads((root / "tests" / "exercises" / "equivalent.toml").read_text(encoding="utf-8"))
    return {f"{topic}.{name}": entries for topic, names in listed.items() for name, entries in names.items()}


def all_mutants(root: Path, items: Iterable[Exercise]) -> list[Mutant]:
    return [
        mutant
        for item in items
        for mutant in mutants(
            (root / "solutions" / f"{item.topic}.py").read_text(encoding="utf-8"), item.topic, item.name
        )
    ]


def stale(listed: dict[str, dict[str, str]], mutants: Iterable[Mutant]) -> list[str]:
    """The entries that fit no mutant: the answer has changed, and they have to be looked at again."""
    there = {(mutant.key, mutant.change) for mutant in mutants}
    return [f"{name}: {entry}" for name, entries in listed.items() for entry in entries if (name, entry) not in there]


def report(items: Iterable[Exercise], results: Iterable[Result], listed: dict[str, dict[str, str]]) -> Iterator[str]:
    """The table of exercises, in lines, and then whatever is amiss, each line with a "!" in front."""
    table, amiss, sums = {key(item): Counter() for item in items}, [], Counter()
    for result in results:
        mutant, row = result.mutant, table[result.mutant.key]
        known = mutant.change in listed.get(mutant.key, {})
        row["mutants"] += 1
        row["killed"] += result.said == KILLED
        row["equivalent"] += known and result.said != KILLED
        if known and result.said == KILLED:
            amiss.append(f"! {mutant.key}: {mutant.change}: listed as equivalent, but killed")
        elif not known and result.said != KILLED:
            amiss.append(f"! {mutant.key}: {mutant.change}: {result.said}")
    yield "| exercise | function | mutants | killed | equivalent | let through |"
    yield "|---|---|--:|--:|--:|--:|"
    for item in items:
        row = table[key(item)]
        row["let through"] = row["mutants"] - row["killed"] - row["equivalent"]
        sums += row
        yield (
            f"| {item.id} | `{item.name}` | "
            + " | ".join(str(row[k]) for k in ("mutants", "killed", "equivalent", "let through"))
            + " |"
        )
    total, killed, same = (sums[k] for k in ("mutants", "killed", "equivalent"))
    share = killed / (total - same) if total > same else 1.0
    yield ""
    yield (
        f"{killed} of {total - same} mutants are refused, {share:.1%}; "
        f"{same} more, {same / total:.1%} of all {total}, are no mistakes."
    )
    yield from amiss
    if same > ALLOWED * total:
        yield f"! more than {ALLOWED:.0%} of the mutants are listed as equivalent"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.split("\n")[0])
    parser.add_argument("which", nargs="?", help="a lesson (15) or an exercise (15.3); all if not given")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--report", type=Path, help="a file for the table, beside what is printed")
    options = parser.parse_args(arguments)
    start, items, listed = time.time(), chosen(root, options.which), equivalents(root)
    everything = all_mutants(root, exercises(root))
    names = set(map(key, items))
    asked = [mutant for mutant in everything if mutant.key in names]

    def told(results: Iterable[Result]) -> Iterator[Result]:
        for n, result in enumerate(results, 1):
            if sys.stderr.isatty():
                print(f"\r{n} of {len(asked)}", end="", file=sys.stderr)
            yield result
        print(f"\r{len(asked)} mutants in {time.time() - start:.0f} s", file=sys.stderr)

    lines = list(report(items, told(judged(root, asked, options.jobs)), listed))
    lines += [f"! {entry}: listed as equivalent, but there is no such mutant" for entry in stale(listed, everything)]
    print("\n".join(lines))
    if options.report:
        rest = [line for line in lines if not line.startswith("!")]
        options.report.write_text("\n".join([HEAD, *rest]) + "\n", encoding="utf-8")
    return int(any(line.startswith("!") for line in lines))


HEAD = """# Do the checks refuse wrong answers?

Each worked answer, with one thing in it changed, given to its own check: an operator, a number, a name, a sign, a
transpose, an argument or a statement left out, two of them in the wrong order. A change that the check refuses with
each of ten seeds is killed. A change that computes the same for all that the question allows is equivalent;
[equivalent.toml](../tests/exercises/equivalent.toml) lists these, each with its reason. This page is written by
`make mutants`.
"""

if __name__ == "__main__":
    sys.exit(main())
