"""The same number of trained numbers in different places of the mini GPT: lesson 19's picture.

    python benchmarks/mam_places.py          writes lessons/data/mam.csv; 64 runs, five minutes on one quiet core

About 20,000 numbers each: adapters behind and beside both sub-layers, a prefix, LoRA, and MAM, at four learning rates.
"""

import copy
import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from minipeft import GPT, MAM, LoRA, PrefixTuning, counts, evaluate, fit, tasks
from minipeft.method import Method
from minipeft.surgery import Serial, Wrapper, wrap

TO = Path(__file__).parents[1] / "lessons" / "data" / "mam.csv"
SIZE = 26


class BesideAttention(Wrapper):
    """A block with a second network beside its attention: it reads the stream x, as MAM's reads u."""

    def __init__(self, base: nn.Module, branch: nn.Module):
        super().__init__(base)
        self.branch = branch

    def forward(self, x: Tensor, *context) -> Tensor:
        block = self.base
        u = x + block.attn(block.norm1(x), *context) + self.branch(x)
        return u + block.mlp(block.norm2(u))


@dataclass(frozen=True)
class Placed(Method):
    """The bottleneck of MAM with s = 1, from the same start, in another place."""

    at: Literal["attn", "mlp", "block"]  # behind a sub-layer, or in the block beside its attention

    def insert(self, model: nn.Module) -> None:
        form = BesideAttention if self.at == "block" else Serial
        wrap(model, self.at, lambda part: form(part, MAM(size=SIZE).branch(model.c.width)))


PLACES = {
    "adapter behind the attention": partial(Placed, "attn"),
    "adapter beside the attention": partial(Placed, "block"),
    "adapter behind the MLP": partial(Placed, "mlp"),
    "adapter beside the MLP": partial(MAM, length=0, size=SIZE, scale=1.0),
    "adapter beside the MLP, s = 4": partial(MAM, length=0, size=SIZE),
    "prefix of 26": partial(PrefixTuning, 26),
    "LoRA of rank 13": partial(LoRA, rank=13),
    "MAM: prefix of 10, adapter of 16, s = 4": MAM,
}
RATES = (0.00075, 0.003, 0.012, 0.048)  # four times the one before: s = 4 can be compared with a larger rate


def main() -> None:
    torch.set_num_threads(1)
    base, task = GPT.from_pretrained("mini-gpt2"), tasks.load("odd_one_out")
    with TO.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["place", "kept", "rate", "seed", "accuracy"])
        for seed in (0, 1):
            for rate in RATES:
                for place, method in PLACES.items():
                    model = copy.deepcopy(base)
                    fit(model, method(), task, steps=200, lr=rate, seed=seed)
                    out.writerow([place, counts(model).trainable, rate, seed, evaluate(model, task).accuracy])
                    file.flush()


if __name__ == "__main__":
    main()
