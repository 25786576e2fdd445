"""KronA (Edalati et al., 2022, arXiv 2212.10650, section 3): the change of a weight is a Kronecker product.

    W x + b + s (A (x) B) x          A: (a_out, a_in), B: (b_out, b_in), a_out b_out = d_out, a_in b_in = d_in

A (x) B puts a copy of B in the place of each number of A, times that number.  Its rank is rank A times rank B: with
nearly square factors the change can be of full rank, for as many numbers as a LoRA of rank 1.  A starts at zero, so the
model starts as its base; B starts random, or nothing would ever move.

While training, the product is never formed: with x as a matrix X of a_in rows, (A (x) B) x is A X B^T, row after row.
Afterwards it is formed once and added to W, and inference costs nothing.

The survey's pseudocode gives the product x W instead of x, cuts x by the other sides of A and B, which fits square ones
only, and scales the frozen path as well.
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


def divisor(n: int) -> int:
    """The largest divisor of n that isn't above its root: divisor(18) is 3."""
    return max(i for i in range(1, math.isqrt(n) + 1) if n % i == 0)


class Kronecker(nn.Module):
    """x -> s (A (x) B) x: (..., d_in) -> (..., d_out), with A of the size `factor`, (a_out, a_in)."""

    def __init__(self, d_in: int, d_out: int, scale: float, factor: Collection[int] | None = None):
        super().__init__()
        factor = factor or (divisor(d_out), divisor(d_in))
        if len(factor) != 2 or min(factor) < 1 or d_out % factor[0] or d_in % factor[1]:
            raise ValueError(f"factor must be two divisors of a weight's sides ({d_out}, {d_in}), not {factor}")
        a_out, a_in = factor
        self.A = nn.Parameter(torch.zeros(a_out, a_in))
        self.B = nn.Parameter(torch.empty(d_out // a_out, d_in // a_in))
        self.scale = scale
        nn.init.kaiming_uniform_(self.B, a=math.sqrt(5))  # U(-1/sqrt(b_in), 1/sqrt(b_in)), as LoRA's A

    def forward(self, x: Tensor) -> Tensor:
        (a_out, a_in), (b_out, b_in) = self.A.shape, self.B.shape
        X = x.reshape(-1, a_in, b_in)  # a matrix for each of n tokens, row after row
        A = (self.scale * self.A).expand(len(X), -1, -1)  # n times the same, unwritten: `A @` would copy all X, twice
        return F.linear(A.bmm(X), self.B).view(*x.shape[:-1], a_out * b_out)

    def matrix(self) -> Tensor:
        """s A (x) B, as it is added to W: (d_out, d_in)."""
        return self.scale * torch.kron(self.A, self.B)


@dataclass(frozen=True)
class KronA(Method):
    """Train a Kronecker product beside the Linears `to` of each block, the queries and values as for LoRA."""

    scale: float = 1.0
    to: Collection[str] = ("attn.q", "attn.v")
    factor: Collection[int] | None = None  # (a_out, a_in), the size of A; None: A and B nearly square
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 1e-2

    def branch(self, d_out: int, d_in: int) -> nn.Module:
        return Kronecker(d_in, d_out, self.scale, self.factor)

    def insert(self, model: nn.Module) -> None:
        wrap(model, self.to, lambda linear: Parallel(linear, self.branch(*shape(linear))), self.layers)
