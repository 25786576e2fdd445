"""UniPELT (Mao et al., 2021, arXiv 2110.07577, section 3): a prefix, LoRA and adapters, each behind a gate.

    g(x) = sigmoid(w x + c)                              one number, w: (d,); a gate of its own for each part

    W x + g(x) B A x                                     LoRA in q and v; the gate takes the place of alpha / r
    attention(q, [g(x) P_k; k], [g(x) P_v; v])           P_k, P_v: (h_kv, n, e)
    h + g(h) (U relu(D h + c) + b)                       an adapter behind the block, h = block(x)

The gates learn which part helps with which text.  The paper averages g over the whole text, which an encoder may.  In a
GPT a token would see the future through it, so here every token has its own gates: also for the prefix, whose keys and
values then differ from query to query.  `gates="text"` is the paper's, to classify whole texts: padding counts, as in
the authors' code, and text generated with it means nothing.

A gate near zero switches LoRA and the adapter off, and not the prefix: keys of zero still take their share of the
softmax.  The paper counts one gate for LoRA in a layer; q and v have one each here, as in the authors' code.

The survey has a prefix of queries, which there isn't, LoRA without its x, and the adapter without its skip.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..additive.adapters import Adapters
from ..additive.prefix_tuning import Prefix, PrefixMethod, PrefixTuning
from ..gpt import Attention, attend
from ..reparametrization.lora import LoRA
from ..surgery import Parallel, Serial, Wrapper, shape, wrap


class Gate(nn.Linear):
    """sigmoid(w x + c): (b, t, d) -> (b, t, 1), a number for each token; or (b, 1, 1), their mean, for the text."""

    def __init__(self, width: int, over: str):
        super().__init__(width, 1)
        self.over = over
        nn.init.normal_(self.weight, std=0.02)  # with c = 0: half open
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        g = super().forward(x).sigmoid()
        return g.mean(1, keepdim=True) if self.over == "text" else g


class Gated(nn.Module):
    """x -> g(x) f(x)."""

    def __init__(self, branch: nn.Module, gate: Gate):
        super().__init__()
        self.branch, self.gate = branch, gate

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * self.branch(x)


class GatedPrefix(Wrapper):
    """Attention that sees, before the text, learned keys and values, times the gate of the token that looks."""

    def __init__(self, base: Attention, prefix: Prefix, gate: Gate):
        super().__init__(base)
        self.prefix, self.gate = prefix, gate

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None) -> Tensor:
        attn, g = self.base, self.gate(x)[:, None]  # (b, 1, t, 1)
        q, k, v = attn.heads(x, turn)
        first = (p.to(k.dtype).expand(len(x), -1, -1, -1) for p in self.prefix.rows())
        # heads twice as wide: in one half stands the text, in the other the prefix, and g multiplies that half alone
        e = attn.head_width
        k, v = (torch.cat([F.pad(p, (e, 0)), F.pad(y, (0, e))], 2) for p, y in zip(first, (k, v), strict=True))
        text, prefix = attend(torch.cat([q, g * q], -1), k, v, mask, scale=e**-0.5).chunk(2, -1)
        return attn.o(rearrange(text + g * prefix, "b h t e -> b t (h e)"))


@dataclass(frozen=True)
class UniPELT(PrefixMethod):
    """Train `length` keys and values, a change of rank `rank` and `size` numbers a block; the paper's 10, 8 and 48."""

    length: int = 10
    rank: int = 8
    size: int = 16
    gates: Literal["token", "text"] = "token"
    hidden: int | None = 64  # of the network that writes the prefix while training; None: it is learned directly
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 3e-3
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "its gates depend on the text"

    def parts(self) -> tuple[PrefixTuning, LoRA, Adapters]:
        return (
            PrefixTuning(self.length, self.hidden, layers=self.layers),
            LoRA(self.rank, layers=self.layers),
            Adapters(self.size, "pfeiffer", "relu", layers=self.layers),
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parts()  # they check their numbers

    def insert(self, model: nn.Module) -> None:
        (prefix, lora, adapters), d = self.parts(), model.c.width
        links = dict(prefix.links(model))
        wrap(model, "attn", lambda m: GatedPrefix(m, links[m], Gate(d, self.gates)), self.layers, innermost=True)
        wrap(model, lora.to, lambda m: Parallel(m, Gated(lora.branch(*shape(m)), Gate(d, self.gates))), self.layers)
        wrap(model, "block", lambda m: Serial(m, Gated(adapters.branch(d), Gate(d, self.gates))), self.layers)
