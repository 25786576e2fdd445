"""Intrinsic SAID's P z for a tensor of n numbers: how its time grows with n, and what it is of a memory copy.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000 python benchmarks/fastfood.py

n log n means a little more than four times as long at 4n.  The copy is of what Fastfood keeps for the tensor, its
permutation and its normals.  All sizes take turns, on one thread; what counts is the thread's own time in the shortest
turn, so that other work on the machine matters little.  The two settings let Linux's C library keep what is freed; else
from 16 MB on, each call has to get its memory from the system again, and up to half of its time is that.
The result goes to docs/fastfood.md.
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from minipeft.reparametrization.intrinsic_said import Fastfood
from minipeft.report import table

PAGE = Path(__file__).parents[1] / "docs" / "fastfood.md"
ABOUT = """# What a random projection costs

Intrinsic SAID multiplies its few trained numbers z with a random matrix P of n rows, for each tensor of n numbers, by
Fastfood: [`intrinsic_said.py`](../minipeft/reparametrization/intrinsic_said.py). That takes n log n operations instead
of n times the length of z. Measured by `python benchmarks/fastfood.py`, on {machine}, one thread, the shortest of
{turns} turns. A copy is one of what Fastfood keeps for the tensor, its permutation and its normals.

"""
READING = """
Small tensors pay for calls, not for numbers: some twenty operations of torch take tens of microseconds, whatever they
work on, and a copy of a few kB takes one. Large ones pay for memory: each pass over buffers that don't fit in the
processor's cache costs more than its arithmetic. So where there are more than a million numbers, all that happens to
them happens in eight parts, each while it is in the cache.

Five more runs gave 4.2 to 4.6 for the last step, and 21.8 to 22.6 copies at 1,024 numbers.
"""
SIZES = [2**k for k in range(10, 23, 2)]


def seconds(step: Callable[[], object], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        step()
    return (time.thread_time() - began) / times


@torch.no_grad()
def main(dims: int = 1000, turns: int = 30) -> None:
    torch.set_num_threads(1)
    z, steps = nn.Parameter(torch.randn(dims)), {}
    for n in SIZES:
        weight = torch.zeros(n)
        food = Fastfood(weight, z, True, torch.Generator().manual_seed(0))
        kept = [(b, b.clone()) for b in food.buffers()]
        steps[n, "P z"] = lambda food=food, weight=weight: food(weight)
        steps[n, "copy"] = lambda kept=kept: [there.copy_(b) for b, there in kept]
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(turns):
        for (n, what), step in steps.items():
            best[n, what] = min(best[n, what], seconds(step, max(1, 2**16 // n)))
    rows = []
    for n in SIZES:
        transform, copy = best[n, "P z"], best[n, "copy"]
        growth = f"{transform / best[n // 4, 'P z']:.1f}" if n > SIZES[0] else "–"
        rows.append([f"{n:,}", f"{1e3 * transform:.3f}", f"{1e3 * copy:.3f}", f"{transform / copy:.1f}", growth])
    machine = f"{platform.machine()}, torch {torch.__version__.split('+')[0]}"
    found = table(["n", "P z, ms", "a copy, ms", "P z in copies", "in P z of n / 4"], rows)
    PAGE.write_text(ABOUT.format(machine=machine, turns=turns) + found + READING, encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main()
