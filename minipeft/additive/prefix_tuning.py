"""Prefix-Tuning (Li and Liang, 2021, arXiv 2101.00190, section 4): a learned KV cache in every layer.

    attention(q, [P_k; k], [P_v; v])          P_k, P_v: (h_kv, n, e) in each block

All queries see all n learned keys; the prefix itself has no query and no MLP, so the stream keeps its length.  Learned
directly the paper finds it unstable, and lets one network write all layers' keys and values while training:

    P_k, P_v of block l = W_l tanh(A p + a) + b_l          p: (n, d), A: (m, d), W_l: (2 h_kv e, m)

After training it is run a last time and dropped: m numbers for every number that stays were only scaffolding.

The text begins at position n, as after a cached text of n tokens: on GPT-2 that is where it reads its positions, on
LLaMA, which sees differences alone, the prefix stands at -n to -1.  No prefix starts as the base, one of zeros neither:
a zero key takes its share of the softmax.  `text` starts it as the cache of a real text instead, and then the model
does exactly what it does behind that text.

The survey prepends one and the same P to the hidden states of all layers, where it would grow by n a layer, and runs
the network once a layer; in the paper each layer has keys and values of its own, and one network writes them all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from ..generate import cached, evaluating
from ..gpt import GPT, Attention
from ..method import Method, Stage
from ..surgery import find, inner, make_room, shape


class Prefix(nn.Module):
    """A link of `attn.past`: (k, v) of the tokens -> ([P_k; k], [P_v; v]), (b, h_kv, s, e) each."""

    def __init__(self, k: Tensor, v: Tensor):
        super().__init__()
        self.k, self.v = nn.Parameter(k), nn.Parameter(v)

    def rows(self) -> tuple[Tensor, Tensor]:
        """P_k and P_v: (h_kv, n, e) each."""
        return self.k, self.v

    @torch.no_grad()
    def write(self, k: Tensor, v: Tensor) -> None:
        """Start from these keys and values."""
        self.k.copy_(k)
        self.v.copy_(v)

    def forward(self, x: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        first = (p.to(k.dtype).expand(len(x), -1, -1, -1) for p in self.rows())
        return tuple(torch.cat([p, y], 2) for p, y in zip(first, (k, v), strict=True))


class Source(nn.Module):
    """tanh(A p + a): (n, m), what all layers' prefixes are written from.  One for the whole model."""

    said: Tensor | None = None  # what it says, while a step's loss is computed: see `PrefixMethod.loss`

    def __init__(self, n: int, width: int, hidden: int):
        super().__init__()
        self.p = nn.Parameter(torch.randn(n, width))
        self.up = nn.Linear(width, hidden)

    def forward(self) -> Tensor:
        return self.up(self.p).tanh() if self.said is None else self.said


class Written(Prefix):
    """A prefix written by the network: this layer's rows of the last Linear, W_l and b_l, and the shared rest."""

    def __init__(self, source: Source, kv_heads: int, head_width: int):
        nn.Module.__init__(self)  # not Prefix's: it has no k and v of its own
        self.source, self.kv_heads = source, kv_heads
        self.out = nn.Linear(source.up.out_features, 2 * kv_heads * head_width)

    def rows(self) -> tuple[Tensor, Tensor]:
        return tuple(rearrange(self.out(self.source()), "n (two h e) -> two h n e", two=2, h=self.kv_heads))

    @torch.no_grad()
    def write(self, k: Tensor, v: Tensor) -> None:
        """Let the network say these keys and values, or as nearly as it can: the least change of W_l and b_l."""
        wanted = rearrange(torch.stack([k, v]), "two h n e -> n (two h e)")
        seen = torch.cat([self.source(), torch.ones(len(wanted), 1).to(wanted)], 1)  # (n, m + 1): the bias is a weight
        change = torch.linalg.pinv(seen.double()) @ (wanted - self.out(self.source())).double()
        self.out.weight += change[:-1].T.to(wanted)
        self.out.bias += change[-1].to(wanted)

    @torch.no_grad()
    def dropped(self) -> Prefix:
        """The keys and values as the network says them now."""
        return Prefix(*(p.clone() for p in self.rows()))


