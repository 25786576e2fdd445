"""Walls around a process that runs a learner's code: those that this system offers, by name, and why others are not.

`settle` once, in the nursery; then, in each child, `enter`.  Everything here is a second line of defence.  The first is
that the child holds nothing worth stealing and that the parent alone judges.
"""

import contextlib
import ctypes
import functools
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

LINUX = sys.platform == "linux"
LAYERS = (  # beside the resource limits, and Linux's alone
    "another uid", "user namespace", "network namespace", "process namespace", "Landlock", "seccomp", "control group",
)  # fmt: skip
NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x08000000, 0x10000000, 0x20000000, 0x40000000  # linux/sched.h
DEATH_SIGNAL, DUMPABLE, SECCOMP, SUBREAPER, NO_NEW_PRIVILEGES = 1, 4, 22, 36, 38  # linux/prctl.h


@dataclass
class Walls:
    """What `settle` found: names of the layers that are up, reasons for those that are not, handles for `enter`."""

    up: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    landlock: Callable[[tuple[str, ...]], int] | None = None  # a ruleset, for the packages that may be read after all
    seccomp: bool = False
    groups: dict[Path, int] = field(default_factory=dict)  # control groups, and the open files that admit to them
    without: tuple[str, ...] = ()  # layers that shall not be used

    def attempt(self, layer: str, build: Callable[[], object]) -> object | None:
        try:
            if layer in self.without:
                raise OSError(0, "turned off")
            made = build()
        except (OSError, AttributeError, ValueError) as e:
            self.missing[layer] = getattr(e, "strerror", None) or str(e) or type(e).__name__
            return None
        self.up.append(layer)
        return made


def system(name: str, *arguments: object) -> int:
    """A function of the C library; raises OSError where it says -1."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = getattr(libc, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def prctl(option: int, *arguments: int) -> None:
    system("prctl", option, *[ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]])


def settle(work: Path, hidden: dict[str, Path], limits: dict[str, int], without: tuple[str, ...]) -> Walls:
    """Called in the nursery before the first child.

    work      the one folder where children may write
    hidden    the packages that they must not read, and where these are
    without   names of layers that shall not be used
    """
    walls = Walls(without=without)

    @functools.cache
    def rules_for(allowed: tuple[str, ...]) -> int:
        kept = [path.resolve() for name, path in hidden.items() if name not in allowed]
        return landlock(work, kept, [hidden[name] for name in allowed if name in hidden])

    if resource:
        walls.up.append("resource limits")
    else:
        walls.missing["resource limits"] = f"not offered by {sys.platform}"
    if not LINUX:
        for layer in LAYERS:
            walls.missing[layer] = f"not offered by {sys.platform}"
        return walls
    prctl(SUBREAPER, 1)  # whatever a child leaves behind becomes ours, to be ended
    walls.groups = walls.attempt("control group", lambda: control_groups(limits)) or {}
    walls.attempt("another uid", lambda: change_user(work))
    walls.attempt("user namespace", user_namespace)
    walls.attempt("network namespace", lambda: system("unshare", NEW_NET))
    walls.attempt("process namespace", can_nest)
    prctl(DUMPABLE, 0)  # nobody reads our memory through /proc, not even the same user
    prctl(NO_NEW_PRIVILEGES, 1)
    if walls.attempt("Landlock", lambda: rules_for(())):
        walls.landlock = rules_for
    walls.seccomp = walls.attempt("seccomp", check_seccomp) is not None
    return walls


def enter(walls: Walls, work: Path, limits: dict[str, int], rules: int | None) -> None:
    """Called in the child, which doesn't come out again.  `rules` is what `walls.landlock` gave."""
    if resource:
        set_limits(limits)
    os.chdir(work)
    os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    if rules is not None:
        system("syscall", 446, rules, 0)  # landlock_restrict_self
    if walls.seccomp:
        filter_calls()


# -- resource limits --------------------------------------------------------------------------------------------------


