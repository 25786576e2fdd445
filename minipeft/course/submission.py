"""What a learner handed in, as a check sees it: functions that take copies and give back plain values.

A check never holds an object of the submission's making.  What goes in and what comes out are tensors, numbers,
strings and lists of them, so that the same check can talk to a process that runs the submission somewhere else.
Here it runs in this process: good for a quick look at one's own work, no protection against a hostile file.
"""

import contextlib
import difflib
import linecache
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .judge import Unwritten, Wrong, alike, call_text, copy, gradients

SECONDS = 10.0  # for one call


class TimeUp(BaseException):
    """Not an Exception, so that `except Exception` in a submission doesn't catch it."""


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Interrupt what runs inside after so many seconds, and again each second, in case it is caught.

    By an alarm signal: on Linux and macOS, in the main thread, as soon as Python runs the next line (an endless loop
    in Python, not one inside a single call of torch).  Elsewhere there is no limit: interrupt by hand.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def plain(value: Any, depth: int = 8) -> Any:
    """A copy made of plain types only: a subclass that lies about itself (an `__eq__` that is always true) is no more.

    Raises TypeError for what is neither tensor, number, string, None, nor a list, tuple or dict of these.
    """
    kind = type(value)  # not isinstance: `__class__` can lie
    if issubclass(kind, Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            value = Tensor.detach(value)
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


class Call:
    """One function of a submission: call it, or ask for its gradients.

    Raises Wrong if the function is missing, raises, takes too long, changes its arguments, or gives back what can't
    be compared; Unwritten if it is still a stub.
    """

    def __init__(self, submission: "Submission", name: str):
        self.submission, self.name = submission, name

    def __call__(self, **arguments: Any) -> Any:
        given = copy(arguments)
        value = self.submission.run(self.name, arguments, lambda f: f(*given.values()))
        changed = [k for k in arguments if not alike(given[k], arguments[k])]
        if changed:
            names = " and ".join(changed)
            raise Wrong(
                f"{names} changed: a caller still needs what it passed, so work on a copy (x = x + 1, not x += 1)",
                ("changed", changed, value),
                call_text(self.name, arguments),
            )
        return value

    def gradients(self, wrt: list[str], **arguments: Any) -> dict[str, Tensor | None]:
        """{argument: gradient of half the squared sum of the answer}; None where the answer doesn't depend on it."""
        return self.submission.run(self.name, arguments, lambda f: gradients(f, wrt, copy(arguments)))


class Submission:
    """The functions of one file (`load`), or some functions given by name.  submission.name(...) calls one."""

    def __init__(self, functions: Mapping[str, Any], path: Path | None = None, broken: Wrong | None = None):
        self._functions, self._path, self._broken = functions, path, broken
        self._random = torch.Generator().manual_seed(0).get_state()

    @classmethod
    def load(cls, path: Path) -> "Submission":
        """Run the file, from its text: never from compiled code that may be a second old.

        A file that is missing or fails is a submission all of whose calls say so.
        """
        module = ModuleType(f"answers_{path.stem}")
        module.__file__ = str(path)
        self = cls(module.__dict__, path)
        try:
            code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except FileNotFoundError:
            self._broken = Wrong(f"there is no file {self.where}", ("file", "missing"))
            return self
        except (SyntaxError, ValueError) as e:
            line = f", line {e.lineno}" if getattr(e, "lineno", None) else ""
            self._broken = Wrong(f"{self.where}{line} is not Python: {getattr(e, 'msg', e)}", ("file", str(e)))
            return self
        linecache.checkcache(str(path))
        sys.modules[module.__name__] = module  # dataclasses look their module up
        try:
            self._guarded(lambda: exec(code, module.__dict__), f"reading {self.where}")
        except Wrong as wrong:
            self._broken = wrong
        return self

    @property
    def where(self) -> str:
        return f"{self._path.parent.name}/{self._path.name}" if self._path else "the answer"

    def __getattr__(self, name: str) -> Call:
        if name.startswith("_"):
            raise AttributeError(name)
        return Call(self, name)

    def function(self, name: str) -> Callable:
        """The learner's own function, to use it in this process."""
        if self._broken:
            raise self._broken
        function = self._functions.get(name)
        if not callable(function):
            near = difflib.get_close_matches(name, [k for k, v in self._functions.items() if callable(v)], 1, 0.8)
            guess = f"; did you mean {name} when you wrote {near[0]}?" if near else ""
            raise Wrong(f"{self.where} has no function {name}{guess}", ("missing", name))
        return function

    def run(self, name: str, arguments: dict[str, Any], use: Callable[[Callable], Any]) -> Any:
        """use(function) as a plain value."""
        function, called = self.function(name), call_text(name, arguments)
        value = self._guarded(lambda: use(function), called)
        try:
            return plain(value)
        except (TypeError, RuntimeError) as e:
            raise Wrong(f"an answer that can't be compared: {e}", ("type", type(value).__name__), called) from None

    def _guarded(self, action: Callable[[], Any], called: str) -> Any:
        """Run the submission's code: with its own random numbers, within the limit, its errors turned into Wrong."""
        before = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            with limit(SECONDS):
                return action()
        except TimeUp:
            raise Wrong(f"nothing within {SECONDS:.0f} seconds: is there an endless loop?", "time", called) from None
        except NotImplementedError as e:
            if str(e) and not str(e).startswith("exercise "):  # torch's own, of something it can't do
                raise Wrong(f"NotImplementedError: {e}{self._line(e)}", ("error", str(e)), called) from None
            raise Unwritten("not written yet", "unwritten", called) from None
        except KeyboardInterrupt:
            raise
        except BaseException as e:  # SystemExit and its like end the call, not the course
            text = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
            raise Wrong(f"{text}{self._line(e)}", ("error", text), called) from None
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(before)

    def _line(self, error: BaseException) -> str:
        """The last line of the submission's own that the error passed through."""
        mine = [f for f in traceback.extract_tb(error.__traceback__) if self._path and f.filename == str(self._path)]
        return f" ({self.where}, line {mine[-1].lineno}: {mine[-1].line})" if mine else ""
