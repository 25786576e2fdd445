"""Prompt Tuning (Lester et al., 2021, arXiv 2104.08691, section 2): learned vectors in front of the embedded text.

    trunk([P; x])          P: (n, d), x: (b, t, d)

The prompt goes into the trunk at the bottom, where all tokens can see it, and comes off at the top: t vectors in, t
out.  It stands at positions 0 to n - 1, the text from n on, as behind a written prompt of n tokens; P holds all that
enters the trunk, GPT-2's position vectors included.  The start matters: the paper compares random numbers, embeddings
of frequent words, and those of the task's labels.  None is the base: any prompt is seen.

No token comes before the prompt, so its keys and values never change: a generation cache keeps them, and a prompt is a
prefix whose keys and values the frozen model computes.

The survey's pseudocode stops at the concatenation: mask and positions have to grow too, and n outputs to come off.  Its
study of lengths is this paper's (figure 3), not Su et al.'s, and T5-XL with 5 vectors has 10,240 numbers, not 20K.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..gpt import GPT
from ..method import Method
from ..surgery import Wrapper, make_room, wrap
from .prefix_tuning import tokens_of

FREQUENT = 5000  # the paper samples from this many first ids of its vocabulary, which are its most frequent


class Prompt(nn.Module):
    """The vectors themselves: () -> (n, d)."""

    def __init__(self, start: Tensor):
        super().__init__()
        self.P = nn.Parameter(start)

    def forward(self) -> Tensor:
        return self.P


class Prompted(Wrapper):
    """The trunk behind a prompt: (b, t, d) -> (b, t, d)."""

    def __init__(self, base: nn.Module, prompt: nn.Module, n: int):
        super().__init__(base)
        self.prompt, self.n = prompt, n

    def forward(self, x: Tensor, start: int = 0, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            mask = F.pad(mask, (self.n, 0), value=True)
        if start:  # the prompt is in the cache already, before the tokens that came earlier
            return self.base(x, start + self.n, mask)
        prompt = self.prompt().to(x.dtype).expand(len(x), -1, -1)
        return self.base(torch.cat([prompt, x], 1), 0, mask)[:, self.n :]


def placed(model: GPT, vectors: Tensor) -> Tensor:
    """Token vectors (n, d) as they enter the trunk of this model: on GPT-2 with the first n position vectors."""
    if model.positions is None:
        return vectors
    return vectors + model.positions(torch.arange(len(vectors), device=vectors.device))


@dataclass(frozen=True)
class PromptTuning(Method):
    """Train `length` vectors in front of every text; 1 to 150 in the paper, 100 by default."""

    length: int = 20
    start: Literal["vocabulary", "random"] = "vocabulary"  # random words of the vocabulary; uniform in [-0.5, 0.5]
    text: str | Collection[str] | None = None  # a text, a vector a token; or labels, one vector each; then as `start`

    lr: ClassVar[float] = 3e-2
    exact_start: ClassVar[bool] = False
    why_not_merge: ClassVar[str] = "its vectors stand before the text, and no weight sees them alone"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1:
            raise ValueError(f"length must be at least 1, not {self.length}")
        if self.text == ():
            raise ValueError("text should be a text or a list of labels, not an empty list")

    @torch.no_grad()
    def first(self, model: GPT) -> Tensor:
        """What the prompt starts from: (n, d)."""
        table, n = model.tokens.weight, self.length
        if self.start == "random":
            rows = torch.rand(n, table.shape[1]).to(table) - 0.5
        else:
            frequent = min(FREQUENT, len(table))
            some = torch.randperm(frequent) if n <= frequent else torch.randint(frequent, (n,))
            rows = table[some[:n].to(table.device)]
        if self.text is not None:
            said = [self.text] if isinstance(self.text, str) else self.text
            words = [table[tokens_of(model, each)] for each in said]
            given = words[0] if isinstance(self.text, str) else torch.stack([word.mean(0) for word in words])
            if len(given) > n:
                raise ValueError(f"the text makes {len(given)} vectors, more than the prompt's length of {n}")
            rows = torch.cat([given, rows[len(given) :]])
        return placed(model, rows)

    def insert(self, model: GPT) -> None:
        prompt = Prompt(self.first(model))
        make_room(model, self.length)
        wrap(model, "trunk", lambda trunk: Prompted(trunk, prompt, self.length))
