"""A learner's file, run here.  What comes out is plain: tensors, numbers, strings, and lists, tuples, dicts of them.

A report says what became of a call:

    {"state": "value", "value": ..., "after": {...}}     the answer, and the arguments as the call left them
    {"state": "unwritten"}                               still a stub
    {"state": "broken" | "missing" | "error" | "type", "text": ..., "cause": ...}
"""

import ast
import difflib
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

Report = dict[str, Any]
LONG = 10_000  # characters of what an exception says
KEPT_OUT = ("minipeft", "peft", "adapters", "solutions")  # packages that hold the answers


def plain(value: Any, depth: int = 8) -> Any:
    """A copy made of plain types only: a subclass that lies about itself (an `__eq__` that is always true) is no more.

    Raises TypeError for what is neither tensor, number, string, None, nor a list, tuple or dict of these.
    """
    kind = type(value)  # not isinstance: `__class__` can lie
    if issubclass(kind, Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            value = Tensor.detach(value)
            if value.is_nested:
                raise TypeError("a nested tensor has no shape to compare")
            value = Tensor.to_dense(value) if value.layout is not torch.strided else value
            value = Tensor.as_subclass(Tensor.cpu(value).clone(), Tensor)
        if type(value) is Tensor:
            return value
    if issubclass(kind, np.generic):
        value, kind = value.item(), type(value.item())
    if value is None or kind is bool:
        return value
    for exact, convert in ((int, int.__int__), (float, float.__float__), (str, str.__str__)):
        if issubclass(kind, exact):
            return convert(value)
    if depth and issubclass(kind, (list, tuple)):
        exact = list if issubclass(kind, list) else tuple
        return exact(plain(v, depth - 1) for v in exact.__iter__(value))
    if depth and issubclass(kind, dict):
        return {plain(k, depth - 1): plain(v, depth - 1) for k, v in dict.items(value)}
    raise TypeError(f"{kind.__name__} is neither a tensor, a number, a string, nor a list of these")


def gradients(function: Callable, names: list[str], arguments: dict[str, Any]) -> dict[str, Tensor | None]:
    """d(y.square().sum() / 2) / d(argument) for y = function(arguments); None where y does not depend on it."""
    for name in names:
        arguments[name].requires_grad_(True)
    with torch.enable_grad():
        y = function(*arguments.values())
        if not isinstance(y, Tensor) or not y.requires_grad:
            return dict.fromkeys(names)
        found = torch.autograd.grad(y.square().sum() / 2, [arguments[n] for n in names], allow_unused=True)
    return dict(zip(names, found, strict=True))


def imported(tree: ast.Module, names: tuple[str, ...]) -> tuple[str, int] | None:
    """The first import of one of these packages, and its line."""
    for node in ast.walk(tree):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        for package in (module.split(".")[0] for module in modules):
            if package in names:
                return package, node.lineno
    return None


def shown(error: BaseException) -> str:
    name = type.__dict__["__name__"].__get__(type(error))
    try:
        said = str.__str__(str(error))
    except BaseException:  # a learner's class may raise here
        said = "(its text can't be shown)"
    said = said if len(said) <= LONG else said[:LONG] + "..."
    return f"{name}: {said}" if said else name


class Answers:
    """The functions of one file, `open`ed from its text, or some functions given by name.

    where     the file's name, as the learner knows it
    file      its path, for tracebacks; the same where there is none
    allowed   packages of KEPT_OUT that it may import all the same
    ours      exceptions that are not the learner's, and pass through
    """

    def __init__(
        self,
        functions: Mapping[str, Any] = {},  # noqa: B006  never written to
        where: str = "the answer",
        file: str = "",
        allowed: tuple[str, ...] = (),
        ours: tuple[type[BaseException], ...] = (),
    ):
        self.functions, self.where, self.file = functions, where, file or where
        self.allowed, self.ours = allowed, ours
        self.broken: Report | None = None

    def open(self, text: bytes) -> Report | None:
        """Run the file, from its text: never from compiled code that may be a second old.  None: it went well."""
        try:
            tree = compile(text, self.file, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            code = compile(text, self.file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            line = f", line {e.lineno}" if getattr(e, "lineno", None) else ""
            return self._fails(f"{self.where}{line} is not Python: {getattr(e, 'msg', e)}", str(e))
        if found := imported(tree, tuple(set(KEPT_OUT) - set(self.allowed))):
            package, line = found
            return self._fails(
                f"{self.where}, line {line} imports {package}, where the answers are: write it without", package
            )
        module = ModuleType(f"answers_{self.where.rpartition('/')[2].removesuffix('.py')}")
        module.__file__ = self.file
        self.functions = module.__dict__
        sys.modules[module.__name__] = module  # dataclasses look their module up
        lines = text.decode("utf-8", "replace").splitlines(keepends=True)
        linecache.cache[self.file] = (len(text), None, lines, self.file)
        try:
            exec(code, module.__dict__)
        except self.ours:
            raise
        except BaseException as e:
            return self._fails(f"reading {self.where} fails: {shown(e)}{self._line(e)}", shown(e))
        return None

    def _fails(self, text: str, cause: str) -> Report:
        self.broken = {"state": "broken", "text": text, "cause": cause}
        return self.broken

    def find(self, name: str) -> Callable | Report:
        """The function, or a report that there is none."""
        if self.broken:
            return self.broken
        function = self.functions.get(name)
        if callable(function):
            return function
        near = difflib.get_close_matches(name, [k for k, v in self.functions.items() if callable(v)], 1, 0.8)
        guess = f"; did you mean {name} when you wrote {near[0]}?" if near else ""
        return {"state": "missing", "text": f"{self.where} has no function {name}{guess}", "cause": name}

    def call(self, name: str, arguments: dict[str, Any], wrt: list[str] | None = None) -> Report:
        """function(*arguments), which are the function's to keep; with `wrt`, its gradients with respect to these."""
        function = self.find(name)
        if isinstance(function, dict):
            return function
        try:
            value = function(*arguments.values()) if wrt is None else gradients(function, wrt, arguments)
        except self.ours:
            raise
        except BaseException as e:  # SystemExit and its like end the call, not the course
            # torch raises NotImplementedError too, of something it can't do
            if isinstance(e, NotImplementedError) and (not e.args or str(e.args[0]).startswith("exercise ")):
                return {"state": "unwritten"}
            return {"state": "error", "text": f"{shown(e)}{self._line(e)}", "cause": shown(e)}
        try:
            return {"state": "value", "value": plain(value), "after": self._after(arguments) if wrt is None else {}}
        except self.ours:
            raise
        except BaseException as e:
            text = f"an answer that can't be compared: {e if isinstance(e, (TypeError, RuntimeError)) else shown(e)}"
            return {"state": "type", "text": text, "cause": type(value).__name__}

    @staticmethod
    def _after(arguments: dict[str, Any]) -> dict[str, Any]:
        after = {}
        for name, value in arguments.items():
            try:
                after[name] = plain(value)
            except TypeError:  # something was put into a list
                after[name] = None
        return after

    def _line(self, error: BaseException) -> str:
        """The last line of the learner's own that the error passed through."""
        trace = BaseException.__traceback__.__get__(error)  # a learner's class may have another
        mine = [f for f in traceback.extract_tb(trace) if f.filename == self.file]
        return f" ({self.where}, line {mine[-1].lineno}: {mine[-1].line})" if mine else ""
