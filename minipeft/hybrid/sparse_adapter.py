"""SparseAdapter (He, Ding, Dong, Zhang, Tao, 2022, arXiv 2210.04284): adapters that are cut before training.

    h <- h + (M_U * U) relu((M_D * D) h + c) + b          M: 1 for the weights that stay, 0 for the share `sparsity`

Those with the largest scores stay, of all adapters' weights together; the biases are not cut.  The score is

    snip         |w dL/dw|, the gradient of some batches: how much the loss would notice
    magnitude    |w|
    random       anything

With D or U at zero the first two would say nothing, so both start near zero instead.  Large-Sparse is the same budget
on a wider adapter: `size` twice as large at a sparsity of 0.5, four times at 0.75.  What stays trains as a short vector
(`sparse`): what is cut has no gradient, no place in the optimizer and none in the file.

The survey ties Large-Sparse to a sparsity of 40 %, which is the paper's advice for adapters of the usual size.  The
authors' code calls the share that stays its sparsity, and normalises what an adapter reads; here nothing does.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..additive.adapters import Adapters, Bottleneck, BottleneckMethod
from ..generate import evaluating
from ..method import Stage
from ..sparse import Sparse, largest


class SparseLinear(nn.Module):
    """x -> W x + b, W zero but for the numbers of a Linear at the flat positions `where`."""

    def __init__(self, linear: nn.Linear, where: Tensor):
        super().__init__()
        self.shape = linear.weight.shape
        self.weight = Sparse(where, linear.weight.detach().flatten()[where.long()])
        self.weight.values.requires_grad_(len(where) > 0)  # a matrix may be cut whole
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(self.bias.new_zeros(self.shape)), self.bias)


@dataclass(frozen=True)
class SparseAdapter(BottleneckMethod):
    """Train adapters of `size` numbers less a share `sparsity` of their weights; the paper's are 64 and 0.4.

    `attach` alone has no data to measure snip on, and cuts at random.
    """

    size: int = 32
    sparsity: float = 0.5
    score: Literal["snip", "magnitude", "random"] = "snip"
    examples: int = 320  # to measure snip on; fewer, if the data have fewer
    placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 3e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1 or not 0 <= self.sparsity < 1 or self.examples < 1:
            given = f"{self.size}, {self.sparsity} and {self.examples}"
            raise ValueError(f"size and examples must be at least 1, and sparsity in [0, 1), not {given}")

    def scores(
        self, model: nn.Module, weights: Mapping[str, Tensor], batches: Sequence[tuple[Tensor, Tensor]] | None
    ) -> dict[str, Tensor]:
        """How much each weight counts: {name: of its shape}."""
        if self.score == "magnitude":
            return {name: w.detach().abs() for name, w in weights.items()}
        if self.score == "random" or batches is None:
            draws = torch.Generator().manual_seed(0)  # the same every time, so that a state_dict fits
            return {name: torch.rand(w.shape, generator=draws).to(w) for name, w in weights.items()}
        total, left = {name: torch.zeros_like(w) for name, w in weights.items()}, self.examples
        with evaluating(model):
            for x, y in batches:
                x, y, left = x[:left], y[:left], left - len(x)
                grads = torch.autograd.grad(self.loss(model, x, y) * len(x), list(weights.values()))
                for name, grad in zip(weights, grads, strict=True):
                    total[name] += grad
                if left <= 0:
                    break
        return {name: (w.detach() * total[name]).abs() for name, w in weights.items()}

    def insert(
        self,
        model: nn.Module,
        batches: Sequence[tuple[Tensor, Tensor]] | None = None,
        where: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Dense adapters first, and then what stays of them: `where`, if that is known, else what `batches` decide."""
        others = {id(m) for m in model.modules() if isinstance(m, Bottleneck)}
        Adapters(self.size, self.placement, "relu", norms=False, layers=self.layers).insert(model)
        new = [(name, m) for name, m in model.named_modules() if isinstance(m, Bottleneck) and id(m) not in others]
        linears = {f"{name}.{key}": m.get_submodule(key) for name, m in new for key in ("down", "up")}
        if where is None:
            weights = {name.replace(".base", ""): linear.weight for name, linear in linears.items()}
            count = round((1 - self.sparsity) * sum(w.numel() for w in weights.values()))
            if not count:
                raise ValueError(f"a sparsity of {self.sparsity} leaves no weight: it must be lower")
            where = largest(self.scores(model, weights, batches), count)
        for name, linear in linears.items():
            none = torch.zeros(0, dtype=torch.int32, device=linear.weight.device)
            model.set_submodule(name, SparseLinear(linear, where.get(name.replace(".base", ""), none)))

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError for positions that lie outside their matrix."""
        where, size = {}, self.size * model.c.width
        for name, t in state.items():
            if name.endswith((".down.weight.where", ".up.weight.where")):
                if t.dtype != torch.int32 or t.ndim != 1 or len(t) and not 0 <= t.min() <= t.max() < size:
                    raise ValueError(f"the positions in {name} should be numbers from 0 to {size - 1}, as int32")
                where[name.replace(".base", "").removesuffix(".weight.where")] = t
        self.attach(model, None, where)

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        self.attach(model, batches)
        yield Stage("train")