def set_limits(limits: dict[str, int]) -> None:
    def most(what: str, n: int) -> None:
        with contextlib.suppress(ValueError, OSError, AttributeError):
            number = getattr(resource, what)
            hard = resource.getrlimit(number)[1]
            n = n if hard == resource.RLIM_INFINITY else min(n, hard)
            resource.setrlimit(number, (n, n))

    most("RLIMIT_CORE", 0)
    most("RLIMIT_NOFILE", 256)
    most("RLIMIT_FSIZE", limits["disk_bytes"] // 4)
    most("RLIMIT_CPU", int(limits["exercise_seconds"]) * 2 + 5)
    most("RLIMIT_AS", address_space() + limits["memory_bytes"])
    if LINUX and os.getuid():  # counts all that the user runs: only what comes on top is the child's; not for root
        most("RLIMIT_NPROC", processes_of(os.getuid()) + limits["processes"])


def address_space() -> int:
    """Bytes that are mapped already, torch's libraries for the most part."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 4 << 30


def processes_of(uid: int) -> int:
    """Threads count, for the kernel as for us."""
    n = 0
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                n += len(os.listdir(f"/proc/{entry.name}/task"))
    return n


# -- users and namespaces ---------------------------------------------------------------------------------------------


def change_user(work: Path) -> None:
    """Root becomes a user that nobody else is, if that one can still read Python and torch."""
    if os.geteuid() != 0:
        raise OSError(0, "only root can change to another user")
    uid = 60_000 + os.getpid() % 5_000
    needed = [os.__file__, sys.executable, *[p for p in sys.path if Path(p, "torch").is_dir()]]

    def become() -> None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)

    probe = os.fork()
    if not probe:
        try:
            become()
            readable = all(os.access(p, os.R_OK, effective_ids=True) for p in needed)
        except BaseException:
            readable = False
        os._exit(0 if readable else 1)
    if os.waitpid(probe, 0)[1]:
        raise OSError(0, "another user could not read this Python and its packages")
    os.chown(work, uid, uid)
    become()
    prctl(DUMPABLE, 1)  # a change of user takes our own /proc files from us; a user namespace needs them


def user_namespace() -> None:
    """The same user, without any privilege outside, and with the right to make the other namespaces."""
    uid, gid = os.getuid(), os.getgid()
    system("unshare", NEW_USER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def can_nest() -> bool:
    """Whether a child may have namespaces of its own: it sees no other process, and with its first process all end, and
    all memory that processes share by name."""
    probe = os.fork()
    if not probe:
        try:
            system("unshare", NEW_PID | NEW_IPC)
            os._exit(0)
        except OSError as e:
            os._exit(e.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(probe, 0)[1])
    if code:
        raise OSError(code, os.strerror(code) if code > 0 else "")
    return True


# -- Landlock: files -----------------------------------------------------------------------------------------------

READ_FILE, READ_FOLDER, EXECUTE = 1 << 2, 1 << 3, 1 << 0
ALL_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # of rights to files
IN_FOLDER = ((1 << 16) - 1) & ~(EXECUTE | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 15)  # no devices, sockets, fifos


def landlock(work: Path, hidden: list[Path], allowed: list[Path]) -> int:
    """A ruleset: read Python and its packages but the hidden ones, write in `work`, and nothing else."""
    version = system("syscall", 444, None, 0, 1)
    rights = ALL_BY_VERSION[max(v for v in ALL_BY_VERSION if v <= version)]
    attributes = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)  # files, TCP, signals
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = system("syscall", 444, ctypes.c_char_p(attributes), size, 0)

    def allow(path: Path, what: int) -> None:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if not path.is_dir():
                    what &= READ_FILE | EXECUTE | 2
                system("syscall", 445, rules, 1, ctypes.c_char_p(struct.pack("=Qi", what & rights, handle)), 0)
            finally:
                os.close(handle)

    for path, what in readable(hidden, allowed).items():
        allow(path, what)
    for path in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"):
        allow(Path(path), READ_FILE | 2)
    allow(work, IN_FOLDER)
    return rules


def readable(hidden: list[Path], allowed: list[Path]) -> dict[Path, int]:
    """The standard library, the packages, the system's libraries, what is allowed, and the rights to each.

    A folder with something hidden in it may be listed, so that Python finds its way, and the rest of it read.
    """
    system = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    system += ["/etc/localtime", "/proc/cpuinfo", "/sys/devices/system/cpu"]
    waiting = [Path(p).resolve() for p in (*system, *sys.path, *allowed) if p]
    rights: dict[Path, int] = {}
    while waiting:
        path = waiting.pop()
        if path in hidden or path in rights or not os.path.exists(path):
            continue
        split = any(h.is_relative_to(path) for h in hidden)
        rights[path] = READ_FOLDER if split else READ_FILE | READ_FOLDER | EXECUTE
        waiting += path.iterdir() if split else []
    return rights


# -- seccomp: calls of the kernel -------------------------------------------------------------------------------------

CALLS = {  # by their numbers on each machine
    "socket": (41, 198),  # a local one may lead to a service of the user's
    "io_uring_setup": (425, 425),  # opens sockets too
    "ptrace": (101, 117),  # no look into other processes
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "mount": (165, 40),  # no other walls than ours
    "unshare": (272, 97),
    "setns": (308, 268),
    "shmget": (29, 194),  # nothing that stays when the process is gone
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h


def check_seccomp() -> bool:
    if platform.machine() not in MACHINES:
        raise OSError(0, f"no list of calls for {platform.machine()}")
    return True


def filter_calls() -> None:
    """A program for the kernel: each instruction is (code, jump if true, jump if false, operand)."""
    machine = MACHINES[platform.machine()]
    calls = [numbers[list(MACHINES).index(platform.machine())] for numbers in CALLS.values()]
    load, equal, at_least, result = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050001, 0x7FFF0000  # refused: EPERM
    program = [(load, 0, 0, 4), (equal, 1, 0, machine), (result, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, len(calls) + 1, 0, 0x40000000)]  # another numbering of the same calls
    program += [(equal, len(calls) - i, 0, n) for i, n in enumerate(calls)]
    program += [(result, 0, 0, allow), (result, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    prctl(SECCOMP, 2, ctypes.addressof(header))


# -- control groups ---------------------------------------------------------------------------------------------------


def control_groups(limits: dict[str, int]) -> dict[Path, int]:
    """Made for this nursery, with limits on memory and processes.  The parent removes them when it is gone."""
    mine = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    base = Path("/sys/fs/cgroup")
    settings = {"pids": {"pids.max": limits["processes"]}}
    if (base / "cgroup.controllers").exists():
        parents = {controllers or "all": base / path.lstrip("/") for _, controllers, path in mine}
        settings = {"all": {"memory.max": limits["memory_bytes"], "pids.max": limits["processes"]}}
    else:
        parents = {c: base / c / path.lstrip("/") for _, names, path in mine for c in names.split(",") if c}
        settings["memory"] = {"memory.limit_in_bytes": limits["memory_bytes"]}
    groups = {}
    try:
        for controller, values in settings.items():
            parent = parents[controller] if parents.get(controller, base).exists() else base / controller
            for stale in parent.glob("minipeft-*"):  # of a grader that was killed
                if not Path("/proc", stale.name.removeprefix("minipeft-")).exists():
                    with contextlib.suppress(OSError):
                        stale.rmdir()
            group = parent / f"minipeft-{os.getpid()}"
            group.mkdir()
            groups[group] = -1
            for name, value in values.items():
                (group / name).write_text(str(value))
            groups[group] = os.open(group / "cgroup.procs", os.O_WRONLY)  # now: another user could not
    except (OSError, KeyError) as e:
        for group in groups:
            group.rmdir()
        raise OSError(0, getattr(e, "strerror", None) or f"no controller {e}") from None
    return groups


# -- ends -------------------------------------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """All processes that came from this one and are still there."""
    if not LINUX:
        return []
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def size(folder: Path, most: int) -> int:
    """Bytes in a folder, each file as 4 kB at least, no further than `most`; what can't be looked into is too much."""
    total, waiting = 0, [str(folder)]
    while waiting and total <= most:
        path = waiting.pop()
        try:
            if len(path) > 1000:  # so deep that looking takes long
                raise OSError
            with os.scandir(path) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        total += max(entry.stat(follow_symlinks=False).st_size, 4096)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    if total > most:
                        break
        except FileNotFoundError:
            continue
        except OSError:
            return most + 1
    return total


def remove(folder: Path) -> None:
    """Whatever a learner's code made of it: without rights, or deeper than a path may be long.

    Folders are moved up before they are emptied, so that none is deep by then; links are not followed.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
        return
    os.chmod(folder, 0o700)
    waiting, moved = [folder], 0
    while waiting:
        here = waiting.pop()
        for entry in list(os.scandir(here)):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            moved += 1
            waiting.append(folder.with_name(f"{folder.name}-{moved}"))
            os.rename(entry.path, waiting[-1])
        os.rmdir(here)
