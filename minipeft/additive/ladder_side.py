"""Ladder-Side Tuning (Sung, Cho, Bansal, 2022, arXiv 2206.06522, section 3): a thin network beside the frozen one.

    s_0 = D_0 h_0 + d_0                                         h_i: (b, t, d), the stream after block i, h_0 before
    s_i = block_i(g s_(i-1) + (1 - g) (D_i h_i + d_i))          g = sigmoid(alpha_i / T), s_i: (b, t, d / r)
    logits = head(U norm(s_L) + u)                              the base's head, frozen; its last norm is left out

The backbone is read, never trained and never passed through on the way back: none of its activations are kept, which
saves more memory than any method that trains few numbers inside.  Side blocks are blocks of the same kind, r times
thinner in width, hidden width and head width.  Rungs of some layers can be left out (`layers`).

They start as the backbone's own blocks, cut down to the rows that matter most, in the order of the data: what one
matrix keeps as rows, the next keeps as columns.  Even so the start isn't the base.  With `identity=True` the backbone's
last state joins the result before the base's norm, k h_L + U norm(s_L) + u, where k starts at one and U at zero: then
it is (after QST, Zhang et al., 2024).  Nothing merges: both networks run.

The survey's listing leaves out D_0, the last norm and U, the temperature, and that each rung has a D of its own.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..gpt import Block, Config, Trunk, norm, positions, turns
from ..method import Method, Stage
from ..selective.fishmask import fisher
from ..surgery import Unused, Wrapper, base_state, find, wrap


class Rung(nn.Module):
    """(s, h) -> block(g s + (1 - g) (D h + d)): (b, t, d / r), (b, t, d) -> (b, t, d / r)."""

    def __init__(self, c: Config, width: int, temperature: float):
        super().__init__()
        self.down, self.alpha, self.block = nn.Linear(width, c.width), nn.Parameter(torch.zeros(())), Block(c)
        self.temperature = temperature

    def forward(self, s: Tensor, h: Tensor, turn: tuple[Tensor, Tensor] | None, mask: Tensor | None) -> Tensor:
        g = torch.sigmoid(self.alpha / self.temperature)
        return self.block(g * s + (1 - g) * self.down(h), turn, mask)


class Ladder(Wrapper):
    """In the place of the trunk: (b, t, d) -> (b, t, d)."""

    def __init__(self, base: Trunk, c: Config, layers: Collection[int], temperature: float, identity: bool):
        super().__init__(base)
        width, self.c = base.c.width, c
        self.down, self.up = nn.Linear(width, c.width), nn.Linear(c.width, width)
        self.rungs = nn.ModuleDict({str(i): Rung(c, width, temperature) for i in sorted(layers)})
        self.norm = norm(c)
        self.k = nn.Parameter(torch.ones(())) if identity else None
        for linear in (self.down, self.up, *(rung.down for rung in self.rungs.values())):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)
        if identity:
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, start: int = 0, mask: Tensor | None = None) -> Tensor:
        where = positions(x.shape[1], start, mask, x.device)
        turn = turns(self.c, where, x.dtype) if self.c.style == "llama" else None
        s = self.down(x)
        for i, h in enumerate(self.base.states(x, start, mask)):
            if str(i) in self.rungs:
                s = self.rungs[str(i)](s, h, turn, mask)
        s = self.up(self.norm(s))
        return s if self.k is None else self.k * h + s


# -- the start --------------------------------------------------------------------------------------------------------


def best(scores: Tensor, count: int) -> Tensor:
    """The places of the `count` highest scores of each row, in their order: (..., n) -> (..., count)."""
    return scores.topk(count).indices.sort().values


def in_heads(scores: Tensor, c: Config, thin: Config) -> tuple[Tensor, Tensor]:
    """The best rows of every head, (h e/r,) of the queries and (h_kv e/r,) of the keys, by scores (h_kv e,).

    Queries keep the rows of the key head that they share, and of a rotated pair both rows stay.
    """
    parts = 2 if c.style == "llama" else 1
    first = best(scores.view(c.kv_heads, parts, -1).sum(1), thin.head_width // parts)  # (h_kv, e/r / parts)
    rows = torch.cat([first + i * c.head_width // parts for i in range(parts)], 1)  # (h_kv, e/r), from the head's first
    heads = torch.arange(c.heads, device=rows.device)[:, None] * c.head_width
    return (rows.repeat_interleave(c.heads // c.kv_heads, 0) + heads).flatten(), (rows + heads[: c.kv_heads]).flatten()


@torch.no_grad()
def prune(ladder: Ladder, state: Mapping[str, Tensor], worth: Mapping[str, Tensor]) -> None:
    """Fill the side blocks with the rows and columns of the backbone's that are worth most.

    A row's worth is the sum of its numbers' over the columns that are kept.  Matrices that have their rows in common
    (q, k and v; up and gate) multiply theirs.
    """
    c, thin = ladder.base.c, ladder.c

    def value(name: str, columns: Tensor) -> Tensor:
        return worth[f"{name}.weight"][:, columns].double().abs()

    def cut(part: nn.Module, name: str, rows: Tensor, columns: Tensor | None = None) -> None:
        for key, p in part.named_parameters(recurse=False):
            whole = state[f"{name}.{key}"]
            p.copy_(whole[rows] if columns is None or key == "bias" else whole[rows][:, columns])

    stream = best(worth["tokens.weight"].double().abs().sum(0), thin.width)
    for i, rung in ladder.rungs.items():
        block, attn, mlp = rung.block, f"trunk.{i}.attn", f"trunk.{i}.mlp"
        cut(block.norm1, f"trunk.{i}.norm1", stream)
        q, k, v = (value(f"{attn}.{key}", stream) for key in "qkv")
        q = q.unflatten(0, (c.kv_heads, -1, c.head_width)).prod(1).flatten(0, 1)  # of all heads that share a key head
        of_q, of_k = in_heads((q * k * v).sum(1), c, thin)
        for key, rows in (("q", of_q), ("k", of_k), ("v", of_k)):
            cut(getattr(block.attn, key), f"{attn}.{key}", rows, stream)
        stream = best(value(f"{attn}.o", of_q).sum(1), thin.width)
        cut(block.attn.o, f"{attn}.o", stream, of_q)

        cut(block.norm2, f"trunk.{i}.norm2", stream)
        ups = [key for key in ("up", "gate") if getattr(block.mlp, key) is not None]
        hidden = best(prod(value(f"{mlp}.{key}", stream) for key in ups).sum(1), thin.hidden)
        for key in ups:
            cut(getattr(block.mlp, key), f"{mlp}.{key}", hidden, stream)
        stream = best(value(f"{mlp}.down", hidden).sum(1), thin.width)
        cut(block.mlp.down, f"{mlp}.down", stream, hidden)
    cut(ladder.norm, "norm", stream)


# -- the method -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LadderSide(Method):
    """Train a network r = `reduction` times thinner beside the frozen one; r is 8 in the paper.

    What a number is worth for the start is its Fisher information, measured on `examples`; for `attach` alone, which
    has no data, its size.
    """

    reduction: int = 4
    layers: Collection[int] | None = None  # that have a rung: all; 9 of 12 and 12 of 24 in the paper
    temperature: float = 0.1
    identity: bool = False
    examples: int = 1024

    lr: ClassVar[float] = 3e-3
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "it is a network of its own, beside the base"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction < 1 or self.examples < 1 or self.temperature <= 0:
            given = f"{self.reduction}, {self.examples} and {self.temperature}"
            raise ValueError(f"reduction, examples and temperature must be above 0, not {given}")

    def insert(self, model: nn.Module, worth: Mapping[str, Tensor] | None = None) -> None:
        c, r, layers = model.c, self.reduction, range(model.c.layers) if self.layers is None else self.layers
        pairs = 2 if c.style == "llama" else 1  # rotary positions turn pairs of a head
        if c.width % r or c.hidden % r or c.head_width % (pairs * r):
            sizes = f"width {c.width}, hidden width {c.hidden} and head width {c.head_width} ({pairs} at a time)"
            raise ValueError(f"reduction must divide the model's {sizes}, not be {r}")
        find(model, "block", layers)  # they are all there
        thin = replace(c, width=c.width // r, hidden=c.hidden // r, head_width=c.head_width // r)
        numbers = thin, layers, self.temperature, self.identity
        wrap(model, "trunk", lambda trunk: Ladder(trunk, *numbers), innermost=True)
        if not self.identity:
            wrap(model, "norm", Unused)
            wrap(model, "block", Unused, range(max(layers) + 1, c.layers))  # nobody reads them
        (ladder,) = (m for m in model.modules() if isinstance(m, Ladder))
        state = base_state(model)
        prune(ladder, state, worth or state)

    def stages(self, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        self.attach(model, fisher(self, model, batches, self.examples))
        yield Stage("train")
