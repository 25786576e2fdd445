"""Pre-training: the bundled models, from random weights, on stories that nobody has told before.

    minipeft pretrain --out DIR         both models, one process and one thread each, bit-identical from the seed

Every batch is fresh from the generator, so nothing can be learnt by heart but the world itself; and since the generator
knows the probability of each of its words, the lowest loss any model can have is known as well.
"""

import math
import multiprocessing
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .gpt import GPT, Config
from .method import IGNORE, Method
from .progress import Progress
from .tasks.task import collate
from .tasks.world import VOCABULARY, Story, tell
from .tokenizer import END, Tokenizer

SHAPE = dict(vocab=len(VOCABULARY), context=96, layers=4, heads=4, width=96)
MODELS = {
    "mini-gpt2": Config("gpt2", **SHAPE),
    "mini-llama": Config("llama", **SHAPE, kv_heads=2, hidden=256),
}
STEPS, BATCH, LR = 10_000, 24, 3e-3
HELD_OUT = 2000     # stories


class Report(NamedTuple):
    """How near a model is to the world: nats per token on held-out stories."""

    name: str
    parameters: int
    tokens: int         # seen in training
    seconds: float
    limit: float        # the generator's own loss: none can be lower
    loss: float

    def __str__(self) -> str:
        limit, found = math.exp(self.limit), math.exp(self.loss)
        return (
            f"{self.name}: {self.parameters:,} parameters · {self.tokens / 1e6:.1f} M tokens · {self.seconds / 60:.1f} min · "
            f"perplexity {found:.3f}, limit {limit:.3f}, {found / limit - 1:.1%} above it"
        )


def row(*stories: Story) -> tuple[list[int], list[int]]:
    """(tokens, labels) of one story or several in a row; the first token is to be told from the start token alone."""
    ids = [VOCABULARY[token] for story in stories for token in story.tokens]
    return [VOCABULARY[END], *ids[:-1]], ids


def batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of new stories; rows of about one length go together, so that little is padding.

    One row in sixteen is filled with stories up to the context, so that no position stays untrained.
    """
    rng = Random(seed)

    def fresh() -> list[Story]:
        stories = [tell(rng)]
        if rng.random() < 1 / 16:
            while sum(len(s.tokens) for s in stories) < SHAPE["context"]:
                stories.append(tell(rng))
            stories.pop()
        return stories

    while True:
        rows = sorted((row(*fresh()) for _ in range(8 * size)), key=lambda r: len(r[0]))
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(groups)
        for group in groups:
            yield collate(group, VOCABULARY[END])


def held_out() -> list[Story]:
    """Stories from a seed that no training uses."""
    rng = Random("held out")
    return [tell(rng) for _ in range(HELD_OUT)]


def limit(stories: list[Story]) -> float:
    """The generator's mean -log p of a token: what no model can beat but by luck."""
    logp = [x for story in stories for x in story.logp]
    return -math.fsum(logp) / len(logp)


@torch.no_grad()
def loss(model: GPT, stories: list[Story]) -> float:
    """The model's mean -log p of a token."""
    rows = sorted(map(row, stories), key=lambda r: len(r[0]))
    total, n = 0.0, sum(len(y) for _, y in rows)
    for i in range(0, len(rows), 64):
        x, y = collate(rows[i : i + 64], VOCABULARY[END])
        total += Method().loss(model, x, y).item() * (y != IGNORE).sum().item()
    return total / n


def train(name: str, steps: int = STEPS, seed: int = 0, progress: bool = True) -> tuple[GPT, Report]:
    """One model, trained on one thread: the same seed gives the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT(MODELS[name])
    model.tokenizer = Tokenizer(VOCABULARY)
    optimizer = torch.optim.AdamW(model.parameters(), LR, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    warm = min(200, steps // 5)
    slope = lambda step: min((step + 1) / warm, (steps - step) / (steps - warm))       # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, slope)
    bar, began, tokens = Progress(steps, name, progress), time.monotonic(), 0
    for x, y in islice(batches(seed, BATCH), steps):
        now = Method().loss(model, x, y)
        now.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        tokens += (y != IGNORE).sum().item()
        bar.step(f"loss {now.item():.3f}")
    seconds, stories = time.monotonic() - began, held_out()
    size = sum(p.numel() for p in model.parameters())
    report = Report(name, size, tokens, seconds, limit(stories), loss(model.eval(), stories))
    torch.set_num_threads(threads)
    bar.close(str(report))
    return model, report


def pretrain(out: str | Path) -> None:
    """Train every bundled model, each in a process of its own, write them to out/NAME and print how good they are."""
    with multiprocessing.get_context("spawn").Pool(len(MODELS)) as pool:
        for report in pool.imap(_one, [(name, str(out)) for name in MODELS]):
            print(report)


def _one(job: tuple[str, str]) -> Report:
    name, out = job
    model, report = train(name)
    model.save_pretrained(Path(out) / name)
    return report
