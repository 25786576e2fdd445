"""Series of runs whose results are lines of a CSV file: each is done once, and a broken series goes on where it was.

The first columns say what a run is, and are its job; the others are what came out.  So a run with other numbers is
another run, and whatever has changed since, no result is taken for that of another job.
"""

import csv
import io
import multiprocessing
import os
import signal
import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from .progress import Progress

Job = tuple  # of strings and numbers
Lines = dict[Job, dict[str, str]]


def read(path: Path, columns: int) -> Lines:
    """{what its first columns say, as strings: line}.  A last line that was cut short doesn't count."""
    text = _whole(path).decode() if path.exists() else ""
    return {tuple(line.values())[:columns]: line for line in csv.DictReader(io.StringIO(text, newline=""))}


def key(job: Job) -> Job:
    """The job as it stands in a file."""
    return tuple(map(str, job))


def carry_on(
    path: Path, fields: Sequence[str], jobs: Sequence[Job], run: Callable[[Job], dict], label: str, workers: int = 2
) -> int:
    """Do the jobs that have no line yet, and write a line as soon as each is done; returns how many there were.

    run       job -> its line, a dict of `fields`; a function that another process can import
    workers   processes, each of one thread; 1: this one.  On small tensors threads only wait for each other

    Raises ValueError for a file with other columns.
    """
    done = read(path, len(jobs[0])) if jobs else {}
    missing = [job for job in jobs if key(job) not in done]
    if not missing:
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if (head := path.read_text(encoding="utf-8").partition("\n")[0].strip()) not in ("", ",".join(fields)):
            raise ValueError(f"{path} has the columns {head}, not {','.join(fields)}: move it away, or start elsewhere")
        os.truncate(path, len(_whole(path)))
    bar, threads = Progress(len(missing), label), torch.get_num_threads()
    if workers > 1:
        pool = multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), _alone)
    else:
        pool = nullcontext()
        torch.set_num_threads(1)
    try:
        with path.open("a", newline="", encoding="utf-8") as file, pool:
            out = csv.DictWriter(file, fields)
            if not file.tell():
                out.writeheader()
            for line in pool.imap_unordered(run, missing) if workers > 1 else map(run, missing):
                out.writerow(line)
                file.flush()
                bar.step(" ".join(str(line[f]) for f in fields[:3]))
    finally:
        torch.set_num_threads(threads)
        bar.close(f"{label}: {bar.done} of {len(missing)} done")
    return len(missing)


def _whole(path: Path) -> bytes:
    """The file up to the end of its last whole line."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _alone() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others


# -- what several runs say ---------------------------------------------------------------------------------------------


def mean(values: Sequence[float]) -> float:
    return statistics.mean(values) if values else float("nan")


def spread(values: Sequence[float]) -> float:
    """The standard deviation, of a sample; of one value there is none to see, and it counts as 0."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def cell(values: Sequence[float], digits: int = 0) -> str:
    """mean ± spread, or what there is of it."""
    if not values:
        return "–"
    return f"{mean(values):.{digits}f}" + (f" ± {spread(values):.{digits}f}" if len(values) > 1 else "")
