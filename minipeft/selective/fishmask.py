"""FISH Mask (Sung, Nair and Raffel, 2021, arXiv 2111.09839): train the numbers that have the most Fisher information.

    F_i = mean over examples n of (d log p(y_n | x_n) / d theta_i)^2          the rho |theta| largest train

F_i says how much the model's answers change with theta_i.  It is measured once, before training, over all tensors
together: norms and embeddings compete with matrices.  The true Fisher information draws y from the model; the paper
takes the labels, and so do we.  What trains is a short vector (`sparse`), so the optimizer is as small as the mask.

The survey's listing never resets the gradients, which squares their running sum; and squares those of a mini-batch.
The mean of squares isn't the square of the mean: each example needs a backward pass of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..method import IGNORE, Method, Stage
from ..sparse import budget, largest, positions, sparsify
from ..surgery import originals


def fisher(
    method: Method, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], examples: int
) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information: {plain name of a parameter: of its shape}, in fp32."""
    params = {name: p for name, _, _, p in originals(model)}
    total = {name: torch.zeros(p.shape, device=p.device) for name, p in params.items()}
    frozen = [p for p in params.values() if not p.requires_grad]
    for p in frozen:
        p.requires_grad_(True)
    rows = [(x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(len(x))][:examples]
    for x, y in rows:
        log_p = -method.loss(model, x, y) * (y != IGNORE).sum()  # of the whole answer: a sum over its tokens
        for name, grad in zip(params, torch.autograd.grad(log_p, list(params.values())), strict=True):
            total[name] += grad.float().square() / len(rows)
    for p in frozen:
        p.requires_grad_(False)
    return total


@dataclass(frozen=True)
class FishMask(Method):
    """Train a `density` share of all numbers of the base: those with the largest Fisher information.

    `attach` alone has no data to measure it on, and draws the numbers: the paper's random mask, to compare with.
    """

    density: float = 0.005
    examples: int = 1024  # to measure on; fewer, if the data have fewer

    lr: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.density <= 1 or self.examples < 1:
            given = f"{self.density} and {self.examples}"
            raise ValueError(f"density must be above 0 and at most 1, examples at least 1, not {given}")

    def insert(self, model: nn.Module, where: Mapping[str, Tensor] | None = None) -> None:
        if where is None:
            draws = torch.Generator().manual_seed(0)
            scores = {name: torch.rand(p.shape, generator=draws) for name, _, _, p in originals(model)}
            where = largest(scores, budget(model, self.density))
        sparsify(model, where)

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        self.attach(model, positions(model, state))

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        k = budget(model, self.density)
        self.attach(model, largest(fisher(self, model, batches, self.examples), k))
        yield Stage("train")
