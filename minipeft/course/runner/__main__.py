"""The nursery: a warm process that has imported torch and knows nothing, and forks a confined child for each exercise.

    python -s -P -B minipeft/course/runner fork FD LIMITS WITHOUT      the nursery; FD is a socket to the parent
    python -s -P -B minipeft/course/runner alone PORT TOKEN LIMITS WORK    one child, where there is no fork

On the socket, one order at a time, each a line of JSON with an answer:

    {"do": "start", "allowed": [...]} + two descriptors    a child; it gets the descriptors: a socket to the parent, a pipe for what it prints
    {"do": "end", "grace": seconds}       end it and all that came from it -> {"status": "...", "over": "..."}
"""  # noqa: E501

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import confine
import numpy as np
import torch  # noqa: F401  imported before the fork, and no operation of it run: threads don't survive a fork
import wire
from answers import KEPT_OUT, Answers


class Refuse:
    """An importer that comes first and refuses what holds the answers."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name.partition('.')[0]} can't be imported here: write the answer without it")


def keep_out() -> dict[str, Path]:
    """Take what holds the answers off the path; {package: its folder}."""
    found = {}
    for folder in list(sys.path):
        here = {name: Path(folder, name) for name in KEPT_OUT if Path(folder, name).is_dir()}
        found |= here
        if here and not Path(folder, "torch").is_dir():  # a checkout
            sys.path.remove(folder)
    return found


def nursery(control: socket.socket, limits: dict, without: tuple[str, ...]) -> None:
    """Serve until the parent is gone; then nothing is left: no process, no file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends us
    home = Path(tempfile.mkdtemp(prefix="minipeft-"))
    hidden = keep_out()
    walls = confine.settle(home, hidden, limits, without)
    groups = [str(group) for group in walls.groups]
    ward = Ward(home, walls, limits, hidden)
    try:
        tell(control, {"up": walls.up, "missing": walls.missing, "groups": groups, "home": str(home)})
        while True:
            if not select.select([control], [], [], 0.1 if ward.pid else None)[0]:
                ward.look()
                continue
            line, descriptors, _, _ = socket.recv_fds(control, 4096, 2)
            if not line:
                return
            order = json.loads(line)
            if order["do"] == "start":
                tell(control, ward.start(control, tuple(order["allowed"]), descriptors))
            else:
                tell(control, ward.end(order["grace"]))
    finally:
        ward.end()
        confine.remove(home)


def tell(control: socket.socket, answer: dict) -> None:
    control.sendall(json.dumps(answer).encode() + b"\n")


