"""(IA)^3 (Liu et al., 2022, arXiv 2205.05638, section 3.3): learned scales of keys, values and the MLP's hidden layer.

    k <- l_k * k          v <- l_v * v          W_down (l_f * act(W_up x)) + b
    l_k, l_v: (h_kv e,)                         l_f: (f,)

One number for each coordinate, the same for every token, its own in every layer.  All start at one: the model starts as
its base.  A scale of what comes out of a Linear is a scale of its weight's rows (and of its bias), of what goes in a
scale of its columns, so all three merge and inference costs nothing.  Keys are scaled before they are rotated.

The survey calls l_f an overhead that stays, but it is a scale of W_down's columns; its softmax lacks the 1/sqrt(e).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..method import Method
from ..surgery import Wrapper, shape, wrap


class ScaleOut(Wrapper):
    """l * (W x + b): (..., d_in) -> (..., d_out)."""

    def __init__(self, base: nn.Module):
        super().__init__(base)
        self.scale = nn.Parameter(torch.ones(shape(base)[0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.base(x)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        self.base.weight *= self.scale[:, None]
        if self.base.bias is not None:
            self.base.bias *= self.scale
        return self.base


class ScaleIn(Wrapper):
    """W (l * x) + b: (..., d_in) -> (..., d_out)."""

    def __init__(self, base: nn.Module):
        super().__init__(base)
        self.scale = nn.Parameter(torch.ones(shape(base)[1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(self.scale * x)

    @torch.no_grad()
    def merged(self) -> nn.Module:
        self.base.weight *= self.scale
        return self.base


@dataclass(frozen=True)
class IA3(Method):
    """Train the three scales of every block, or of the blocks `layers` alone."""

    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 3e-2

    def insert(self, model: nn.Module) -> None:
        wrap(model, ["attn.k", "attn.v"], ScaleOut, self.layers)
        wrap(model, ["mlp.down"], ScaleIn, self.layers)
