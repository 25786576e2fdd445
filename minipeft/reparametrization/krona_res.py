"""KronA^B_res (Edalati et al., 2022, arXiv 2212.10650, section 3): a Kronecker product beside the whole MLP.

    h <- MLP(x) + s (A (x) B) x + r x          A: (a_out, a_in), B: (d / a_out, d / a_in), r: one number

One linear map as wide as the stream, with a residual connection of its own; x is what the MLP reads, after its norm.
s is given, r is learned, each layer its own.  Without the residual (`residual=False`) it is the paper's KronA^B.  It
stands beside a nonlinear part, so it cannot be merged.  A starts at zero, and so does r, whose first value we haven't
found: the model starts as its base.

The survey's "parallel adapter with a residual connection" sounds like a bottleneck and a plain sum: there is neither.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..method import Method
from ..surgery import Parallel, wrap
from .krona import Kronecker


class ResidualKronecker(nn.Module):
    """x -> s (A (x) B) x + r x: (..., d) -> (..., d)."""

    def __init__(self, product: Kronecker):
        super().__init__()
        self.product, self.r = product, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x) + self.r * x


@dataclass(frozen=True)
class KronARes(Method):
    """Train a Kronecker product, and the share of x that is added, beside the MLP of each block."""

    scale: float = 1.0
    factor: Collection[int] | None = None  # (a_out, a_in), the size of A; None: A and B nearly square
    residual: bool = True  # False: KronA^B
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 1e-2
    why_not_merge: ClassVar[str] = "its product goes around the MLP's nonlinearity"

    def branch(self, width: int) -> nn.Module:
        product = Kronecker(width, width, self.scale, self.factor)
        return ResidualKronecker(product) if self.residual else product

    def insert(self, model: nn.Module) -> None:
        wrap(model, ["mlp"], lambda mlp: Parallel(mlp, self.branch(model.c.width)), self.layers)
