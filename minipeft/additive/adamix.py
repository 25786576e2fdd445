"""AdaMix (Wang et al., 2022, arXiv 2205.12410, section 3): several adapters, drawn at random, averaged in the end.

    training    h <- h + U_j gelu(D_i h + c_i) + b_j      i, j uniform from 1..M, drawn anew at each call
    inference   h <- h + U gelu(D h + c) + b              U, D, c, b the means over the experts

One adapter a block, after the MLP; a draw holds for all tokens of a batch, in one layer.  What trains is M adapters,
what is kept is one, at the price of one: the weights are averaged, not the outputs.  By default the M experts share
U and b, as in the authors' runs.  That the draw shouldn't matter is a part of the loss: each batch goes through twice,

    loss = cross-entropy of the first pass + w (KL(p || q) + KL(q || p)) / 2        p, q: what the two passes predict

and each KL moves only the one side, towards where the other stands.  The authors' w is 1 on RoBERTa and 100 on GPT-2.

The survey's pseudocode has the two matrices in the wrong order, no skip, and no weight of the KL.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..method import IGNORE, Stage
from ..surgery import Serial, wrap
from .adapters import ACTIVATIONS, Bottleneck, BottleneckMethod


class Mixture(nn.Module):
    """x -> U_j s(D_i x + c_i) + b_j: (..., d) -> (..., m) -> (..., d), one pair at random or the mean of all."""

    def __init__(self, width: int, size: int, experts: int, share_up: bool, activation: str):
        super().__init__()
        ups, self.act = 1 if share_up else experts, ACTIVATIONS[activation]()
        self.downs = nn.Parameter(0.02 * torch.randn(experts, size, width))
        self.down_biases = nn.Parameter(torch.zeros(experts, size))
        self.ups = nn.Parameter(0.02 * torch.randn(ups, width, size))
        self.up_biases = nn.Parameter(torch.zeros(ups, width))

    def one(self, weights: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """A Linear of the stack: while training, one at random; else their mean."""
        if not self.training:
            return weights.mean(0), biases.mean(0)
        i = torch.randint(len(weights), ()).item()  # torch's chance: recomputing a block draws the same again
        return weights[i], biases[i]

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(F.linear(x, *self.one(self.downs, self.down_biases)))
        return F.linear(x, *self.one(self.ups, self.up_biases))

    @torch.no_grad()
    def averaged(self) -> Bottleneck:
        """The plain adapter that this is while not training."""
        size, width = self.downs.shape[1:]
        adapter = Bottleneck(width, size).to(self.downs)
        adapter.act = self.act
        for linear, weights, biases in (
            (adapter.down, self.downs, self.down_biases),
            (adapter.up, self.ups, self.up_biases),
        ):
            linear.weight.copy_(weights.mean(0))
            linear.bias.copy_(biases.mean(0))
        return adapter


def average(model: nn.Module) -> None:
    """Put one adapter in the place of each mixture: what inference needs, and what is saved."""
    for part in list(model.modules()):
        if isinstance(part, Serial) and isinstance(part.branch, Mixture):
            part.branch = part.branch.averaged()


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p || q) + KL(q || p)) / 2 in nats, for the logs of p and q, (n, v); the mean over n.

    Each KL takes the one it compares with as given, so that the gradient at its logits is (p - q) / 2n.
    """
    pairs = (first, second.detach()), (second, first.detach())
    return sum(F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) for log_q, log_p in pairs) / 2


@dataclass(frozen=True)
class AdaMix(BottleneckMethod):
    """Train `experts` adapters of `size` numbers a block and keep their mean; 4 of 16 or 48 in the paper."""

    size: int = 16
    experts: int = 4
    share_up: bool = True  # one U and b for all experts
    consistency: float = 1.0  # w
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 3e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1 or self.experts < 1 or self.consistency < 0:
            given = f"{self.size}, {self.experts} and {self.consistency}"
            raise ValueError(f"size and experts must be at least 1, and consistency at least 0, not {given}")

    def insert(self, model: nn.Module) -> None:
        numbers = model.c.width, self.size, self.experts, self.share_up, self.activation
        wrap(model, "mlp", lambda mlp: Serial(mlp, Mixture(*numbers)), self.layers)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if not model.training:  # nothing is drawn: two passes would agree
            return super().loss(model, x, y)
        labelled = y != IGNORE
        first, second = (model.logits(model.features(x)[labelled]).float().log_softmax(-1) for _ in range(2))
        return F.nll_loss(first, y[labelled]) + self.consistency * disagreement(first, second)

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        yield from super().stages(model, batches)
        average(model)

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().restore(model, state)
        if not any(name.endswith(".downs") for name in state):  # saved after the training, not on the way
            average(model)
