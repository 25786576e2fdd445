"""The functions that a notebook defines, drawn together into one source, without running a cell.

    drawn(data, {"lora_linear", "lora_init"})   ->  a text such as

        # cell 2
        import math

        # cell 7
        def lora_linear(x, W, bias, A, B, alpha): ...

Cells are counted from the top, text and code alike, from 1.  Of each wanted function the last definition counts, and
with it what it needs of the notebook's other definitions: functions, classes, imports, and values that are computed
without a call.  A name that a function's body uses means its last definition; one that is used while a definition is
made (a decorator, a default, a base class) means the last one before it: as if the cells had been run from the top.

The file is read by json, within limits, and not by nbformat, which would check and convert all of what it holds.
"""

import ast
import bisect
import builtins
import json
import re
import symtable
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from .entries import Refused, shown, size
from .source import is_stub, parsed

PARTS = 1_000_000  # commas and brackets of the JSON: what they make takes memory, unlike pictures
CODE = 2**17  # characters of code in all cells together
RUN_HERE = {"%%time", "%%capture"}  # cell magics below which plain Python follows
MAGIC = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?\??|(?:[\w, ]+=\s*)[%!].*)$")


@dataclass(frozen=True)
class Definition:
    """One statement that binds names at a notebook's top level."""

    cell: int
    text: str
    node: ast.stmt
    names: tuple[str, ...]  # "*" for what `from ... import *` binds

    @cached_property
    def needs(self) -> tuple[set[str], set[str]]:
        """Names that it uses while it is made, and names that its functions use when they are called."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                table = symtable.symtable(self.text, "cell", "exec")
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return set(), set()
        now = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
        later: set[str] = set()
        waiting = [(child, now) for child in table.get_children()]
        while waiting:
            child, when = waiting.pop()
            when = when if child.get_type() == "class" else later
            when |= {s.get_name() for s in child.get_symbols() if s.is_referenced() and s.is_global()}
            waiting += [(grandchild, when) for grandchild in child.get_children()]
        return now, later


@dataclass
class Notebook:
    """What its cells define, in their order."""

    definitions: list[Definition] = field(default_factory=list)
    computed: dict[str, int] = field(default_factory=dict)  # names bound in any other way, and the cell that does it
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Drawn:
    text: bytes
    written: frozenset[str]  # the functions in it that are more than a stub
    notes: tuple[str, ...]


# -- reading ----------------------------------------------------------------------------------------------------------


def read(data: bytes, where: str) -> Notebook:
    """Raises Refused if these bytes are no notebook."""
    notebook, total = Notebook(), 0
    for number, text in code_cells(data, where):
        total += len(text)
        if total > CODE:
            raise Refused(f"{where} holds more than {size(CODE)} of code, the most that is read")
        add_cell(notebook, number, text, where)
    return notebook


def code_cells(data: bytes, where: str) -> Iterator[tuple[int, str]]:
    """(number, text) of each cell of code; formats 3 and 4."""
    if sum(data.count(c) for c in (b",", b"[", b"{")) > PARTS:
        raise Refused(f"{where} holds too much besides code and pictures: clear its outputs, and save it")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise Refused(f"{where} is damaged or no notebook: {shown(str(e))}") from None
    known = isinstance(content, dict) and content.get("nbformat") in (3, 4)
    sheets = [content] if known and content["nbformat"] == 4 else content.get("worksheets") if known else None
    if not isinstance(sheets, list) or not all(
        isinstance(s, dict) and isinstance(s.get("cells"), list) for s in sheets
    ):
        raise Refused(f"{where} is no notebook of format 3 or 4: open it in Jupyter, and save it")
    for number, cell in enumerate((cell for sheet in sheets for cell in sheet["cells"]), 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            lines = cell.get("source", cell.get("input", ""))
            lines = [lines] if isinstance(lines, str) else lines
            if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
                yield number, "".join(lines).replace("\r\n", "\n").replace("\r", "\n")


def add_cell(notebook: Notebook, number: int, text: str, where: str) -> None:
    text, tree = cell_tree(text)
    if tree is None:
        lost = re.findall(r"(?m)^def[ \t]+(\w+)", text)
        what = f", with its {shown(', '.join(lost))}," if lost else ""
        notebook.notes.append(f"cell {number} of {where} is not Python{what} and was left out")
        return
    lines = text.split("\n")
    for node in tree.body:
        if names := bound(node):
            notebook.definitions.append(Definition(number, piece(lines, node), node, names))
        else:
            for name in ast.walk(node):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    notebook.computed.setdefault(name.id, number)


def cell_tree(text: str) -> tuple[str, ast.Module | None]:
    """A cell without its magics, and its tree; None if it is not Python.  No line changes its number."""
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("%%"):
        if first.split()[0] not in RUN_HERE:
            return "", None
        text = "\n" + rest
    if (tree := parsed(text)) is None:  # only then: a line of an expression may begin with % as well
        text = "\n".join(MAGIC.sub(r"\1pass", line) for line in text.split("\n"))
        tree = parsed(text)
    return text, tree


def bound(node: ast.stmt) -> tuple[str, ...]:
    """The names that a definition binds; none if the statement is no definition."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return tuple(alias.asname or alias.name.split(".")[0] for alias in aliases)
        case ast.Assign(targets=targets, value=value) if free_of_calls(value):
            flat = [t for target in targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
            return tuple(t.id for t in flat) if all(isinstance(t, ast.Name) for t in flat) else ()
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if free_of_calls(value):
            return (name,)
    return ()


FREE = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Subscript, ast.Slice),
    *(ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


def free_of_calls(value: ast.expr) -> bool:
    """Is it computed without a call?  What stands in a lambda is computed later."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Lambda):
            waiting += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif isinstance(node, FREE):
            waiting += ast.iter_child_nodes(node)
        else:
            return False
    return True


def piece(lines: list[str], node: ast.stmt) -> str:
    """A statement's text; of functions and classes whole lines, with decorators and comments.  Columns count bytes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return "\n".join(lines[first - 1 : node.end_lineno])
    part = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][node.col_offset :]
    return b"\n".join(part).decode()


