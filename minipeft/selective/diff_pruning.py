"""Diff pruning (Guo, Rush and Kim, 2020, arXiv 2012.07463): change any number, but nearly all of them not at all.

    theta = theta_0 + z_i z_g w           one gate z_i for each number, one z_g for each tensor (the structured form)
    z = clip(s (r - l) + l, 0, 1)         s = sigmoid(log u - log(1 - u) + alpha), u uniform in each step; l < 0, r > 1
    loss + lambda E|z w|_0                a sum of P(z_i > 0) P(z_g > 0); P(z > 0) = sigmoid(alpha - log(-l / r))

1. w and alpha learn.  2. z w is drawn once and projected: the rho |theta| largest |z w|, of all tensors together, stay.
3. What is left trains on, as a short vector (`sparse`).  A count of non-zeros has no gradient; its expectation has one,
because z is exactly 0 and exactly 1 often and smooth between: the hard concrete distribution (Louizos et al., 2018).

The survey masks the weights and has no stages 2 and 3; in the paper z masks the change, and they set the size.  The
authors' code adds the gates' probabilities where the paper multiplies them, and goes on from w instead of z w.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..method import Method, Stage
from ..sparse import budget, largest, positions, sparsify
from ..surgery import detach, held, originals, reparametrize

LOW, HIGH = -1.5, 1.5  # l and r
OPEN = 5.0  # alpha at first: z is exactly 1 in 97% of draws


def gate(alpha: Tensor, sample: bool) -> Tensor:
    """z of alpha's shape, in [0, 1]: drawn, or at u = 1/2."""
    noise = torch.logit(torch.rand_like(alpha), eps=1e-6) if sample else 0.0
    return (torch.sigmoid(noise + alpha) * (HIGH - LOW) + LOW).clamp(0, 1)


def likely(alpha: Tensor) -> Tensor:
    """P(z > 0)."""
    return torch.sigmoid(alpha - math.log(-LOW / HIGH))


class Diff(nn.Module):
    """W -> W + z_i z_g w, with alpha = 5 + speed * a: Adam moves a as fast as w, and so alpha `speed` times faster."""

    def __init__(self, weight: Tensor, structured: bool, speed: float):
        super().__init__()
        self.w, self.a = nn.Parameter(torch.zeros_like(weight)), nn.Parameter(torch.zeros_like(weight))
        self.group = nn.Parameter(torch.zeros_like(weight.sum())) if structured else None
        self.speed = speed

    def gates(self, value: Callable[[Tensor], Tensor]) -> Tensor:
        """The product of a value of z_i's alpha and the same of z_g's."""
        each = value(OPEN + self.speed * self.a)
        return each if self.group is None else each * value(OPEN + self.speed * self.group)

    def diff(self, sample: bool) -> Tensor:
        return self.gates(lambda alpha: gate(alpha, sample)) * self.w

    def expected(self) -> Tensor:
        """E|z w|_0."""
        return self.gates(likely).sum()

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.diff(sample=self.training)


@dataclass(frozen=True)
class DiffPruning(Method):
    """Change a `density` share of all numbers, found by training all.  `attach` alone is the first stage.

    While it looks for them it trains two numbers for each one of the base.
    """

    density: float = 0.005
    structured: bool = True  # a gate for each tensor too
    penalty: float = 1e-5  # lambda, for each number that isn't zero; 1.25e-7 in the paper, for 340 million numbers
    speed: float = 10.0  # of alpha over w: learning rates of 0.1 and 1e-5 in the paper, of 0.1 and 1e-2 here

    lr: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.density <= 1 or self.penalty < 0 or self.speed <= 0:
            given = f"{self.density}, {self.penalty} and {self.speed}"
            raise ValueError(f"density must be above 0 and at most 1, penalty not below 0, speed above 0; not {given}")

    def insert(
        self, model: nn.Module, where: Mapping[str, Tensor] | None = None, values: Mapping[str, Tensor] | None = None
    ) -> None:
        if where is None:
            reparametrize(model, lambda name, weight: Diff(weight.detach(), self.structured, self.speed))
        else:
            sparsify(model, where, values)

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        self.attach(model, None if held(model, state, "w") else positions(model, state))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with parametrize.cached():  # one draw a step, also for the tied embedding, which is used twice
            loss = super().loss(model, x, y)
        return loss + self.penalty * sum(diff.expected() for diff in diffs(model).values())

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        most = budget(model, self.density)
        self.attach(model)
        yield Stage("find the mask", 0.5)
        with torch.no_grad():
            change = {name: diff.diff(sample=True) for name, diff in diffs(model).items()}
        alive = sum(d.count_nonzero().item() for d in change.values())
        where = largest({name: d.abs() for name, d in change.items()}, min(most, alive))
        self.attach(detach(model), where, {name: change[name].flatten()[w] for name, w in where.items()})
        yield Stage("train what is left", 0.5)


def diffs(model: nn.Module) -> dict[str, Diff]:
    """{plain name of a parameter: its Diff}"""
    return {
        name: m
        for name, part, key, _ in originals(model)
        if parametrize.is_parametrized(part, key)
        for m in part.parametrizations[key]
        if isinstance(m, Diff)
    }
