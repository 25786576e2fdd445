"""Python source that somebody handed in: parsed, never run."""

import ast
import re
import tokenize
import warnings
from collections.abc import Iterable
from io import BytesIO

PARSED = 2**17  # characters, whose tree takes 100 MB at the worst; a file of the course has some 10,000
ENCODINGS = {
    "utf-8",
    "utf-8-sig",
    "iso-8859-1",
    "iso-8859-15",
    "cp1252",
    "ascii",
}  # decoding some others takes for ever


def decoded(text: bytes) -> str | None:
    """As Python would decode it: by its first lines, else as UTF-8.  None if that is a rare encoding, which is left to
    Python itself.  Raises SyntaxError or UnicodeDecodeError where Python would."""
    encoding, _ = tokenize.detect_encoding(BytesIO(text).readline)
    return text.decode(encoding) if encoding in ENCODINGS else None


def parsed(text: bytes | str) -> ast.Module | None:
    """Its tree; None if it is not Python, or more of it than anybody writes."""
    if len(text) > PARSED:
        return None
    try:
        text = decoded(text) if isinstance(text, bytes) else text
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a string is the learner's affair
            return ast.parse(text) if text is not None else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def functions(tree: ast.Module | None) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)} if tree else {}


def defined(text: bytes, names: Iterable[str]) -> set[str]:
    """Which of these functions a file defines at its top level; by their looks if it can't be parsed."""
    seen = {name.decode("ascii", "replace") for name in re.findall(rb"(?m)^def[ \t]+(\w+)", text)} & set(names)
    tree = parsed(text) if seen else None
    return seen & functions(tree).keys() if tree else seen


def written(text: bytes, names: Iterable[str]) -> set[str]:
    """Which of these functions are there and more than a stub."""
    return {name for name, node in functions(parsed(text)).items() if not is_stub(node)} & set(names)


def is_stub(node: ast.stmt) -> bool:
    """A function with nothing but `raise NotImplementedError`, `pass` or `...` below the docstring?"""
    return isinstance(node, ast.FunctionDef) and all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Raise) and "NotImplementedError" in ast.unparse(line))
        for line in node.body
    )


def encoding_fault(text: bytes) -> str | None:
    """Why Python will not read these bytes as they are."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is saved as UTF-16, which Python does not read: save it as UTF-8"
    if b"\0" in text:
        return "holds NUL bytes, which Python does not read"
    try:
        decoded(text)
    except (SyntaxError, UnicodeDecodeError):
        return "is not in the encoding that it should be in: save it as UTF-8"
    return None
