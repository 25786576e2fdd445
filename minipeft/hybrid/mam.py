"""MAM, mix and match (He, Zhou, Ma, Berg-Kirkpatrick, Neubig, 2021, arXiv 2110.04366, section 4.6): two inserts.

    attention(q, [P_k; k], [P_v; v])                  a short prefix: P_k, P_v: (h_kv, n, e)
    u + MLP(norm(u)) + s (U relu(D u + c) + b)        a scaled parallel adapter: D: (m, d), U: (d, m)

The paper takes the published methods apart and finds two things that matter: a few numbers do most in attention, many
do most beside the MLP.  The adapter stands beside the MLP instead of behind it, and reads the stream u as it is, where
the MLP reads a normalised one.  U and b start at zero, so the adapter starts as nothing; the prefix does not.

    MAM(length=0)     the scaled parallel adapter alone: an exact start

In the survey's pseudocode the prefix is put behind the hidden states, and the MLP itself has got lost.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..additive.adapters import Bottleneck
from ..additive.prefix_tuning import PrefixMethod, PrefixTuning
from ..gpt import Block
from ..surgery import Wrapper, wrap


class Beside(Wrapper):
    """A block with a second network beside its MLP: u + MLP(norm(u)) + s A(u), u = x + attention(norm(x))."""

    def __init__(self, base: Block, branch: nn.Module, scale: float):
        super().__init__(base)
        self.branch, self.scale = branch, scale

    def forward(self, x: Tensor, *context) -> Tensor:
        block = self.base
        u = x + block.attn(block.norm1(x), *context)  # (b, t, d)
        return u + block.mlp(block.norm2(u)) + self.scale * self.branch(u)


@dataclass(frozen=True)
class MAM(PrefixMethod):
    """Train `length` keys and values in every attention and `size` numbers beside every MLP.

    The paper's: 30 and 512 with s = 4 for summaries, at a width of 1024; 16 and 16 with s = 2 for GLUE, at 768.
    """

    length: int = 10  # 0: no prefix
    size: int = 16
    scale: float = 4.0  # s
    hidden: int | None = 64  # of the network that writes the prefix while training; None: it is learned directly
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 3e-3
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "a prefix is no weight, and a nonlinearity stands between the adapter's two matrices"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 0 or self.size < 1:
            raise ValueError(f"length must be at least 0 and size at least 1, not {self.length} and {self.size}")

    def branch(self, width: int) -> nn.Module:
        bottleneck = Bottleneck(width, self.size, "relu")
        nn.init.zeros_(bottleneck.down.bias)
        nn.init.zeros_(bottleneck.up.weight)
        nn.init.zeros_(bottleneck.up.bias)
        return bottleneck

    def insert(self, model: nn.Module) -> None:
        if self.length:
            PrefixTuning(self.length, self.hidden, layers=self.layers).put(model)
        wrap(model, "block", lambda b: Beside(b, self.branch(model.c.width), self.scale), self.layers, innermost=True)
