"""A task: pairs of a prompt and its completion, in splits, and how they become tensors.

    tokens     <start> what colour is the hat ?  blue <end>
    labels                                    .  blue <end>  .          labels[i] is the token after tokens[i]

The loss looks at the completion and its end token only; where there is no prompt, at the whole text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..method import IGNORE


class Tokenizer(Protocol):
    """What a model's tokenizer can do: ours and the one around a real model's."""

    start: list[int]  # what every text begins with, maybe nothing
    end: int  # the token that ends a text

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class Example(NamedTuple):
    """`prompt` is given, `completion` is learnt; a plain text is a completion without a prompt."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Task:
    """Splits of examples.  With `options` it is a choice: the answer is the likeliest one; else a greedy completion."""

    name: str
    about: str
    train: Sequence[Example]
    valid: Sequence[Example]
    test: Sequence[Example]
    ood: Sequence[Example] = ()  # words seen in pre-training, but not in this task's train and valid
    options: Sequence[str] = ()

    @property
    def chance(self) -> float:
        """The accuracy of guessing: 1 / options, or of always giving the most frequent training answer if higher."""
        answers = Counter(e.completion for e in self.train)
        most = max(answers.values()) / answers.total()
        return max(most, 1 / len(self.options)) if self.options else most

    def low_data(self, n: int) -> "Task":
        """The same task with the first n training examples."""
        return Task(self.name, self.about, self.train[:n], self.valid, self.test, self.ood, self.options)


def encode(example: Example, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """(tokens, labels) of one example, equally long.

    Prompt and completion are encoded apart, so that their tokens don't depend on each other; if there is no white space
    between them, the completion gets a space in front.
    """
    prompt, completion = example
    if prompt and not prompt[-1].isspace() and not completion[:1].isspace():
        completion = " " + completion
    before = tokenizer.start + (tokenizer.encode(prompt) if prompt else [])
    text = before + tokenizer.encode(completion) + [tokenizer.end]
    labels = [IGNORE] * max(len(before) - 1, 0) + text[max(len(before), 1) :]
    return text[:-1], labels


def collate(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor]:
    """x, y: (b, t) each, the shorter rows filled up on the right, where no token sees them and no label asks."""
    t = max(len(x) for x, _ in rows)
    x = torch.tensor([x + [pad] * (t - len(x)) for x, _ in rows])
    y = torch.tensor([y + [IGNORE] * (t - len(y)) for _, y in rows])
    return x, y


def batches(
    rows: Sequence[tuple[list[int], list[int]]], size: int, pad: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches, each pass over the rows in a new order that only the seed decides."""
    order = torch.Generator().manual_seed(seed)
    queue: list[int] = []
    while True:
        while len(queue) < size:
            queue += torch.randperm(len(rows), generator=order).tolist()
        yield collate([rows[i] for i in queue[:size]], pad)
        queue = queue[size:]
