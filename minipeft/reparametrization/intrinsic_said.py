"""Intrinsic SAID (Aghajanyan, Gupta, Zettlemoyer, 2020, arXiv 2012.13255, section 3): move in a few random directions.

    theta_i = theta_0i + lambda_i P_i z        z: (d',), shared by all tensors i; lambda_i: (); P_i: (D_i, d')
    P_i = c H G Pi H B, its first D_i rows     Fastfood (Le, Sarlos, Smola, 2013); c = 1 / sqrt(D_i sum G^2)

P_i is random, fixed, and never formed: B are random signs, Pi is a permutation, G are normals; H is the Hadamard matrix
of size n = 2^k >= D_i, applied in n log n.  A P_i about keeps the length of z, whatever the size of its tensor; the
lambda_i, the structure-aware part, are paid for out of the same budget.  Without them the method is called DID.

The survey's formula has no lambda_i, and calls the update low-rank: it lies in a subspace of few dimensions, but as
matrices the changes are of full rank.  Its time of D log d is for stacked blocks of Fastfood, ours is D log D.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..method import Method
from ..surgery import originals, reparametrize

H2 = torch.tensor([[1.0, 1.0], [1.0, -1.0]], device="cpu")
H4 = torch.kron(H2, H2)
H32 = torch.kron(torch.kron(H4, H4), H2)
SMALL = {r: H32[:r, :r].clone() for r in (2, 4, 8, 16, 32)}  # a corner of it is a smaller one
CACHE = 2**20  # numbers, 4 MB: as many as a processor's cache holds


def hadamard(x: Tensor) -> Tensor:
    """H x in Sylvester's order, not normalised: (n,) -> (n,), n a power of two, in n log n.

    H is the Kronecker product of small ones, each for four bits of an index: they act in turn, on the last bits, which
    then go first.  After all of them every bit stands where it stood.  Few numbers cost less than the calls: where five
    bits at a time save one, they go so.
    """
    left, most = len(x), 32 if len(x) in (512, 1024) else 16
    while left > 1:
        r = min(left, most)
        x, left = F.linear(SMALL[r].to(x), x.view(-1, r)), left // r  # (r, n / r): written row after row
    return x.flatten()


def spread(x: Tensor, order: Tensor, normal: Tensor) -> Tensor:
    """H G Pi x: (m,) -> (n,), of the indices and the numbers (n,) that Pi and G come down to.

    More numbers than the cache holds are done in eight parts, one after the other, and last the first three bits of an
    index, which tell the parts.
    """
    if len(order) > CACHE:
        parts = [spread(x, *part) for part in zip(order.chunk(8), normal.chunk(8), strict=True)]
        return (SMALL[8].to(x) @ torch.stack(parts)).flatten()
    return hadamard(x.index_select(0, order) * normal)


def power_of_two(n: int) -> int:
    """The smallest one that isn't below n, by bits: a logarithm rounds."""
    return 1 << (n - 1).bit_length()


class Fastfood(nn.Module):
    """W -> W + lambda P z.  P is drawn anew from the seed when a delta is loaded, and isn't in its files."""

    def __init__(self, weight: Tensor, z: nn.Parameter, scaled: bool, draws: torch.Generator):
        super().__init__()
        m = power_of_two(len(z))
        n = max(power_of_two(weight.numel()), m)  # of a small tensor too, all of z takes part
        signs = torch.randint(0, 2, (len(z),), generator=draws, device="cpu") * 2.0 - 1
        order = torch.randperm(n, generator=draws, device="cpu")
        normal = torch.randn(n, generator=draws, device="cpu")
        self.z, self.scale = z, nn.Parameter(torch.ones(())) if scaled else None
        self.register_buffer("signs", signs, persistent=False)
        # B z is padded with zeros from m to n, and H of that is H of the first m, n / m times over: so says Sylvester
        self.register_buffer("order", (order % m).int(), persistent=False)
        self.register_buffer("normal", normal / (weight.numel() * normal.square().sum()).sqrt(), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        device = "cpu" if weight.is_meta else weight.device.type  # autocast knows no meta
        with torch.autocast(device, enabled=False):  # sums of many numbers: in 32 bits at least
            z = self.z if self.scale is None else self.scale * self.z  # here, and nothing of the size of W is kept
            z = self.signs * z.to(torch.promote_types(z.dtype, torch.float32))
            x = hadamard(F.pad(z, (0, power_of_two(len(z)) - len(z))))
            x = spread(x, self.order, self.normal)
        return weight + x[: weight.numel()].view_as(weight).to(weight)


@dataclass(frozen=True)
class IntrinsicSAID(Method):
    """Train `dims` numbers in all, which move every number of the base; in Compacter's paper 20,000 of T5-base."""

    dims: int = 1000
    scales: bool = True  # SAID: one of them for each tensor; False: DID, all of them in z
    seed: int = 0  # of the directions

    lr: ClassVar[float] = 1e-2

    def insert(self, model: nn.Module) -> None:
        weights = [p for _, _, _, p in originals(model)]
        directions = self.dims - self.scales * len(weights)
        if directions < 1:
            scales = f", which has a scale for each of {len(weights)} tensors" if self.scales else ""
            raise ValueError(
                f"dims must be at least {self.dims + 1 - directions} for this model{scales}: not {self.dims}"
            )
        z = nn.Parameter(torch.zeros(directions).to(weights[0]))
        draws = torch.Generator("cpu").manual_seed(self.seed)
        reparametrize(model, lambda name, weight: Fastfood(weight, z, self.scales, draws))
