"""The parent's side of the split: a nursery process, and one confined child at a time.

    parent   checks, seeds, expected values, results            never forks, never runs a learner's code
      | a socket: "start", "end"
    nursery  torch and the runner, nothing of the course        forks
      |
    child    the learner's file; a socket to the parent for questions and answers, a pipe for what it prints

Where there is no fork (Windows), each child is a new process of its own: it takes two seconds to start, and there are
no walls around it but the clock.
"""

import contextlib
import json
import os
import secrets
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..course import runner
from ..course.runner import confine, wire
from ..course.runner.answers import Report
from ..course.submission import Asked, late

RUNNER = Path(runner.__file__).parent
FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")
MiB = 1 << 20
PATIENCE = 30  # seconds for what takes none unless something is broken
TEXT = MiB  # bytes of an answer that are not numbers of tensors


@dataclass(frozen=True)
class Limits:
    call_seconds: float = 10.0
    exercise_seconds: float = 60.0  # all calls of one exercise, and reading its file
    memory_bytes: int = 2048 * MiB
    processes: int = 64
    disk_bytes: int = 64 * MiB
    answer_bytes: int = 64 * MiB  # of one answer
    printed_bytes: int = 4096  # kept of what is printed


class Ended(Exception):
    """A child gives no answer, and won't: `report` says why."""

    def __init__(self, report: Report):
        super().__init__(report["text"])
        self.report = report


def died(text: str) -> Report:
    return {"state": "died", "text": text, "cause": text}


