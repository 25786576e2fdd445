"""A few chosen numbers of a weight, trained as a short vector: FISH Mask, diff pruning's last stage, SparseAdapter.

    W + scatter(values)          where: (k,) flat positions in W, values: (k,) what is added there

The usual way is a mask on the gradient of all of W.  Then the optimizer keeps its two numbers for each one that never
moves, and weight decay or old momentum may move those that shouldn't.  With a vector of the chosen numbers alone the
optimizer is as small as the choice, and nothing else can move.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .surgery import base_state, held, originals, reparametrize


class Sparse(nn.Module):
    """W -> W with `values` added at the flat positions `where`."""

    def __init__(self, where: Tensor, values: Tensor | None = None):
        super().__init__()
        self.register_buffer("where", where.int())  # half the bytes of int64, in memory and in the files
        self.values = nn.Parameter(torch.zeros(len(where)) if values is None else values)

    def forward(self, weight: Tensor) -> Tensor:
        return weight.flatten().index_add(0, self.where, self.values).view_as(weight)


def budget(model: nn.Module, density: float) -> int:
    """How many numbers are this share of all that the base has.  Raises ValueError if that is none."""
    total = sum(p.numel() for _, _, _, p in originals(model))
    if not int(density * total):
        raise ValueError(f"a density of {density} leaves none of {total:,} numbers: it must be higher")
    return int(density * total)


def largest(scores: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The flat positions of the `count` largest of all scores together, exactly so many; tensors without any left out.

    >>> largest({"a": torch.tensor([[1.0, 5.0], [4.0, 0.0]]), "b": torch.tensor([3.0]), "c": torch.zeros(2)}, 3)
    {'a': tensor([1, 2]), 'b': tensor([0])}
    """
    everything = torch.cat([s.flatten() for s in scores.values()])
    chosen = torch.zeros_like(everything, dtype=torch.bool).index_fill(0, everything.topk(count).indices, True)
    parts = zip(scores, chosen.split([s.numel() for s in scores.values()]), strict=True)
    return {name: part.nonzero().squeeze(1) for name, part in parts if part.any()}


def sparsify(model: nn.Module, where: Mapping[str, Tensor], values: Mapping[str, Tensor] | None = None) -> None:
    """Let the numbers at these positions of the base train: {plain name of a parameter: flat positions}.

    values: what is added there at first, else 0.  Raises ValueError for a model in which a method has chosen before.
    """
    for _, part, key, _ in originals(model):
        if parametrize.is_parametrized(part, key) and any(isinstance(m, Sparse) for m in part.parametrizations[key]):
            raise ValueError("another method has chosen the numbers of this model that train: it can carry one choice")
    values = values or {}
    reparametrize(model, lambda name, p: Sparse(where[name], values.get(name)) if name in where else None)


def positions(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The positions that a saved state holds for the base, as `sparsify` takes them.

    Raises ValueError for any that lie outside their tensor.
    """
    where, base = held(model, state, "where"), base_state(model)
    for name, t in where.items():
        size = base[name].numel()
        if t.dtype != torch.int32 or t.ndim != 1 or not len(t) or t.min() < 0 or t.max() >= size:
            raise ValueError(f"the positions in {name} should be numbers from 0 to {size - 1}, as int32")
    return where