# -- drawing together -------------------------------------------------------------------------------------------------


def drawn(notebook: Notebook, wanted: Iterable[str], where: str) -> Drawn | None:
    """One source of the wanted functions and what they need; None if the notebook defines none of them."""
    definitions, end = notebook.definitions, len(notebook.definitions)
    places: dict[str, list[int]] = defaultdict(list)
    for i, definition in enumerate(definitions):
        for name in definition.names:
            places[name].append(i)
    last = {name: i for name in wanted for i in places.get(name, ()) if is_function(definitions[i].node)}
    if not last:
        return None

    taken: set[int] = set()
    missing: set[str] = set()
    waiting = list(last.values())
    while waiting:
        i = waiting.pop()
        if i in taken:
            continue
        taken.add(i)
        now, later = definitions[i].needs
        for name, before in [*((name, i) for name in now), *((name, end) for name in later)]:
            if earlier := bisect.bisect_left(places.get(name, ()), before):
                waiting.append(places[name][earlier - 1])
            elif not hasattr(builtins, name):
                missing.add(name)
                waiting += places.get("*", ())
    notes = [
        f"{name}, which {' or '.join(last)} may need, is computed in cell {notebook.computed[name]} of {where} and "
        "was left out: compute it inside the function"
        for name in sorted(missing & notebook.computed.keys())
    ]
    real = {name for name, i in last.items() if not is_stub(definitions[i].node)}
    return Drawn(assembled(notebook, taken), frozenset(real), tuple(notes))


def is_function(node: ast.stmt) -> bool:
    """`def f`, `f = lambda ...`, or `f = g`; not an import or a number that happens to have the name."""
    return isinstance(node, ast.FunctionDef) or (
        isinstance(node, ast.Assign) and isinstance(node.value, (ast.Lambda, ast.Name))
    )


def assembled(notebook: Notebook, taken: set[int]) -> bytes:
    pieces = [notebook.definitions[i] for i in sorted(taken)]
    postponed = any(  # only at the top of a file, where it changes what an annotation means
        isinstance(d.node, ast.ImportFrom) and d.node.module == "__future__" for d in notebook.definitions
    )
    head = "from __future__ import annotations\n\n" if postponed else ""
    kept = [d for d in pieces if not (isinstance(d.node, ast.ImportFrom) and d.node.module == "__future__")]
    return (head + "\n\n".join(f"# cell {d.cell}\n{d.text}\n" for d in kept)).encode("utf-8", "surrogatepass")
