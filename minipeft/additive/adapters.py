"""Adapters (Houlsby et al., 2019, arXiv 1902.00751, section 2.1): a small two-layer network after each sub-layer.

    h <- h + U gelu(D h + c) + b          D: (m, d), U: (d, m), m << d

Houlsby's stand after attention and after the MLP, before the result joins the residual stream x; Pfeiffer's (2020,
arXiv 2005.00247) stand once a block and read the stream itself, after the MLP has joined it:

    Houlsby    x <- x + A(sublayer(norm(x)))        twice a block
    Pfeiffer   x <- A(block(x))                     once a block

D and U start near zero, so the model starts near its base; `start="zero"` makes U zero and the start exact.  The paper
trains all LayerNorms as well.  Adapters cannot be merged: a nonlinearity stands between their two matrices.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from ..method import Method
from ..surgery import Serial, thaw_norms, wrap

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


class Bottleneck(nn.Module):
    """x -> U s(D x + c) + b: (..., d) -> (..., m) -> (..., d).  The skip around it is `Serial`'s."""

    def __init__(self, width: int, size: int, activation: str = "gelu"):
        super().__init__()
        self.down, self.act, self.up = nn.Linear(width, size), ACTIVATIONS[activation](), nn.Linear(size, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.act(self.down(x)))


class BottleneckMethod(Method):
    """What all methods with such networks have in common."""

    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "a nonlinearity stands between its two matrices"


@dataclass(frozen=True)
class Adapters(BottleneckMethod):
    """Train a bottleneck of `size` numbers after each sub-layer; 8 to 256 in the paper, at widths of 768 and 1024."""

    size: int = 16
    placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    start: Literal["near", "zero"] = "near"  # near: the paper's normal of deviation 0.01, cut at two deviations
    norms: bool | None = None  # train the norms' gains and biases too: Houlsby yes, Pfeiffer no
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 3e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")

    def branch(self, width: int) -> nn.Module:
        bottleneck = Bottleneck(width, self.size, self.activation)
        for linear in (bottleneck.down, bottleneck.up):
            nn.init.trunc_normal_(linear.weight, std=0.01, a=-0.02, b=0.02)
            nn.init.zeros_(linear.bias)
        if self.start == "zero":
            nn.init.zeros_(bottleneck.up.weight)  # U alone: with D zero too, neither would ever move
        return bottleneck

    def insert(self, model: nn.Module) -> None:
        places = ("attn", "mlp") if self.placement == "houlsby" else ("block",)
        wrap(model, places, lambda part: Serial(part, self.branch(model.c.width)), self.layers)
        if self.placement == "houlsby" if self.norms is None else self.norms:
            thaw_norms(model, self.layers)