class Nursery:
    """Started when first needed, and anew if something has ended it.  `close` when done, or use `with`.

    without   names of layers that shall not be used, for a system on which one of them does harm
    """

    def __init__(self, limits: Limits = Limits(), without: tuple[str, ...] = (), fork: bool = FORK):
        self.limits, self.without, self.fork = limits, without, fork
        self.process: subprocess.Popen | None = None
        self.control: socket.socket | None = None
        self.walls: dict[str, Any] = {}

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def isolation(self) -> dict[str, Any]:
        """As a result says it."""
        if self.fork and not self.process:
            self._start()
        missing = self.walls.get("missing", {"all": "one new process for each exercise, and no walls around it"})
        return {
            "process": "fork" if self.fork else "spawn",
            "layers": self.walls.get("up", []),
            "missing": [{"layer": layer, "why": why} for layer, why in missing.items()],
        }

    def _command(self, *arguments: str) -> list[str]:
        # -s: no packages of the user's; -P: none of the current folder; -B: nothing is written beside the runner
        return [sys.executable, "-s", "-P", "-B", "-X", "utf8", str(RUNNER), *arguments]

    def _environment(self) -> dict[str, str]:
        """Nothing of ours: no keys, no paths, no seeds."""
        kept = {k: v for k in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR", "TEMP") if (v := os.environ.get(k))}
        fixed = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NO_COLOR": "1"}
        return kept | fixed | {"PYTHONHASHSEED": "0"}  # sets in the same order each time

    def _start(self) -> None:
        self.close()
        if confine.LINUX:  # nobody reads the seeds from our memory, not even a process of the same user
            confine.prctl(confine.DUMPABLE, 0)
        self.control, theirs = socket.socketpair()
        command = self._command("fork", str(theirs.fileno()), json.dumps(asdict(self.limits)), json.dumps(self.without))
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=self._environment(), cwd="/", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        self.control.settimeout(120)
        try:
            self.walls = self._answer()
        except OSError:
            self.process.kill()
            said = self.process.communicate()[1].decode("utf-8", "replace").strip()
            raise OSError(f"the process that runs submissions doesn't start: {said[-2000:] or 'no answer'}") from None

    def _answer(self) -> dict[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            piece = self.control.recv(4096)
            if not piece:
                raise ConnectionError("the nursery is gone")
            line += piece
        return json.loads(line)

    def _order(self, order: dict[str, Any], descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
        """Raises OSError, and closes, if the nursery is gone or silent: a late answer must not be taken for another."""
        try:
            self.control.settimeout(PATIENCE)
            socket.send_fds(self.control, [json.dumps(order).encode()], descriptors)
            return self._answer()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """The nursery ends with its socket, and everything in it before; what it can't tidy up any more, we do."""
        if self.control:
            self.control.close()
        if self.process:
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stderr.close()
        for group in self.walls.get("groups", ()):
            disband(Path(group))
        if "home" in self.walls:
            confine.remove(Path(self.walls["home"]))
        self.control, self.process, self.walls = None, None, {}

    @contextlib.contextmanager
    def child(self, imports: tuple[str, ...] = (), limits: Limits | None = None) -> Iterator["Child"]:
        """A fresh one; when the block is left it is gone, with all that came from it.

        imports    packages that hold answers, and may be imported all the same
        limits     of time, other than the nursery's
        """
        child = Forked(self, imports) if self.fork else Spawned(self, imports)
        try:
            child.limits = limits or self.limits
            yield child
        finally:
            child.end()


def disband(group: Path) -> None:
    """Remove a control group, and end what is still in it: the nursery had been killed."""
    deadline = time.monotonic() + 2
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.01)


class Child:
    """Asks and waits, within limits, whatever is at the other end."""

    def __init__(self, nursery: Nursery, imports: tuple[str, ...], line: socket.socket, printed: int | None):
        self.nursery, self.limits, self.imports = nursery, nursery.limits, imports
        self.line, self.printed, self.output = line, printed, b""
        self.line.setblocking(False)
        self.ended: Report | None = None
        try:
            self._exchange(b"", PATIENCE)  # it says that it is ready; only then the clock starts
        except Ended as end:
            self.end()
            raise OSError(f"no process could be started for a submission: {end}") from None
        self.until = time.monotonic() + self.limits.exercise_seconds

    def ask(self, question: Any) -> Any:
        """Raises Ended if no answer comes, now and ever after."""
        if self.ended:
            raise Ended(self.ended)
        left = self.until - time.monotonic()
        try:
            if left < self.limits.call_seconds:
                return self._exchange(wire.pack(question), left, self.limits.exercise_seconds)
            return self._exchange(wire.pack(question), self.limits.call_seconds)
        except Ended as end:
            self.ended = end.report
            raise

    def _exchange(self, message: bytes, seconds: float, of: float | None = None) -> Any:
        """Send, and wait for the answer for so many seconds, which are what is left `of` more.  Raises Ended."""
        limit = time.monotonic() + seconds
        to_send, got, sizes = memoryview(message), bytearray(), None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.line, selectors.EVENT_READ | (selectors.EVENT_WRITE if message else 0))
            if self.printed is not None:
                waiting.register(self.printed, selectors.EVENT_READ)
            while True:
                left = limit - time.monotonic()
                if left <= 0:
                    raise Ended(late(of or seconds))
                for ready, events in waiting.select(left):
                    if ready.fileobj is not self.line:
                        if not self._read_printed():
                            waiting.unregister(self.printed)
                        continue
                    try:
                        if to_send and events & selectors.EVENT_WRITE:
                            to_send = to_send[self.line.send(to_send[:MiB]) :]
                            if not to_send:
                                waiting.modify(self.line, selectors.EVENT_READ)
                        if events & selectors.EVENT_READ:
                            piece = self.line.recv(MiB)
                            if not piece:
                                raise ConnectionError
                            got += piece
                    except BlockingIOError:
                        continue
                    except OSError:
                        raise Ended(self._why()) from None
                if sizes is None and len(got) >= wire.HEAD.size:
                    sizes = wire.HEAD.unpack(got[: wire.HEAD.size])
                    if sum(sizes) > self.limits.answer_bytes:
                        most = self.limits.answer_bytes // MiB
                        raise Ended(died(f"an answer of {sum(sizes):,} bytes; at most {most} MiB can be handed over"))
                    if sizes[0] > TEXT:
                        raise Ended(died(f"an answer of {sizes[0]:,} bytes of text; at most 1 MiB can be handed over"))
                if sizes and len(got) >= wire.HEAD.size + sum(sizes):
                    break
        if to_send or len(got) > wire.HEAD.size + sum(sizes):
            raise Ended(died("something was written where only answers go"))
        text, numbers = got[wire.HEAD.size :][: sizes[0]], got[wire.HEAD.size + sizes[0] :]
        try:
            return wire.unpack(bytes(text), bytes(numbers))
        except wire.Garbled:
            raise Ended(died("what came back is no answer: something else was written where only answers go")) from None

    def _read_printed(self) -> bool:
        try:
            piece = os.read(self.printed, MiB)
        except OSError:
            piece = b""
        room = self.limits.printed_bytes - len(self.output)
        self.output += piece[: max(0, room)]
        return bool(piece)

    def _why(self) -> Report:
        """Of a child that has closed its line."""
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class Forked(Child):
    def __init__(self, nursery: Nursery, imports: tuple[str, ...]):
        try:
            self._begin(nursery, imports)
        except OSError:  # the nursery was killed since we looked, or is about to be: a new one
            nursery.close()
            self._begin(nursery, imports)

    def _begin(self, nursery: Nursery, imports: tuple[str, ...]) -> None:
        if not nursery.process or nursery.process.poll() is not None:
            nursery._start()
        ours, theirs = socket.socketpair()
        printed, end = os.pipe()
        os.set_blocking(printed, False)
        try:
            answer = nursery._order({"do": "start", "allowed": imports}, (theirs.fileno(), end))
            if "failed" in answer:
                raise OSError(f"no process could be started for a submission: {answer['failed']}")
        except OSError:
            ours.close()
            os.close(printed)
            raise
        finally:
            theirs.close()
            os.close(end)
        super().__init__(nursery, imports, ours, printed)

    def _why(self) -> Report:
        try:
            how = self.nursery._order({"do": "end", "grace": 0.5})  # it has just closed its line: it is about to end
        except OSError:
            return died("the process that runs submissions was ended: no answer may do that")
        return died(why(how["status"], how["over"], self.limits))

    def end(self) -> None:
        with contextlib.suppress(OSError):
            while self.printed is not None and self._read_printed() and len(self.output) < self.limits.printed_bytes:
                pass
        self.line.close()
        os.close(self.printed)
        if self.nursery.process:
            with contextlib.suppress(OSError):
                self.nursery._order({"do": "end", "grace": 0.02})


class Spawned(Child):
    """Where there is no fork."""

    line: socket.socket | None = None

    def __init__(self, nursery: Nursery, imports: tuple[str, ...]):
        token = secrets.token_hex(16).encode()
        self.home = Path(tempfile.mkdtemp(prefix="minipeft-"))
        with socket.create_server(("127.0.0.1", 0)) as server:
            command = nursery._command(
                "alone",
                str(server.getsockname()[1]),
                token.decode(),
                json.dumps(asdict(nursery.limits)),
                str(self.home),
            )
            nothing = subprocess.DEVNULL
            self.process = subprocess.Popen(
                command, env=nursery._environment(), stdin=nothing, stdout=nothing, stderr=nothing
            )
            server.settimeout(120)
            try:
                self.line, _ = server.accept()
                self.line.settimeout(PATIENCE)
                if wire.exactly(self.line, len(token)) != token:
                    raise ConnectionError("somebody else has called")
            except OSError as e:
                self.end()
                raise OSError(f"the process that runs submissions doesn't start: {e}") from None
        super().__init__(nursery, imports, self.line, None)

    def _why(self) -> Report:
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return died(why("killed", "", self.limits))
        return died(why(f"exit {code}", "", self.limits))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.line:
            self.line.close()
        confine.remove(self.home)


def why(status: str, over: str, limits: Limits) -> str:
    """A child's end, in a sentence."""
    if over == "processes":
        return f"it started as many as {limits.processes} processes"
    if over == "disk":
        return f"it wrote more than {limits.disk_bytes // MiB} MiB to files"
    if status == "exit 70":  # of our own doing, see runner/__main__.py
        return "what runs the answer failed with it: was a part of Python or torch replaced?"
    if status.startswith("exit"):
        return f"the process ended by itself ({status}) before it answered: os._exit and the like don't belong here"
    if status == "SIGSEGV":
        return "the process crashed (SIGSEGV, a segmentation fault): memory that isn't its own, or recursion too deep"
    if status == "SIGKILL":
        return f"the process was killed: it used more than {limits.memory_bytes // MiB} MiB of memory, or killed itself"
    if status == "killed":
        return "it closed its line to the grader"
    return f"the process crashed ({status})"


class Apart(Asked):
    """A learner's file, asked in a child of its own: what checks see of it is the same as of a `Submission`.

    text       the file, as bytes
    where      its name, as the learner knows it
    """

    def __init__(self, child: Child, text: bytes, where: str):
        self._child, self._text, self.where = child, text, where
        self._opened: Report | None = None

    def ask(self, name: str, arguments: dict[str, Any], wrt: list[str] | None) -> Report:
        try:
            opened = self.open()
            if opened["state"] != "read":
                return opened
            nonce = secrets.token_hex(8)
            answer = self._child.ask({"nonce": nonce, "name": name, "arguments": arguments, "wrt": wrt})
            return checked(answer, STATES, nonce, arguments, wrt)
        except Ended as end:
            return end.report

    def open(self) -> Report:
        """Whether the file could be read: {"state": "read"}, or what is wrong.  Raises Ended."""
        if self._opened is None:
            order = {"text": self._text.decode("latin-1"), "where": self.where, "allowed": self._child.imports}
            self._opened = checked(self._child.ask(order), ("read", "broken"))
        return self._opened


STATES = ("value", "unwritten", "broken", "missing", "error", "type")


def checked(
    answer: Any,
    states: tuple[str, ...],
    nonce: str | None = None,
    arguments: dict[str, Any] = {},  # noqa: B006  never written to
    wrt: list[str] | None = None,
) -> Report:
    """The answer, if it has the form of one: whoever wrote it, it can be judged.  Raises Ended if not."""
    good = isinstance(answer, dict) and answer.get("state") in states and answer.get("nonce") == nonce
    if good and answer["state"] == "value":
        after = answer.get("after")
        good = "value" in answer and isinstance(after, dict) and (wrt is not None or after.keys() == arguments.keys())
        if wrt is not None:
            good = good and isinstance(answer["value"], dict) and answer["value"].keys() == set(wrt)
    elif good and answer["state"] not in ("read", "unwritten"):
        good = isinstance(answer.get("text"), str) and isinstance(answer.get("cause"), str)
    if not good:
        raise Ended(died("what came back is no answer: something else was written where only answers go"))
    return answer
