"""Who may have written the same: pairs of submissions that share code which is rare in the class.

    similar(handed, root, exercises)    [Pair], those that share most first
    similarity_page(pairs)              one HTML page with both pieces of code side by side
    similarity_csv(pairs)               one line for each exercise of each pair

Each exercise's function, and the helpers of the file that it needs, become tokens: comments, docstrings, type hints and
layout are gone, arguments are called by their place and all other names of the learner's own alike.  Of each run of
K = 10 tokens a hash is taken, those that occur in the stub, in the worked answer or in a known wrong answer are
dropped, and of each WINDOW = 4 that follow each other the smallest stays: the fingerprints of that answer
(winnowing: Schleimer, Wilkerson and Aiken 2003).  Any 13 tokens in a row that two answers have in common and the course
has not are found, whatever stands around them.

A fingerprint that more than a fifth of the submissions have, at least 4 of them, counts a tenth: what many come upon by
themselves says little about two.  In a class of 8 or more a pair is only told where it stands out: by Tukey's rule for
what lies far out, it shares more than the upper quartile of all pairs and three times the distance of the quartiles.

What it can't show: that somebody copied.  Exercises are short, and right answers to the same question resemble each
other, also where two have read the same page or asked the same machine.  Nor does it find everything: what equals the
worked answer leaves no trace, who rewrites each line isn't found, and one short exercise among a hundred doesn't stand
out (grade lesson by lesson).  A high score is a reason to look at both pieces of code, and to talk with both people; it
is no proof, and no mark may hang on it alone.
"""

import ast
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from minipeft.course.exercise import Exercise

from .emit import cell, table
from .handed_in import Handed
from .page import FOOTER, bdi, page, row
from .page import table as html_table
from .result import clean, line
from .source import decoded, functions, parsed

K, WINDOW = 10, 4
RARE, COMMON = 10, 1  # weights of a fingerprint
LEAST = 6  # rare fingerprints that a pair must share to be told: some 25 tokens
MANY = 8  # submissions, from which on a pair must also stand out of the class
PAIRS, SHOWN = 100, 10  # pairs, and exercises of each whose code is shown
TOKENS = 4_000  # of one answer; the course's own have 20 to 200
EXCERPT = 6_000  # characters
TOKEN = re.compile(r"""[^\W\d]\w*|[\d.]+\w*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\*\*|//|[<>=!]=|\S""")

Prints = dict[str, frozenset[int]]  # of a submission: by the exercise's number


@dataclass(frozen=True)
class Alike:
    """One exercise in which two submissions share code."""

    exercise: str
    title: str
    score: float  # how much of the smaller one's own code the other has too, 0 to 1
    codes: tuple[str, str]  # cleaned, for people to read


@dataclass(frozen=True)
class Pair:
    names: tuple[str, str]
    score: float  # as above, over all exercises that both have answered in their own way
    shared: float  # rare fingerprints in common: how much there is to see
    exercises: tuple[Alike, ...]  # those that share most first


# -- from code to fingerprints ----------------------------------------------------------------------------------------


class Answers:
    """The functions of one source, as tokens."""

    def __init__(self, text: bytes, names: Iterable[str]):
        self.text = text
        self._exercises = set(names)
        tree = parsed(text)
        self.functions = functions(tree)
        body = tree.body if tree else ()
        self._helpers = {
            node.name: node
            for node in body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name not in self._exercises
        }
        imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
        self._imported = dict(binding for node in imports for binding in bindings(node))

    def parts(self, name: str) -> list[ast.stmt]:
        """The function and the helpers that it needs, in the order of the file."""
        found, waiting = {}, [self.functions[name]]
        while waiting:
            node = waiting.pop()
            if node.lineno not in found:
                found[node.lineno] = node
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                waiting += [self._helpers[n] for n in self._helpers.keys() & names]
        return [found[line] for line in sorted(found)]

    def tokens(self, name: str) -> Iterator[list[str]]:
        """One list for the function, one for each helper; none if there is no such function."""
        left = TOKENS
        for node in self.parts(name) if name in self.functions else ():
            if left > 0:
                own = TOKEN.findall(ast.unparse(Plain(node, self._helpers, self._imported).body()))[:left]
                left -= len(own)
                yield own

    def excerpt(self, name: str) -> str:
        lines = re.split("\r\n|\r|\n", decoded(self.text))
        pieces = []
        for node in self.parts(name):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            pieces.append("\n".join(lines[first - 1 : node.end_lineno]))
        return clean("\n\n\n".join(pieces), EXCERPT)


