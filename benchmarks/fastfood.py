"""Intrinsic SAID's P z for a tensor of n numbers: how its time grows with n, and what it is of a memory copy.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000 python benchmarks/fastfood.py

n log n means a little more than four times as long at 4n.  The copy is of what Fastfood keeps for the tensor, its
permutation and its normals.  All sizes take turns, and the shortest turn of each counts: the others have met somebody
else's work.  The two settings let Linux's C library keep what is freed; else, from 16 MB on, each call has to get its
memory from the system again, and up to half of its time is that.
"""

import torch
from torch import nn

from minipeft.measure import times
from minipeft.reparametrization.intrinsic_said import Fastfood

SIZES = [2**k for k in range(10, 23, 2)]


@torch.no_grad()
def main(dims: int = 1000, rounds: int = 40) -> None:
    torch.set_num_threads(1)
    z, steps = nn.Parameter(torch.randn(dims)), []
    repeats = [max(1, 2**18 // n) for n in SIZES]  # what takes microseconds, often enough to be seen
    for n, k in zip(SIZES, repeats, strict=True):
        weight = torch.zeros(n)
        food = Fastfood(weight, z, True, torch.Generator().manual_seed(0))
        kept = [(b, b.clone()) for b in food.buffers()]
        steps.append(lambda food=food, weight=weight, k=k: [food(weight) for _ in range(k)])
        steps.append(lambda kept=kept, k=k: [there.copy_(b) for _ in range(k) for b, there in kept])
    best = times(*steps, rounds=rounds).amin(1).view(-1, 2) / torch.tensor(repeats)[:, None]
    print("        n    P z, ms   copy, ms   of a copy   of n / 4")
    for i, (n, (seconds, copy)) in enumerate(zip(SIZES, best.tolist(), strict=True)):
        growth = f"{seconds / best[i - 1, 0]:8.1f}" if i else ""
        print(f"{n:9,d} {1e3 * seconds:10.3f} {1e3 * copy:10.3f} {seconds / copy:11.1f} {growth}")


if __name__ == "__main__":
    main()
