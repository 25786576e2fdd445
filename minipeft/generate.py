"""Text from a model, a token at a time, with the keys and values of earlier tokens kept instead of computed again.

The cache is a link in every `attn.past`: it puts what it kept in front of the new keys and values, and keeps the whole
for the next step.  Learned links (a prefix) stand before it in the chain, so they act after it, and are not kept twice:

    learned | kept from earlier steps | new          s = p + start + t
"""

import operator
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from .gpt import GPT, Past


class Cache(nn.Module):
    """The link of one attention: (k, v) of the new tokens -> (k, v) of all tokens so far, (b, h_kv, s, e) each."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.kept is not None:
            k, v = torch.cat([self.kept[0], k], 2), torch.cat([self.kept[1], v], 2)
        self.kept = k, v
        return k, v


@contextmanager
def cached(model: nn.Module) -> Iterator[None]:
    """Inside, the model remembers all tokens it is given; call it with `start` = the number it was given before."""
    pasts = [m for m in model.modules() if isinstance(m, Past)]
    for past in pasts:
        past.append(Cache())
    try:
        yield
    finally:
        for past in pasts:
            past.pop(-1)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, no dropout; afterwards every part is in the mode it was in."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def pick(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> Tensor:
    """One token for each row of logits: (b, v) -> (b,).  Temperature first, then top-k, then top-p."""
    if temperature == 0:
        return logits.argmax(-1)
    p = (logits.float() / temperature).softmax(-1)
    p, ids = p.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        p[:, top_k:] = 0
    if top_p is not None:  # the likeliest tokens until they hold top_p together; the one that crosses it counts
        p = p / p.sum(-1, keepdim=True)
        p[p.cumsum(-1) - p >= top_p] = 0
    where = p.device if generator is None else generator.device
    drawn = torch.multinomial(p.to(where), 1, generator=generator).to(ids.device)
    return ids.gather(-1, drawn)[:, 0]


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_new: int = 64,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | Collection[int] | None = None,
    cache: bool = True,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """The new token ids of each prompt, up to and without the first `stop` token, at most `max_new`.

    temperature: 0 takes the likeliest token every time; 1 draws from the model's own distribution, less makes it
        sharper, more flatter.  `top_k` draws from the k likeliest only, `top_p` from the fewest that hold this share.
    cache: False computes all earlier tokens again at each step: slow, and the same result.
    generator: where the chance comes from; the same seed, the same text.

    Prompts may differ in length: shorter ones are padded on the left, unseen.  The model is left as it was found.
    Raises ValueError, before anything is computed, for prompts that aren't lists of ids, are empty, hold ids outside
    the vocabulary or leave no room for `max_new` in the context, and for a temperature, top_k or top_p out of range.
    """
    rows = _checked(model, prompts, max_new)
    if not temperature >= 0:
        raise ValueError(f"temperature must be 0 (greedy) or more, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
    stops = set() if stop is None else {stop} if isinstance(stop, int) else set(stop)
    if not rows:
        return []

    device = next(model.parameters()).device
    longest = max(map(len, rows))
    pads = [longest - len(row) for row in rows]
    idx = torch.tensor([[0] * n + row for n, row in zip(pads, rows, strict=True)], device=device)  # (b, t)
    real = torch.arange(longest + max_new, device=device) >= torch.tensor(pads, device=device)[:, None]
    new: list[list[int]] = [[] for _ in rows]
    going = set(range(len(rows)))

    with torch.no_grad(), evaluating(model), cached(model) if cache else nullcontext():
        start = 0
        for _ in range(max_new):
            mask = real[:, : idx.shape[1]] if any(pads) else None
            x = model.features(idx[:, start:], start, mask)[:, -1]
            chosen = pick(model.logits(x), temperature, top_k, top_p, generator)  # (b,)
            for i, token in enumerate(chosen.tolist()):
                if token in stops:
                    going.discard(i)
                elif i in going:
                    new[i].append(token)
            if not going:
                break
            start = idx.shape[1] if cache else 0
            idx = torch.cat([idx, chosen[:, None]], 1)
    return new


def _checked(model: GPT, prompts: Sequence[Sequence[int]], max_new: int) -> list[list[int]]:
    """The prompts as lists of plain ints, or a ValueError."""
    try:
        rows = [[operator.index(i) for i in prompt] for prompt in prompts]
    except TypeError:
        raise ValueError(
            "prompts must be lists of token ids, one for each text: model.tokenizer.encode makes one"
        ) from None
    if max_new < 1:
        raise ValueError(f"max_new must be at least 1, not {max_new}")
    for i, row in enumerate(rows):
        if not row:
            raise ValueError(f"prompt {i} is empty: give at least one token, such as the tokenizer's start or end")
        if bad := [token for token in row if not 0 <= token < model.c.vocab]:
            raise ValueError(f"prompt {i}: token id {bad[0]} is outside the vocabulary 0..{model.c.vocab - 1}")
        if len(row) + max_new > model.room:
            raise ValueError(
                f"prompt {i} has {len(row)} tokens, which with max_new = {max_new} makes {len(row) + max_new}: "
                f"this model's context is {model.room}"
            )
    return rows