def bindings(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """(name here, full name): F is torch.nn.functional, however it was imported."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif alias.asname:
            yield alias.asname, alias.name


class Plain(ast.NodeTransformer):
    """A function's body without what can be changed with no thought."""

    def __init__(self, node: ast.stmt, helpers: Iterable[str], imported: Mapping[str, str]):
        self._node = node
        self._names = dict(imported) | dict.fromkeys(helpers, "helper")
        for inner in ast.walk(node):
            match inner:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                    self._names[name] = "own"
        arguments = arguments_of(node) if isinstance(node, ast.FunctionDef) else []
        self._names |= {name: f"argument{i}" for i, name in enumerate(arguments)}

    def body(self) -> ast.Module:
        body = [new for line in self._node.body if (new := self.visit(line))]
        return ast.Module(body or [ast.Pass()], [])

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self._names.get(node.arg, node.arg))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        return ast.FunctionDef("own", node.args, node.body or [ast.Pass()], [], lineno=0)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.Assign | None:
        return self.visit(ast.Assign([node.target], node.value, lineno=0)) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)


def arguments_of(node: ast.FunctionDef) -> list[str]:
    a = node.args
    return [arg.arg for arg in (*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg) if arg]


def hashes(tokens: Sequence[str], salt: str) -> list[int]:
    """Of each run of K tokens, or of all if there are fewer; the same in every process."""
    runs = ["\0".join([salt, *tokens[i : i + K]]) for i in range(max(1, len(tokens) - K + 1))] if tokens else []
    return [
        int.from_bytes(hashlib.blake2b(run.encode("utf-8", "replace"), digest_size=8).digest(), "big") for run in runs
    ]


def winnowed(values: Sequence[int]) -> set[int]:
    """The smallest of each WINDOW that follow each other."""
    return {min(values[i : i + WINDOW]) for i in range(max(1, len(values) - WINDOW + 1))} if values else set()


def known(root: Path, topic: str, items: Sequence[Exercise]) -> set[int]:
    """Hashes of what the course itself holds: the stubs, the worked answers, the known wrong ones."""
    found: set[int] = set()
    for folder in ("exercises", "solutions", "tests/exercises/wrong"):
        path = root / folder / f"{topic}.py"
        answers = Answers(path.read_bytes() if path.exists() else b"", [item.name for item in items])
        for name, node in answers.functions.items():
            marks = {c.value for d in node.decorator_list for c in ast.walk(d) if isinstance(c, ast.Constant)}
            for item in items:
                if item.name == name or item.name in marks:  # @wrong("lora_linear", ...)
                    found.update(h for tokens in answers.tokens(name) for h in hashes(tokens, item.id))
    return found


def prints(handed: Handed, by_topic: Mapping[str, Sequence[Exercise]], ours: Mapping[str, set[int]]) -> Prints:
    """A submission's fingerprints; none of a file that can't be parsed."""
    found: Prints = {}
    for topic in by_topic.keys() & handed.files.keys():
        answers = Answers(handed.files[topic].text, [item.name for item in by_topic[topic]])
        for item in by_topic[topic]:
            try:
                parts = [hashes(tokens, item.id) for tokens in answers.tokens(item.name)]
            except (RecursionError, ValueError, MemoryError):  # nested deeper than anybody writes
                continue
            own = {h for part in parts for h in winnowed([h for h in part if h not in ours[topic]])}
            if own:
                found[item.id] = frozenset(own)
    return found


# -- pairs ------------------------------------------------------------------------------------------------------------


def similar(handed: Mapping[str, Handed], root: Path, exercises: Sequence[Exercise]) -> list[Pair]:
    """Pairs of submissions that share LEAST rare fingerprints or more, those that share most first, at most PAIRS.

    The order of `handed` doesn't matter.
    """
    everybody = Everybody(handed, root, exercises)
    return [everybody.compared(*pair) for pair in everybody.pairs()]