def drop(model: nn.Module, but: Collection[str] = ()) -> None:
    """Run the network a last time and drop it: what stays is a plain table, and does the same.

    `but`: the names of tensors that are still needed, whatever is wrapped around them; their networks stay.
    """
    needed = {name.replace(".base", "") for name in but}
    for name, part in list(model.named_modules()):
        for key, link in list(part.named_children()):
            if isinstance(link, Written) and f"{name}.{key}.out.weight".replace(".base", "") not in needed:
                setattr(part, key, link.dropped())


def tokens_of(model: GPT, text: str) -> Tensor:
    """The ids of a text to start from: (t,).  Raises ValueError for a text with none."""
    if model.tokenizer is None:
        raise ValueError("a start from text needs the model's tokenizer: load it with GPT.from_pretrained")
    if not (ids := model.tokenizer.encode(text)):
        raise ValueError(f"the text {text!r} has no tokens to start from")
    return torch.tensor(ids, device=model.tokens.weight.device)


@torch.no_grad()
def remember(model: GPT, ids: Tensor) -> dict[Attention, tuple[Tensor, Tensor]]:
    """The keys and values, (h_kv, n, e), of the tokens ids (n,) in every attention, as of a text that ends at -1."""
    with evaluating(model), cached(model):
        inner(model.trunk)(model.embed(ids[None]), start=-len(ids))
        attns = map(inner, find(model, "attn").values())
        return {attn: tuple(y[0] for y in attn.past[-1].kept) for attn in attns}


class PrefixMethod(Method):
    """What all methods with a prefix have in common: the network that writes it is there for the training alone."""

    def loss(self, model: GPT, x: Tensor, y: Tensor) -> Tensor:
        """As any method's; what all layers' prefixes are written from is computed once for all."""
        if inner(model.trunk).recompute:  # and each block on the way back, when the loss is long done
            return super().loss(model, x, y)
        sources = [m for m in model.modules() if isinstance(m, Source)]
        for source in sources:
            source.said = source()
        try:
            return super().loss(model, x, y)
        finally:
            for source in sources:
                source.said = None

    def stages(self, model: GPT, batches: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Stage]:
        yield from super().stages(model, batches)
        drop(model)

    def restore(self, model: GPT, state: Mapping[str, Tensor]) -> None:
        super().restore(model, state)
        drop(model, but=state)


@dataclass(frozen=True)
class PrefixTuning(PrefixMethod):
    """Train `length` keys and values in every block; 1 to 300 in the paper, best at 10 (tables) and 200 (summaries)."""

    length: int = 10
    hidden: int | None = 64  # m, of the network that writes them while training; None: they are learned directly
    text: str | None = None  # start as the cache of this text, said again until there are `length` tokens
    layers: Collection[int] | None = None  # all

    lr: ClassVar[float] = 1e-2
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "its keys and values come from no token, so no weight can make them"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1 or (self.hidden is not None and self.hidden < 1):
            raise ValueError(f"length and hidden must be at least 1, not {self.length} and {self.hidden}")

    def links(self, model: GPT) -> Iterator[tuple[Attention, Prefix]]:
        """A new prefix for each attention of these layers, and that attention."""
        real = None
        if self.text is not None:
            if len(ids := tokens_of(model, self.text)) > self.length:
                raise ValueError(f"the text has {len(ids)} tokens, more than the prefix's length of {self.length}")
            real = remember(model, ids.repeat(self.length)[: self.length])
        source = self.hidden and Source(self.length, model.c.width, self.hidden)
        for attn in map(inner, find(model, "attn", self.layers).values()):
            kv_heads, e = shape(attn.k)[0] // attn.head_width, attn.head_width
            size = kv_heads, self.length, e
            link = Written(source, kv_heads, e) if source else Prefix(torch.randn(size), torch.randn(size))
            link.to(inner(attn.k).weight)
            if real:
                link.write(*real[attn])
            yield attn, link

    def put(self, model: GPT) -> None:
        """Only the keys and values: the text stays at its positions, as the hybrids have it."""
        for attn, link in list(self.links(model)):  # all are made before the first can be seen
            attn.past.append(link)

    def insert(self, model: GPT) -> None:
        self.put(model)
        make_room(model, self.length)
