"""A small GPT: one file, two styles of block (GPT-2's and LLaMA's), the same names in both.

                     GPT-2                               LLaMA
    positions        a learned vector per position       queries and keys are rotated (RoPE)
    norm             LayerNorm                           RMSNorm
    attention        as many key/value heads as heads    fewer key/value heads allowed (grouped queries)
    MLP              down(gelu(up(x)))                   down(silu(gate(x)) * up(x))
    biases, head     yes; tied to the token embedding    no; its own matrix

Shapes stand beside the code in one alphabet, used in the whole package:
b batch, t tokens, s tokens seen (cached and learned ones included), d width, f hidden width, h heads, e head width,
v vocabulary.

The model knows no fine-tuning method.  It has one opening for them, `Attention.past`: what came before the first token.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")  # of `rope_scaling`


@dataclass(frozen=True)
class Config:
    """The numbers that make a GPT.  `None` means: the style's usual value, filled in on creation."""

    style: Literal["gpt2", "llama"] = "gpt2"
    vocab: int = 256
    context: int = 128  # the most tokens the model can see
    layers: int = 4
    heads: int = 4
    width: int = 64
    hidden: int | None = None  # 4 widths (GPT-2); 8/3 widths (LLaMA)
    kv_heads: int | None = None  # as many as heads; fewer: grouped-query attention
    head_width: int | None = None  # width / heads
    tied: bool | None = None  # the head reads the token embedding backwards: GPT-2 yes, LLaMA no
    attn_bias: bool | None = None  # GPT-2 yes, LLaMA no
    mlp_bias: bool | None = None  # GPT-2 yes, LLaMA no
    eps: float = 1e-5
    rope_base: float = 10_000.0  # LLaMA only
    rope_scaling: Mapping | None = None  # LLaMA 3 only: see `frequencies`

    def __post_init__(self) -> None:
        if self.style not in ("gpt2", "llama"):
            raise ValueError(f"style is 'gpt2' or 'llama', not {self.style!r}")
        if self.head_width is None and self.heads > 0 and self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads}), or head_width be given")
        gpt2 = self.style == "gpt2"
        usual = {
            "hidden": 4 * self.width if gpt2 else 8 * self.width // 3,
            "kv_heads": self.heads,
            "head_width": self.width // max(self.heads, 1),
            "tied": gpt2,
            "attn_bias": gpt2,
            "mlp_bias": gpt2,
        }
        for name, value in usual.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("vocab", "context", "layers", "heads", "width", "hidden", "kv_heads", "head_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.style == "llama" and self.head_width % 2:
            raise ValueError(f"rotary positions turn pairs of numbers: head_width must be even, not {self.head_width}")
        if (s := self.rope_scaling) is not None:
            if not all(isinstance(s.get(key), int | float) for key in LLAMA3):
                raise ValueError(f"rope_scaling must hold the numbers {', '.join(LLAMA3)}, not {dict(s)}")
            if s["low_freq_factor"] >= s["high_freq_factor"]:
                raise ValueError(f"rope_scaling: low_freq_factor must be below high_freq_factor, not {dict(s)}")


def norm(c: Config) -> nn.Module:
    return nn.LayerNorm(c.width, c.eps) if c.style == "gpt2" else nn.RMSNorm(c.width, c.eps)


def positions(t: int, start: int, mask: Tensor | None, device: torch.device) -> Tensor:
    """Where each of t tokens stands in its text, padding not counted: (t,), or (b, t) with a mask."""
    if mask is None:
        return torch.arange(start, start + t, device=device)
    return (mask.long().cumsum(1) - 1).clamp(min=0)[:, start:]


def frequencies(c: Config, device: torch.device) -> Tensor:
    """How fast each pair of a head turns, in radians per token: (e/2,), from 1 down to about 1 / rope_base.

    LLaMA 3.1's `rope_scaling` slows down the pairs that turn less than once or so in the context of pre-training, so
    that a longer context holds no angle the model has never seen.  Between the two it goes over smoothly.
    """
    e = c.head_width
    # base ** -x would round otherwise than what LLaMA was trained with: 0.005 radians at the end of a long context
    freq = torch.pow(c.rope_base, torch.arange(0, e, 2, dtype=torch.float32, device=device) / e).reciprocal()
    if c.rope_scaling is None:
        return freq
    s = c.rope_scaling
    turns = s["original_max_position_embeddings"] * freq / (2 * math.pi)  # in the original context
    low, high = s["low_freq_factor"], s["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)  # 1: turns often, leave it alone
    return freq * (kept + (1 - kept) / s["factor"])


def turns(c: Config, where: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What `rotate` multiplies each position with: cosines, and sines with their signs, (t, 1, e) or (b, t, 1, e)."""
    freq = frequencies(c, where.device)
    angle = where[..., None, None] * torch.cat([-freq, freq])  # cos(-a) = cos(a), sin(-a) = -sin(a)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: turn each pair (i, i + e/2) of x by its angle, all heads alike.  (b, t, h, e) -> (b, t, h, e)

    left  * cos - right * sin     the two halves of a head; `roll` makes them change places, the signs are in `sin`
    right * cos + left  * sin
    """
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """Each query averages the values of the keys it may see: (b, h, t, e), (b, h_kv, s, e) twice -> (b, h, t, e).

    The last query sees all s keys, the one before it all but the last, and so on.  `mask` (b, s') says which of the
    last s' keys are real tokens; keys before those were learned, and are never padding.  `scale` multiplies what
    queries and keys give, 1 / sqrt(e) if it isn't given.
    """
    t, s, gqa = q.shape[-2], k.shape[-2], q.shape[1] != k.shape[1]
    if mask is None and t in (1, s):  # a single query sees all keys
        return F.scaled_dot_product_attention(q, k, v, is_causal=t == s, scale=scale, enable_gqa=gqa)
    # torch's is_causal would let query 0 see key 0 only: wrong as soon as something came before it
    hidden = q.new_full((t, s), -math.inf).triu(s - t + 1)  # is added to what they give: 0 where a query sees a key
    if mask is not None:
        itself = (hidden == 0).triu(s - t)  # padding sees at least itself: an empty softmax is nan
        real = F.pad(mask.bool(), (s - mask.shape[1], 0), value=True)
        hidden = hidden.masked_fill(~(real[:, None, None] | itself), -math.inf)  # (b, 1, t, s)
    return F.scaled_dot_product_attention(q, k, v, hidden, scale=scale, enable_gqa=gqa)


class Past(nn.ModuleList):
    """What came before the first token: a chain of modules (x, k, v) -> longer (k, v), empty in a plain model.

    A generation cache puts in front the keys and values it computed from text; a prefix puts in front learned ones.
    The chain is in the order of the sequence, learned first, cached after: so the last link acts first.
    """

    def forward(self, x: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        for link in reversed(self):
            k, v = link(x, k, v)
        return k, v


class Attention(nn.Module):
    """Causal self-attention; q, k, v, o are four separate Linears so that a method can name one."""

    def __init__(self, c: Config):
        super().__init__()
        self.head_width = c.head_width
        self.q = nn.Linear(c.width, c.heads * c.head_width, c.attn_bias)
        self.k = nn.Linear(c.width, c.kv_heads * c.head_width, c.attn_bias)
        self.v = nn.Linear(c.width, c.kv_heads * c.head_width, c.attn_bias)
        self.o = nn.Linear(c.heads * c.head_width, c.width, c.attn_bias)
        self.past = Past()

    def heads(self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The queries (b, h, t, e), and the keys and values of all that they may see, (b, h_kv, s, e) each."""
        b, t, e = *x.shape[:2], self.head_width
        q, k, v = (y.reshape(b, t, y.shape[2] // e, e) for y in (self.q(x), self.k(x), self.v(x)))
        if turn is None:
            q, k = q.transpose(1, 2), k.transpose(1, 2)
        else:  # both at once, in half as many calls: of a small tensor the call is what costs
            turned = rotate(torch.cat([q, k], 2), *turn).transpose(1, 2)
            q, k = turned.split_with_sizes([q.shape[2], k.shape[2]], 1)
        return q, *self.past(x, k, v.transpose(1, 2))

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None) -> Tensor:
        return self.o(attend(*self.heads(x, turn), mask).transpose(1, 2).flatten(2))  # (b, t, d)


MANY = 2**18  # numbers, 1 MB: fewer are sooner kept than computed again


class MLP(nn.Module):
    """GPT-2: down(gelu(up(x))).  LLaMA: down(silu(gate(x)) * up(x)).

    For its way back LLaMA would keep a third hidden layer, silu(gate(x)), and in many methods what goes into `down` as
    well.  Where these are large, all that comes after gate(x) and up(x) is computed again, except the last product.
    """

    def __init__(self, c: Config):
        super().__init__()
        self.up = nn.Linear(c.width, c.hidden, c.mlp_bias)
        self.gate = nn.Linear(c.width, c.hidden, c.mlp_bias) if c.style == "llama" else None
        self.down = nn.Linear(c.hidden, c.width, c.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:  # (b, t, d) -> (b, t, d)
        if self.gate is None:
            return self.down(F.gelu(self.up(x), approximate="tanh"))
        gate, up = self.gate(x), self.up(x)
        if gate.numel() >= MANY and torch.is_grad_enabled():
            return checkpoint(self.gated, gate, up, use_reentrant=False)
        return self.gated(gate, up)

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        return self.down(F.silu(gate) * up)  # (b, t, f) twice -> (b, t, d)


class Block(nn.Module):
    """Two sub-layers, each reading a normalised copy of the residual stream and adding to it."""

    def __init__(self, c: Config):
        super().__init__()
        self.norm1, self.attn = norm(c), Attention(c)
        self.norm2, self.mlp = norm(c), MLP(c)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.norm1(x), turn, mask)
        return x + self.mlp(self.norm2(x))


class Trunk(nn.ModuleList):
    """The stack of blocks, callable: the residual stream from the embedding to the last block, (b, t, d) -> (b, t, d).

    With `recompute` on, a training step keeps only the input of each block and runs the block again on the way back:
    less memory, about a third more time.
    """

    def __init__(self, c: Config):
        super().__init__(Block(c) for _ in range(c.layers))
        self.c, self.recompute = c, False

    def __getitem__(self, i: int | slice) -> Block | list[Block]:
        return list(self)[i]  # a part of the stack is no trunk, which is what a ModuleList would make of it

    def states(self, x: Tensor, start: int = 0, mask: Tensor | None = None) -> Iterator[Tensor]:
        """The residual stream after each block, one by one: (b, t, d)."""
        where = positions(x.shape[1], start, mask, x.device)
        turn = turns(self.c, where, x.dtype) if self.c.style == "llama" else None
        for block in self:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, turn, mask, use_reentrant=False)
            else:
                x = block(x, turn, mask)
            yield x

    def forward(self, x: Tensor, start: int = 0, mask: Tensor | None = None) -> Tensor:
        last = x
        for state in self.states(x, start, mask):
            last = state
        return last


class GPT(nn.Module):
    """Token ids in, a logit for every possible next token out."""

    def __init__(self, c: Config):
        super().__init__()
        self.c, self.room = c, c.context  # the most tokens it can be given; what a method puts before them takes room
        self.tokens = nn.Embedding(c.vocab, c.width)
        self.positions = nn.Embedding(c.context, c.width) if c.style == "gpt2" else None
        self.trunk = Trunk(c)
        self.norm = norm(c)
        self.head = None if c.tied else nn.Linear(c.width, c.vocab, bias=False)
        self.tokenizer = None  # the text's side of the model: `from_pretrained` fills it in
        self.apply(self._init)
        for block in self.trunk:  # 2 L parts add to the stream: keep their sum at the scale of one (GPT-2)
            for last in (block.attn.o, block.mlp.down):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * c.layers))

    @staticmethod
    def _init(m: nn.Module) -> None:
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def embed(self, idx: Tensor, start: int = 0, mask: Tensor | None = None) -> Tensor:
        """The residual stream's first value: (b, t) -> (b, t, d)."""
        end = start + idx.shape[1]
        if end > self.room:
            raise ValueError(f"{end} tokens are too many: this model's context is {self.room}")
        if mask is not None and mask.shape != (idx.shape[0], end):
            raise ValueError(f"mask must be (b, start + t) = {(idx.shape[0], end)}, not {tuple(mask.shape)}")
        try:
            x = self.tokens(idx)
        except IndexError:  # free of charge on the CPU; `generate` and the data loader check beforehand
            bad = idx[(idx < 0) | (idx >= self.c.vocab)][0].item()
            raise ValueError(f"token id {bad} is outside the vocabulary 0..{self.c.vocab - 1}") from None
        if self.positions is not None:
            x = x + self.positions(positions(idx.shape[1], start, mask, idx.device))
        return x

    def features(self, idx: Tensor, start: int = 0, mask: Tensor | None = None) -> Tensor:
        """All but the head: (b, t) -> (b, t, d).  A loss that needs few positions applies `logits` to those alone."""
        return self.norm(self.trunk(self.embed(idx, start, mask), start, mask))

    def logits(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., v).  Tied by function, not by sharing a Parameter, which re-expressing one would break."""
        return F.linear(x, self.tokens.weight) if self.head is None else self.head(x)

    def forward(self, idx: Tensor, start: int = 0, mask: Tensor | None = None) -> Tensor:
        """Logits (b, t, v) of the token that follows each of idx (b, t).

        `start`: how many tokens of each text came before (they are in the cache).
        `mask` (b, start + t): False where a token, cached ones included, is padding.  Real tokens do not see padding
        and are numbered as if it were not there.
        Raises ValueError for more tokens than the context holds and for ids outside the vocabulary.
        """
        return self.logits(self.features(idx, start, mask))

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, dtype: torch.dtype | str | None = None, device: str = "cpu"
    ) -> "GPT":
        """Weights and tokenizer of a bundled model, a Hugging Face directory, or a hub id: see `checkpoint.load`."""
        from .checkpoint import load  # late: the model itself imports nothing of ours

        return load(source, dtype=dtype, device=device)

    def save_pretrained(self, path: str | Path) -> None:
        """Write a directory that `from_pretrained` and transformers load: see `checkpoint.save`."""
        from .checkpoint import save

        save(self, path)
