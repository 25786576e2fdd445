"""Intrinsic SAID's P z for a tensor of n numbers: how its time grows with n, and what it is of a memory copy.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000 python benchmarks/fastfood.py

n log n means a little more than four times as long at 4n.  The copy is of what Fastfood keeps for the tensor, its
permutation and its normals.  All sizes take turns, on one thread; what counts is the thread's own time in the shortest
turn, so that other work on the machine matters little.  The two settings let Linux's C library keep what is freed; else
from 16 MB on, each call has to get its memory from the system again, and up to half of its time is that.
"""

import time
from collections.abc import Callable

import torch
from torch import nn

from minipeft.reparametrization.intrinsic_said import Fastfood

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
    print("        n    P z, ms   copy, ms   of a copy   of n / 4")
    for n in SIZES:
        transform, copy = best[n, "P z"], best[n, "copy"]
        growth = f"{transform / best[n // 4, 'P z']:8.1f}" if n > SIZES[0] else ""
        print(f"{n:9,d} {1e3 * transform:10.3f} {1e3 * copy:10.3f} {transform / copy:11.1f} {growth}")


if __name__ == "__main__":
    main()
