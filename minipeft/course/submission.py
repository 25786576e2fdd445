"""What a learner handed in, as a check sees it: functions that take copies and give back plain values.

A check never holds an object of the submission's making.  What goes in and what comes out are tensors, numbers,
strings and lists of them, so that the same check can talk to a process that runs the submission somewhere else
(`minipeft.grading`).  Here it runs in this process: good for a quick look at one's own work, no protection against a
hostile file.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .judge import Unwritten, Wrong, alike, call_text, copy
from .runner.answers import Answers, Report

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


class Call:
    """One function of a submission: call it, or ask for its gradients.

    Raises Wrong if the function is missing, raises, takes too long, changes its arguments, or gives back what can't
    be compared; Unwritten if it is still a stub.
    """

    def __init__(self, submission: "Asked", name: str):
        self.submission, self.name = submission, name

    def __call__(self, **arguments: Any) -> Any:
        value, after = self._report(arguments, None)
        changed = [k for k in arguments if not alike(after[k], arguments[k])]
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
        return self._report(arguments, wrt)[0]

    def _report(self, arguments: dict[str, Any], wrt: list[str] | None) -> tuple[Any, dict[str, Any]]:
        report = self.submission.ask(self.name, arguments, wrt)
        if report["state"] == "value":
            return report["value"], report["after"]
        raise refusal(report, call_text(self.name, arguments))


def refusal(report: Report, called: str) -> Wrong:
    """What a report without an answer means."""
    state = report["state"]
    if state == "unwritten":
        return Unwritten("not written yet", "unwritten", called)
    evidence = "time" if state == "time" else ("file" if state == "broken" else state, report["cause"])
    called = "" if state in ("broken", "missing") else called
    return Wrong(report["text"], evidence, called, "wrong" if state in ("error", "type") else state)


class Asked:
    """submission.name(...) calls the learner's function of that name, wherever it runs."""

    def ask(self, name: str, arguments: dict[str, Any], wrt: list[str] | None) -> Report:
        """What `Answers.call` reports, of copies of the arguments; or {"state": "time" | "died", "text", "cause"}."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Call:
        if name.startswith("_"):
            raise AttributeError(name)
        return Call(self, name)


class Submission(Asked):
    """The functions of one file (`load`), or some functions given by name, run in this process."""

    def __init__(self, functions: Mapping[str, Any], path: Path | None = None, imports: tuple[str, ...] = ()):
        names = {"where": f"{path.parent.name}/{path.name}", "file": str(path)} if path else {}
        self._answers = Answers(functions, **names, allowed=imports, ours=(TimeUp, KeyboardInterrupt))
        self._random = torch.Generator().manual_seed(0).get_state()

    @classmethod
    def load(cls, path: Path, imports: tuple[str, ...] = ()) -> "Submission":
        """Run the file.  One that is missing or fails is a submission all of whose calls say so."""
        self = cls({}, path, imports)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            self._answers.broken = {"state": "broken", "text": f"there is no file {self.where}", "cause": "missing"}
            return self
        late = self._guarded(lambda: self._answers.open(text))
        if late and late["state"] == "time":
            self._answers.broken = {**late, "state": "broken"}
        return self

    @property
    def where(self) -> str:
        return self._answers.where

    def function(self, name: str) -> Callable:
        """The learner's own function, to use it in this process.  Raises Wrong if there is none."""
        found = self._answers.find(name)
        if isinstance(found, dict):
            raise refusal(found, "")
        return found

    def ask(self, name: str, arguments: dict[str, Any], wrt: list[str] | None) -> Report:
        return self._guarded(lambda: self._answers.call(name, copy(arguments), wrt))

    def _guarded(self, action: Callable[[], Report | None]) -> Report | None:
        """Run the submission's code with its own random numbers, within the limit."""
        before = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            with limit(SECONDS):
                return action()
        except TimeUp:
            return late(SECONDS)
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(before)


def late(seconds: float) -> Report:
    return {"state": "time", "text": f"nothing within {seconds:.0f} seconds: is there an endless loop?", "cause": ""}
