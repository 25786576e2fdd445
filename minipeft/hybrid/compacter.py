"""Compacter (Karimi Mahabadi, Henderson, Ruder, 2021, arXiv 2106.04647): adapters of Kronecker products.

    h <- h + U gelu(D h + c) + b          D: (m, d), U: (d, m), each of them

    W = sum_i A_i (x) s_i t_i             i = 1..n;  A_i: (n, n),  s_i: (d_out/n, r),  t_i: (r, d_in/n)

The A_i are one (n, n, n) tensor for all layers and both matrices; s and t are each matrix's own.  So an adapter has
(2 r + 1) (d + m) numbers of its own instead of 2 d m + d + m, and the rank of W is at most n^2 r, however wide it is.
A starts at 1e-4: near the base, but not at zero, where D = U = 0 would let nothing but b ever move.  The LayerNorms
train too.

    Compacter       after attention and after the MLP
    Compacter++     to=["mlp"]: after the MLP alone
    PHM-Adapter     rank=None, shared=False: each W has its own A_i, and a whole B_i: (d_out/n, d_in/n) for s_i t_i

The survey's pseudocode leaves out the skip `h +`, the norms and the biases, and its sum has n + 1 terms.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from ..additive.adapters import Bottleneck, BottleneckMethod
from ..surgery import Serial, thaw_norms, wrap


class PHM(nn.Module):
    """x -> W x + b, W = sum_i A_i (x) B_i, B_i = s_i t_i or, with rank None, whole: (..., d_in) -> (..., d_out)."""

    def __init__(self, d_in: int, d_out: int, n: int, rank: int | None, std: float):
        super().__init__()
        self.A = nn.Parameter(std * torch.randn(n, n, n))
        sizes = {"B": (d_out // n, d_in // n)} if rank is None else {"s": (d_out // n, rank), "t": (rank, d_in // n)}
        for key, (rows, columns) in sizes.items():
            bound = math.sqrt(2 * 6 / (rows + columns))  # Xavier's, with a gain of sqrt(2), as the authors' code
            setattr(self, key, nn.Parameter(torch.empty(n, rows, columns).uniform_(-bound, bound)))
        self.bias = nn.Parameter(torch.zeros(d_out))
        self.n, self.rank = n, rank

    def borrow(self, owner: "PHM") -> None:
        """Use the A of another layer, which alone holds it, counts it and saves it."""
        del self.A
        vars(self)["A"] = owner.A

    def weight(self) -> Tensor:
        """sum_i A_i (x) B_i: (d_out, d_in)."""
        B = self.B if self.rank is None else self.s @ self.t
        return rearrange(einsum(self.A, B, "i a c, i o k -> a o c k"), "a o c k -> (a o) (c k)")

    def forward(self, x: Tensor) -> Tensor:
        if self.rank is None:
            return F.linear(x, self.weight(), self.bias)
        # t first: it leaves n^2 r numbers of a token, and W is never formed
        low = F.linear(rearrange(x, "... (c k) -> ... c k", c=self.n), rearrange(self.t, "i r k -> (i r) k"))
        rest = rearrange(einsum(self.A, self.s, "i a c, i o r -> a o c i r"), "a o c i r -> (a o) (c i r)")
        return F.linear(rearrange(low, "... c ir -> ... (c ir)"), rest, self.bias)


@dataclass(frozen=True)
class Compacter(BottleneckMethod):
    """Train adapters of `size` numbers, their weights sums of n products: 4 in the paper, 12 in PHM-Adapter."""

    size: int = 16
    n: int = 4
    rank: int | None = 1  # None: B_i is whole
    shared: bool = True  # one A for all
    to: Collection[str] = ("attn", "mlp")  # they read this sub-layer's result before it joins the stream
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    norms: bool = True
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1 or self.size < 1 or self.size % self.n:
            raise ValueError(f"size must be a multiple of n, and n at least 1, not {self.size} and {self.n}")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, or None for whole factors, not {self.rank}")

    def branch(self, width: int) -> nn.Module:
        bottleneck, std = Bottleneck(width, self.size, self.activation), 1e-4 if self.shared else 1e-2
        bottleneck.down = PHM(width, self.size, self.n, self.rank, std)
        bottleneck.up = PHM(self.size, width, self.n, self.rank, std)
        return bottleneck

    def insert(self, model: nn.Module) -> None:
        if model.c.width % self.n:
            raise ValueError(f"the model's width must be a multiple of n: {model.c.width} is none of {self.n}")
        wrap(model, self.to, lambda part: Serial(part, self.branch(model.c.width)), self.layers)
        if self.shared:
            first, *others = (m for m in model.modules() if isinstance(m, PHM))
            for phm in others:
                phm.borrow(first)
        if self.norms:
            thaw_norms(model, self.layers)
