"""LoRA (Hu et al., 2021, arXiv 2106.09685, section 4.1): the change of a weight has low rank.

    W x + b + s B A x          A: (r, d_in), B: (d_out, r), s = alpha / r

B starts at zero, so the model starts as its base; A starts random, or nothing would ever move.  While training, B A is
never formed: two thin products are cheaper and keep no (d_out, d_in) gradient.  Afterwards it is formed once and added
to W, and inference costs nothing.

The survey's listing scales W x as well, merges without s, and names keys and values where the paper has queries and
values.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..method import Method
from ..surgery import Parallel, shape, wrap


class LowRank(nn.Module):
    """x -> B A x: (..., d_in) -> (..., r) -> (..., d_out).  The scale is `Parallel`'s."""

    def __init__(self, d_in: int, d_out: int, rank: int, dropout: float = 0.0):
        super().__init__()
        self.A = nn.Parameter(torch.empty(rank, d_in))
        self.B = nn.Parameter(torch.zeros(d_out, rank))
        self.dropout = dropout
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))  # U(-1/sqrt(d_in), 1/sqrt(d_in)), as the authors' code

    def forward(self, x: Tensor) -> Tensor:
        if self.dropout:  # on this path alone; the frozen one sees all of x
            x = F.dropout(x, self.dropout, self.training)
        return F.linear(F.linear(x, self.A), self.B)

    def matrix(self) -> Tensor:
        """B A: (d_out, d_in)."""
        return self.B @ self.A


@dataclass(frozen=True)
class LoRA(Method):
    """Train a change of rank `rank` in the Linears `to` of each block; the paper's choice is the queries and values."""

    rank: int = 8
    alpha: float = 16
    to: Collection[str] = ("attn.q", "attn.v")
    dropout: float = 0.0
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"rank must be at least 1 and dropout in [0, 1), not {self.rank} and {self.dropout}")

    def branch(self, d_out: int, d_in: int) -> nn.Module:
        return LowRank(d_in, d_out, self.rank, self.dropout)

    def insert(self, model: nn.Module) -> None:
        scale = self.alpha / self.rank
        wrap(model, self.to, lambda linear: Parallel(linear, self.branch(*shape(linear)), scale), self.layers)
