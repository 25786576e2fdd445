"""BitFit (Ben Zaken et al., 2021, arXiv 2106.10199, section 3): train the biases, nothing else.

    W x + b          b trains, W does not

All of them: of the four attention Linears, of the MLP's, and of the norms (whose gains stay).  Each layer gets to add
a constant vector, the same for every input; no weight matrix changes, and the result is a plain model.  In GPT-2 small
that is 0.08% of all numbers, where the survey says 0.05%.

A LLaMA has no biases.  `add=True` gives each of its Linears one that starts at zero, the nearest thing to BitFit that
it can have; without it BitFit refuses, where the survey's listing finds nothing to train.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ..method import Method
from ..surgery import find, inner, thaw, walk


@dataclass(frozen=True)
class BitFit(Method):
    """Train every bias of the model, or of the blocks `layers` alone."""

    add: bool = False  # give Linears without a bias one that starts at zero
    layers: Collection[int] | None = None  # all, and the final norm

    lr: ClassVar[float] = 1e-2
    in_place: ClassVar[bool] = True

    def insert(self, model: nn.Module) -> None:
        if self.layers is None:
            parts = [inner(part) for _, _, part in walk(model)]
        else:
            parts = [inner(m) for block in find(model, ["block"], self.layers).values() for _, _, m in walk(block)]
        biased = [p for p in parts if getattr(p, "bias", None) is not None]
        bare = [p for p in parts if isinstance(p, nn.Linear) and p.bias is None and p is not model.head]
        if not biased and not self.add:
            raise ValueError("this model has no biases; BitFit(add=True) gives each Linear a zero one to train")
        for part in biased:
            thaw(part, "bias")
        for part in bare if self.add else []:
            thaw(part, "bias", torch.zeros(len(part.weight)).to(part.weight))