class Everybody:
    """The fingerprints of a class."""

    def __init__(self, handed: Mapping[str, Handed], root: Path, exercises: Sequence[Exercise]):
        self.handed, self.exercises = handed, exercises
        self.by_topic: dict[str, list[Exercise]] = defaultdict(list)
        for item in exercises:
            self.by_topic[item.topic].append(item)
        ours = {topic: known(root, topic, items) for topic, items in self.by_topic.items()}
        self.prints = {name: prints(handed[name], self.by_topic, ours) for name in sorted(handed)}
        self.owners: dict[int, list[int]] = defaultdict(list)  # who has a fingerprint, by place in self.prints
        for i, mine in enumerate(self.prints.values()):
            for value in set().union(*mine.values()):
                self.owners[value].append(i)
        self._codes: dict[tuple[str, str], dict[str, str]] = {}

    def weight(self, value: int) -> int:
        count = len(self.owners[value])
        return COMMON if count >= 4 and count > len(self.prints) / 5 else RARE

    def pairs(self) -> list[tuple[str, str]]:
        """Those that share LEAST rare fingerprints; in a class of MANY, and far more than pairs do there."""
        names, count = list(self.prints), len(self.prints)
        shared = np.zeros((count, count), dtype=np.int64)
        for value, who in self.owners.items():
            if len(who) > 1:
                shared[np.ix_(who, who)] += self.weight(value)
        upper = np.triu_indices(count, 1)
        least = LEAST * RARE
        if count >= MANY:
            low, high = np.quantile(shared[upper], [0.25, 0.75])
            least = max(least, high + 3 * (high - low))
        found = [(i, j) for i, j in zip(*map(np.ndarray.tolist, upper), strict=True) if shared[i, j] >= least]
        return [(names[i], names[j]) for i, j in sorted(found, key=lambda pair: (-shared[pair], pair))[:PAIRS]]

    def compared(self, one: str, other: str) -> Pair:
        alike, sums = [], [0, 0, 0]
        for item in self.exercises:
            a, b = (self.prints[name].get(item.id, frozenset()) for name in (one, other))
            if a and b:
                weights = [sum(map(self.weight, values)) for values in (a & b, a, b)]
                sums = [x + y for x, y in zip(sums, weights, strict=True)]
                if both := weights[0]:
                    codes = (self.code(one, item), self.code(other, item))
                    alike.append((both, Alike(item.id, item.title, both / min(weights[1:]), codes)))
        alike.sort(key=lambda found: -found[0])
        return Pair((one, other), sums[0] / min(sums[1:]), sums[0] / RARE, tuple(a for _, a in alike))

    def code(self, name: str, item: Exercise) -> str:
        """The answer's text; all those of a file are cut out at once."""
        if (name, item.topic) not in self._codes:
            wanted = [i.name for i in self.by_topic[item.topic]]
            answers = Answers(self.handed[name].files[item.topic].text, wanted)
            self._codes[name, item.topic] = {w: answers.excerpt(w) for w in wanted if w in answers.functions}
        return self._codes[name, item.topic][item.name]


# -- what a teacher sees ----------------------------------------------------------------------------------------------

CAUTION = """Short right answers resemble each other, also where nobody has copied. What is listed here is no proof and
no verdict: read both pieces of code, and talk with both people."""


def similarity_page(pairs: Sequence[Pair]) -> str:
    """One page with each pair's code side by side; it needs no network and no script."""
    rows = [
        row(f'<a href="#pair-{n}">{who(pair)}</a>', f"{pair.score:.2f}", f"{pair.shared:.4g}", str(len(pair.exercises)))
        for n, pair in enumerate(pairs, 1)
    ]
    heads = ["Submissions", "Score", "Rare pieces shared", "Exercises"]
    overview = html_table("Pairs, those that share most first", heads, rows)
    body = f"""<header>
<h1>Submissions that share code</h1>
<p>{CAUTION}</p>
<p class="quiet">The score says how much of the smaller one's own code (not the course's; comments and the names of
variables apart) the other has too, from 0 to 1.</p>
</header>
<main>
{overview if pairs else "<p>No pair stands out.</p>"}
{"".join(section(n, pair) for n, pair in enumerate(pairs, 1))}</main>
{FOOTER}"""
    return page("Submissions that share code", body, ' class="wide"')


def who(pair: Pair) -> str:
    return " and ".join(bdi(line(name)) for name in pair.names)


def section(number: int, pair: Pair) -> str:
    """One pair: the code of the exercises that share most, and the others' titles."""
    parts = [f'<section aria-labelledby="pair-{number}">\n<h2 id="pair-{number}">{who(pair)}</h2>']
    for alike in pair.exercises[:SHOWN]:
        heading = f"{escape(alike.exercise)} {escape(alike.title)}: score {alike.score:.2f}"
        codes = [
            f'<div><dt>{bdi(line(name))}</dt>\n<dd class="code" tabindex="0">{escape(code)}</dd></div>'
            for name, code in zip(pair.names, alike.codes, strict=True)
        ]
        parts.append(f'<h3>{heading}</h3>\n<dl class="pair">{"".join(codes)}</dl>')
    if rest := pair.exercises[SHOWN:]:
        titles = ", ".join(f"{escape(alike.exercise)} ({alike.score:.2f})" for alike in rest)
        parts.append(f"<p>They share code in these as well, with the score in brackets: {titles}.</p>")
    return "\n".join([*parts, "</section>\n"])


def similarity_csv(pairs: Sequence[Pair]) -> str:
    """Both names, the pair's score and how much it shares, and an exercise with its score: one line for each exercise.

    It begins with a byte order mark, by which spreadsheets know UTF-8.
    """
    rows = [["one", "other", "score", "shared", "exercise", "title", "score of the exercise"]]
    for pair in pairs:
        start = [*map(cell, pair.names), f"{pair.score:.4f}", f"{pair.shared:.4g}"]
        rows += [[*start, cell(a.exercise), cell(a.title), f"{a.score:.4f}"] for a in pair.exercises]
    return "\ufeff" + table(rows)