class Ward:
    """The child of the moment, and what came from it."""

    def __init__(self, home: Path, walls: confine.Walls, limits: dict, hidden: dict[str, Path]):
        self.home, self.walls, self.limits, self.hidden = home, walls, limits, hidden
        self.pid: int | None = None
        self.over = ""  # the limit that it went beyond

    def start(self, control: socket.socket, allowed: tuple[str, ...], descriptors: list[int]) -> dict:
        self.over = ""
        work = self.home / "work"
        work.mkdir()
        rules = self.walls.landlock(allowed) if self.walls.landlock else None
        try:
            self.pid = os.fork()
        except OSError as e:
            return {"failed": e.strerror}
        if not self.pid:
            try:
                control.close()
                sys.path += [str(self.hidden[name].parent) for name in allowed if name in self.hidden]
                self._child(work, rules, *descriptors)
            finally:
                os._exit(70)
        for fd in descriptors:
            os.close(fd)
        return {"pid": self.pid}

    def _child(self, work: Path, rules: int | None, answers: int, printed: int) -> None:
        os.setsid()
        for admission in self.walls.groups.values():
            os.write(admission, b"0")
        if confine.LINUX:  # here and below: each fork begins without it
            confine.prctl(confine.DEATH_SIGNAL, signal.SIGKILL)
        if "process namespace" in self.walls.up:
            confine.system("unshare", confine.NEW_PID | confine.NEW_IPC)
            if first := os.fork():  # we only wait for it; it is the first process of its namespace, and its last
                os.close(answers)
                os.close(printed)
                code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
                os._exit(code if code >= 0 else 128 - code)
        if confine.LINUX:
            confine.prctl(confine.DEATH_SIGNAL, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for origin, target in ((nothing, 0), (printed, 1), (printed, 2)):
            os.dup2(origin, target)
        keep = {0, 1, 2, answers, rules}
        for fd in range(3, 256):
            if fd not in keep:
                with contextlib.suppress(OSError):
                    os.close(fd)
        confine.enter(self.walls, work, self.limits, rules)
        serve(socket.socket(fileno=answers))
        os._exit(0)

    def look(self) -> None:
        """Too many processes, or too much written: end it.  The kernel's own limits don't count these everywhere."""
        if len(confine.descendants(os.getpid())) >= self.limits["processes"]:
            self.over = "processes"
        elif confine.size(self.home, self.limits["disk_bytes"]) > self.limits["disk_bytes"]:
            self.over = "disk"
        if self.over:
            self._kill()

    def end(self, grace: float = 0) -> dict:
        """Kill what is left; how the child had ended, if it had within so many seconds."""
        status = self._kill(grace) if self.pid else ""
        self.pid = None
        os.chmod(self.home, 0o700)
        for each in list(self.home.iterdir()):  # the next one finds nothing of this one, not even beside its folder
            confine.remove(each)
        return {"status": status, "over": self.over}

    def _kill(self, grace: float = 0) -> str:
        """Until nothing is left that came from us: what loses its parent becomes our child."""
        status = ""
        deadline = time.monotonic() + grace
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if pid == self.pid and not status:
                code = os.waitstatus_to_exitcode(code)
                code = code if code <= 128 else 128 - code  # as the one that waited for it passes it on
                status = f"exit {code}" if code >= 0 else signal_name(-code)
            elif not pid:
                if time.monotonic() > deadline:
                    for each in confine.descendants(os.getpid()) or [self.pid]:
                        with contextlib.suppress(ProcessLookupError, PermissionError):
                            os.kill(each, signal.SIGKILL)
                    status = status or "killed"  # whatever the kernel says of it now
                time.sleep(0.001)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def serve(parent: socket.socket) -> None:
    """Answer the parent's questions about one file until it has no more."""
    wire.send(parent, {"state": "ready"})
    order = wire.receive(parent)
    answers = Answers(where=order["where"], allowed=tuple(order["allowed"]))
    sys.meta_path.insert(0, Refuse(tuple(set(KEPT_OUT) - set(order["allowed"]))))
    for seed in (random.seed, np.random.seed, torch.manual_seed):  # the same marks each time
        seed(0)
    wire.send(parent, answers.open(order["text"].encode("latin-1")) or {"state": "read"})
    while (question := wire.receive(parent)) is not None:
        report = answers.call(question["name"], question["arguments"], question["wrt"])
        with contextlib.suppress(Exception):  # it may be anything by now
            sys.stdout.flush()
        try:
            message = wire.pack({"nonce": question["nonce"], **report})
        except Exception as e:
            text = f"an answer that can't be handed over: {e}"
            message = wire.pack({"nonce": question["nonce"], "state": "type", "text": text, "cause": type(e).__name__})
        parent.sendall(message)


def main(mode: str, *rest: str) -> None:
    if mode == "fork":
        nursery(socket.socket(fileno=int(rest[0])), json.loads(rest[1]), tuple(json.loads(rest[2])))
        os._exit(0)  # torch takes half a second to end
    else:
        parent = socket.create_connection(("127.0.0.1", int(rest[0])))
        parent.sendall(rest[1].encode())
        keep_out()
        confine.enter(confine.Walls(), Path(rest[3]), json.loads(rest[2]), None)
        serve(parent)


if __name__ == "__main__":
    main(*sys.argv[1:])
